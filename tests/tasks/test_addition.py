from __future__ import annotations

import time

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import check_ranges
from sfpo_bench.core.types import Completion, FinishReason, GradeStatus, Message, Problem, Prompt, Split
from sfpo_bench.problems.addition import Addition

PROBLEM = Problem("addition/3+4", "3 + 4", "7")


def completion(text: str, finish: FinishReason = FinishReason.stopped) -> Completion:
    return Completion(PROBLEM.id, 0, (1,), (2,), (-0.5,), text, finish)


def status(text: str) -> GradeStatus:
    return Addition().grade(PROBLEM, completion(text)).status


def all_problems(task: Addition) -> dict[str, Split]:
    return {problem.id: split for split in Split for problem in task.problems(split)}


def test_every_sum_is_in_exactly_one_split() -> None:
    counted = [problem for split in Split for problem in Addition().problems(split)]
    assert len(counted) == len({problem.id for problem in counted}) == 400
    assert all(sum(map(int, problem.text.split(" + "))) == int(problem.answer) for problem in counted)


def test_each_split_holds_dozens_of_the_default_problems() -> None:
    assert {split: len(Addition().problems(split)) for split in Split} == {
        Split.train: 189,
        Split.select: 96,
        Split.report: 115,
    }


def test_a_sum_and_its_reverse_share_a_split() -> None:
    splits = all_problems(Addition())
    assert all(splits[f"addition/{a}+{b}"] is splits[f"addition/{b}+{a}"] for a in range(1, 21) for b in range(1, 21))


def test_a_wider_range_moves_no_problem() -> None:
    narrow, wide = all_problems(Addition(high=12)), all_problems(Addition(low=0, high=40))
    assert narrow.items() <= wide.items()


def test_the_prompt_asks_in_one_user_turn() -> None:
    turn = Message("user", "What is 3 + 4? Answer with just the number.")
    assert Addition().prompt(PROBLEM) == Prompt("addition/3+4", (turn,))


def test_the_gold_answer_grades_one_for_every_problem() -> None:
    task = Addition(low=0, high=30)
    for problem in task.problems(Split.train):
        assert task.grade(problem, completion(problem.answer)).reward == 1.0


@pytest.mark.parametrize("text", ["7", "3 + 4 = 7", "The answer is 7.", " 7\n", "007", "4+3=7!", "7 (seven)"])
def test_the_last_number_counts(text: str) -> None:
    assert status(text) is GradeStatus.correct


@pytest.mark.parametrize("text", ["8", "7 = 3 + 4", "-7", "7.0", "1,007", "77", "7 8", "0", "7e1", "1/7/2"])
def test_another_last_number_is_wrong(text: str) -> None:
    assert status(text) is GradeStatus.wrong


@pytest.mark.parametrize("text", ["", "seven", "   ", "+", "\u0667"])
def test_no_number_is_no_answer(text: str) -> None:
    grade = Addition().grade(PROBLEM, completion(text))
    assert (grade.status, grade.reward, grade.extracted) == (GradeStatus.no_answer, 0.0, None)


def test_a_response_cut_at_the_limit_has_no_answer() -> None:
    grade = Addition().grade(PROBLEM, completion("3 + 4 = 7", FinishReason.truncated))
    assert (grade.status, grade.reward) == (GradeStatus.no_answer, 0.0)


@pytest.mark.parametrize("text", ["9" * 1_000_000, "1," * 500_000, "-" * 1_000_000, "7 " * 500_000])
def test_a_hostile_answer_is_graded_at_once(text: str) -> None:
    started = time.perf_counter()
    assert status(text) in set(GradeStatus)
    assert time.perf_counter() - started < 1.0


def test_a_range_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="low = 9 and high = 3"):
        Addition(low=9, high=3).problems(Split.train)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="the select split of 400 sums is empty"):
        Addition(select_share=0.0).problems(Split.select)


def test_a_number_of_four_digits_is_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"high = 1000 is out of range: expected \[0, 499\]"):
        check_ranges(Addition(high=1000))
