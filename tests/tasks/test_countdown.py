r"""Countdown is checked by evaluating what was written, with a parser that executes nothing."""

from __future__ import annotations

import json
import random
import time
from fractions import Fraction

import pytest

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.problems.countdown import LONGEST, evaluate, grade_countdown
from sfpo_bench.problems.graded_by_card import grade_responses, same_answers
from sfpo_bench.problems.sets import DataSettings, card, load_problem_set
from tests.problem_sets.shared_data import SHARED, needs_shared_data

GOLD = json.dumps({"target": 22, "numbers": [7, 37, 74, 96]})


@pytest.mark.parametrize(
    "response",
    [
        r"\boxed{7 + 37 + 74 - 96}",
        r"so \boxed{1 + 1}, no: \boxed{(7 + 37) + (74 - 96) = 22}",
        "<think>96 - 74 = 22</think> <answer>74 - 96 + 37 + 7</answer>",
        "I try 96 - 74 = 22.\nSo we get 7 + 37 + 74 - 96 = 22",
        r"\boxed{22 = 7 + 37 - (96 - 74)}",
    ],
)
def test_right_equations_are_right_however_they_are_written(response: str) -> None:
    assert grade_countdown(GOLD, response).status is GradeStatus.correct


@pytest.mark.parametrize(
    "response",
    [
        r"\boxed{96 - 74}",  # not every number
        r"\boxed{7 + 37 + 74 - 96 + 7 - 7}",  # a number twice
        r"\boxed{7 + 37 + 74 - 95}",  # another number
        r"\boxed{22}",
        r"\boxed{7 + 37 + 74 + 96}",  # another value
        r"\boxed{96 74 37 7}",
        r"\boxed{}",
    ],
)
def test_wrong_equations_are_wrong(response: str) -> None:
    assert grade_countdown(GOLD, response).status is GradeStatus.wrong


@pytest.mark.parametrize("response", ["", "I cannot.", "the answer", "<answer", "\x00"])
def test_no_equation_is_no_answer(response: str) -> None:
    grade = grade_countdown(GOLD, response)
    assert (grade.status, grade.reward, grade.extracted) == (GradeStatus.no_answer, 0.0, None)


@pytest.mark.parametrize("gold", ["", "{}", "22", '{"target": "x", "numbers": []}', '{"target": 1, "numbers": 5}'])
def test_a_gold_that_cannot_be_read_is_said_to_be_so(gold: str) -> None:
    assert grade_countdown(gold, r"\boxed{1}").status is GradeStatus.gold_unparsable


def test_values_are_those_of_exact_fractions() -> None:
    """Python's own arithmetic on `Fraction` literals is the slow reference, on generated equations."""
    draw = random.Random(0)

    def equation(depth: int) -> str:
        if depth == 0 or draw.random() < 0.2:
            return str(draw.randint(1, 9))
        inner = f"{equation(depth - 1)} {draw.choice('+-*/')} {equation(depth - 1)}"
        return f"({inner})" if draw.random() < 0.5 else f"-({inner})" if draw.random() < 0.2 else inner

    checked = 0
    for _ in range(500):
        text = equation(3)
        literals = "".join(f"Fraction({c})" if c.isdigit() else c for c in text)
        try:
            expected = eval(literals, {"Fraction": Fraction})
        except ZeroDivisionError:
            expected = None
        if len(text) <= LONGEST:
            assert evaluate(text) == expected, text
            checked += 1
    assert checked > 400
    assert evaluate("1 / 3 * 3") == 1 and evaluate("2 - 3 - 4") == -5 and evaluate("2 / 2 / 2") == Fraction(1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9",
        "1//2",
        "__import__('os')",
        "1e9",
        "2^3",
        "1 +",
        "+ 1",
        ")(",
        "1 2",
        "",
        "(" * 150,
        "1" * 5000,
        "1/0",
        "٣",
    ],
)
def test_what_is_no_equation_has_no_value(text: str) -> None:
    assert evaluate(text) is None


def test_hostile_responses_are_answered_at_once() -> None:
    hostile = [
        "\\boxed{" * 200_000,
        "<answer>" * 300_000,
        "(" * 2_000_000,
        "1+" * 1_000_000,
        "\\frac{" * 300_000,
        "=" * 10**6,
    ]
    for text in hostile:
        started = time.perf_counter()
        assert grade_countdown(GOLD, text).reward == 0.0
        assert time.perf_counter() - started < 1.0


def test_the_grader_of_the_card_is_this_one() -> None:
    known = card("countdown_test")
    problem = load_problem_set("mixed", DataSettings()).problems[0]
    asked = type(problem)("countdown/0", "", GOLD)
    found = grade_responses(known, [asked, asked], [r"\boxed{7 + 37 + 74 - 96}", "no"])
    assert [grade.status for grade in found] == [GradeStatus.correct, GradeStatus.no_answer]
    assert same_answers(known, [("1+2", "1 + 2"), ("1+2", "2+1")]) == [True, False]


@needs_shared_data
def test_every_real_problem_states_the_numbers_and_the_target_of_its_gold() -> None:
    for problem in load_problem_set("countdown_test", DataSettings(str(SHARED))).problems:
        gold = json.loads(problem.answer)
        assert f"{gold['numbers']}" in problem.text and f"equals {gold['target']}." in problem.text
