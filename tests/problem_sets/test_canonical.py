"""Copies of a problem agree when only their spelling differs, and only then."""

from __future__ import annotations

import json

import pytest

from sfpo_bench.core.types import Problem
from sfpo_bench.problems.canonical import (
    asked_text,
    canonical_answer,
    content_sha256,
    countdown_gold,
    overlap_text,
    plain_text,
    problem_key,
)
from sfpo_bench.problems.overlap import overlaps

PROBLEMS = [Problem("a/0", "What is $2 + 2$?", "4"), Problem("a/1", "And  $3^2$ ?", "9")]


def test_ids_order_and_white_space_are_not_content() -> None:
    other = [Problem("b/7", " And $3^2$\n?", "9.0"), Problem("b/3", "What is $2 + 2$?", "04")]
    assert content_sha256(other) == content_sha256(PROBLEMS)


@pytest.mark.parametrize(
    "changed",
    [
        PROBLEMS[:1],
        [PROBLEMS[0], Problem("a/1", "And $3^3$ ?", "9")],
        [PROBLEMS[0], Problem("a/1", "And $3^2$ ?", "-9")],
        [Problem("a/0", "What is $2 + 2$?", "9"), Problem("a/1", "And $3^2$ ?", "4")],  # answers changed places
        [*PROBLEMS, PROBLEMS[0]],
    ],
)
def test_a_change_of_any_problem_or_answer_changes_the_hash(changed: list[Problem]) -> None:
    assert content_sha256(changed) != content_sha256(PROBLEMS)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("27.0", "27", True),
        ("025", "25", True),
        ("000", "0", True),
        ("-3", "-3.0", True),
        ("+3", "3", True),
        ("40,000", "40000", True),
        ("$ \\frac{1}{2}$", "\\frac{1}{2}", True),
        ("1.50", "1.5", False),  # a decimal's digits may say how exact it is
        ("1,2", "12", False),  # two answers, not one
        ("-3", "3", False),
        ("3.07", "3.7", False),
    ],
)
def test_canonical_answers(one: str, other: str, same: bool) -> None:
    assert (canonical_answer(one) == canonical_answer(other)) is same


def test_the_form_of_a_character_is_not_text() -> None:
    assert plain_text("na\u0069\u0308ve") == plain_text("na\u00efve")
    assert problem_key("a  b") == problem_key("a b\n") != problem_key("ab")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"Find $\dfrac{1}{2} + \left( x \right)$.", r"find $\frac12+(x)$", True),
        ("A number is called *Norwegian* if", "A number is called Norwegian, if", True),
        (r"\begin{align*}x_{1}&=211\end{align*}find", r"$$\begin{align*}x_1 &= 211\end{align*}$$ find", True),
        (r"\quad Let $a$, $\text { and } b$", r"Let $a,\text{and }b$", True),
        ("2*3+45", "23+4*5", False),
        ("What is $x+1$?", "What is $x-1$?", False),
        ("What is $x<1$?", "What is $x>1$?", False),
        ("3 apples", "4 apples", False),
    ],
)
def test_the_same_problem_whatever_its_spelling(one: str, other: str, same: bool) -> None:
    assert (overlap_text(one) == overlap_text(other)) is same


def countdown(target: object, numbers: object) -> Problem:
    return Problem("", f"Using {numbers}, make {target}.", json.dumps({"target": target, "numbers": numbers}))


def test_a_countdown_problem_is_its_target_and_its_numbers_whatever_their_order() -> None:
    first, other = countdown(55, [96, 7, 37, 74]), countdown(55, [7, 74, 96, 37])
    assert overlap_text(first.text) != overlap_text(other.text) and asked_text(first) == asked_text(other)
    for different in (countdown(56, [96, 7, 37, 74]), countdown(55, [96, 7, 37]), countdown(55, [96, 7, 37, 37])):
        assert asked_text(different) != asked_text(first)
    [found] = overlaps([first], [other, countdown(55, [96, 7])])
    assert found.same_answer


@pytest.mark.parametrize(
    "answer", ["{1, 2}", "[1]", "{}", '{"target": 1}', '{"target": Infinity, "numbers": [1]}', "{" * 5000, "12", ""]
)
def test_another_answer_is_no_countdown_problem(answer: str) -> None:
    assert countdown_gold(answer) is None and asked_text(Problem("", "A b", answer)) == overlap_text("A b")
