"""Known training sets as tasks: splits that share no problem, prompts by name, the grader of evaluations."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Completion, FinishReason, Message, Problem, Split
from sfpo_bench.problems.canonical import countdown_gold
from sfpo_bench.problems.sets import DataSettings, card, overlaps
from sfpo_bench.problems.training_sets import (
    Countdown,
    DapoMath,
    DapoPlusMath,
    Gsm8k,
    Math,
    OverlapFrom,
    TrainingSets,
)
from tests.conftest import Cli
from tests.problem_sets.shared_data import SHARED, needs_shared_data

REAL = DataSettings(str(SHARED))


def shipped(**changes: object) -> TrainingSets:
    """Problems that come with the project in the place of a training set."""
    settings = {"kind": "own", "train": ["arithmetic_select"], "report": ["arithmetic"], "select_share": 0.3}
    return TrainingSets(**{**settings, **changes})  # type: ignore[arg-type]  # fields of TrainingSets


def response(text: str) -> Completion:
    return Completion("", 0, (), (), (), text, FinishReason.stopped)


def test_every_problem_stands_in_one_split() -> None:
    task = shipped()
    sizes = {split: len(task.problems(split)) for split in Split}
    assert sum(sizes.values()) == 200 and sizes[Split.report] == 100 and 15 <= sizes[Split.select] <= 45


def test_rewards_and_prompts_are_those_of_the_set() -> None:
    task = shipped(report=["mixed"])
    [half] = [p for p in task.problems(Split.report) if p.answer == "\\frac{7}{12}"]
    assert task.grade(half, response(r"Hence \boxed{7/12}.")).reward == 1.0
    assert task.grade(half, response(r"Hence \boxed{5/12}.")).reward == 0.0
    assert task.prompt(task.problems(Split.train)[0]).content == task.problems(Split.train)[0].text + "="
    chat = task.prompt(half).content
    assert isinstance(chat[0], Message) and chat[0].content.endswith("final answer in \\boxed{}.")
    assert shipped(prompt_template="hashes").prompt(half).content != chat


def test_many_grades_are_the_single_ones_in_their_order() -> None:
    task = shipped(report=["mixed", "arithmetic"])
    problems = [*task.problems(Split.report)[:20], *task.problems(Split.train)[:5]] * 2
    texts = [f"\\boxed{{{p.answer}}}" if n % 3 else "\\boxed{12345}" for n, p in enumerate(problems)]
    completions = [response(text) for text in texts]
    singly = [task.grade(problem, one) for problem, one in zip(problems, completions, strict=True)]
    assert task.grade_many(problems, completions) == singly
    assert {grade.reward for grade in singly} == {0.0, 1.0}


@pytest.mark.parametrize(
    ("side", "train", "report"),
    [(OverlapFrom.train, 0, 16), (OverlapFrom.report, 16, 0), (OverlapFrom.neither, 16, 16)],
)
def test_shared_problems_are_left_out_on_the_side_that_is_named(side: OverlapFrom, train: int, report: int) -> None:
    task = shipped(train=["arithmetic_select", "mixed"], report=["arithmetic", "mixed"], overlap_from=side)
    found = {split: sum(p.id.startswith("mixed/") for p in task.problems(split)) for split in Split}
    assert (found[Split.train] + found[Split.select], found[Split.report]) == (train, report)


def test_a_set_named_twice_counts_once() -> None:
    once, twice = shipped(), shipped(train=["arithmetic_select", "arithmetic_select"])
    assert twice.problems(Split.train) == once.problems(Split.train)


def test_golds_of_an_unknown_copy_that_the_grader_cannot_read_are_refused(tmp_path: Path) -> None:
    rows = ['{"problem": "a?", "answer": "who knows???"}', '{"problem": "b?", "answer": "2"}']
    (tmp_path / "math500.jsonl").write_text("\n".join(rows))
    task = shipped(report=["math500"], data=DataSettings(str(tmp_path), unverified=True))
    with pytest.raises(ConfigError, match=r"the grader cannot read 1 of 2 gold answers \(math500/0"):
        task.problems(Split.train)


@needs_shared_data
def test_known_label_errors_are_not_trained_on() -> None:
    task = Math(data=REAL)
    errors = {error.id for error in card("math_train").label_errors}
    assert errors and not errors & {p.id for split in (Split.train, Split.select) for p in task.problems(split)}


def test_splits_without_a_problem_and_unknown_prompts_are_refused() -> None:
    with pytest.raises(ConfigError, match="the train and select split has no problem"):
        shipped(train=["mixed"], report=["mixed"]).problems(Split.train)
    with pytest.raises(ConfigError, match="not a prompt template; did you mean boxed"):
        shipped(prompt_template="boxes").problems(Split.train)


@needs_shared_data
@pytest.mark.parametrize(
    ("make", "together"),
    [(Gsm8k, 7473 + 1319), (Math, None), (DapoMath, None), (DapoPlusMath, None), (Countdown, None)],
)
def test_real_sets_split_without_a_shared_problem(make: type[TrainingSets], together: int | None) -> None:
    task = make(data=REAL)
    train, select, report = (task.problems(split) for split in (Split.train, Split.select, Split.report))
    assert overlaps(report, [*train, *select]) == () == overlaps(select, train)
    assert min(len(train), len(select), len(report)) >= 100
    if together:
        assert len(train) + len(select) + len(report) == together


@needs_shared_data
def test_no_countdown_problem_stands_in_another_split_with_its_numbers_in_another_order() -> None:
    task = Countdown(data=REAL)
    asked = {split: {countdown_gold(problem.answer) for problem in task.problems(split)} for split in Split}
    assert None not in set().union(*asked.values())
    assert not asked[Split.train] & asked[Split.report]
    assert not asked[Split.train] & asked[Split.select] and not asked[Split.select] & asked[Split.report]
    assert len(asked[Split.train]) + len(asked[Split.select]) == 7984 - 5  # of 8,001: 17 twins, 5 also reported


@needs_shared_data
def test_the_papers_training_problems_lose_those_that_it_reports_on() -> None:
    kept, cleaned = DapoPlusMath(data=REAL, overlap_from=OverlapFrom.neither), DapoPlusMath(data=REAL)
    left_out = sum(len(kept.problems(split)) - len(cleaned.problems(split)) for split in (Split.train, Split.select))
    assert left_out == len({one.training_id for one in overlaps(kept.problems(Split.report), _training(kept))}) > 30


def _training(task: TrainingSets) -> list[Problem]:
    return [*task.problems(Split.train), *task.problems(Split.select)]


def test_a_folder_without_the_set_is_said_before_any_model_is_loaded(cli: Cli, tmp_path: Path) -> None:
    done = cli("train", "experiment=own", "model=embedded", "task=gsm8k", f"task.data.dir={tmp_path}", check=False)
    assert done.returncode == 2 and "no gsm8k_train.jsonl in" in done.stderr
