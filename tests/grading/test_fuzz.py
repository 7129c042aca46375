"""Generated answers: some are mathematics, some nearly, some noise. None breaks a process or takes too long."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading import Grader, Pair
from tests.grading.generated_answers import NOISE, expression, response


def generated(count: int, seed: int) -> list[Pair]:
    draw = random.Random(seed)
    pairs = []
    for number in range(count):
        gold = expression(draw, 2)
        kind = number % 4
        if kind == 0:
            text = response(draw, gold)
        elif kind == 3:
            text = "".join(draw.choices(NOISE, k=draw.randrange(1, 200)))
        else:
            text = response(draw, expression(draw, draw.randrange(1, 4)))
        pairs.append(Pair(gold, text))
    return pairs


def check(pairs: list[Pair], deadline_s: float) -> Counter[GradeStatus]:
    """Every pair has its grade; a grade is reward 1 or 0 and what it shows can be written."""
    with Grader(deadline_s=deadline_s, cache_size=0) as grader:
        grades = grader.grade_many(pairs)
    assert len(grades) == len(pairs)
    for grade in grades:
        assert grade.reward == float(grade.status is GradeStatus.correct)
        (grade.extracted or "").encode("utf-8")
    statuses = Counter(grade.status for grade in grades)
    broken = [pair for pair, grade in zip(pairs, grades, strict=True) if grade.status is GradeStatus.error]
    assert broken == []
    assert statuses[GradeStatus.correct] > len(pairs) / 20, "every fourth response has the gold itself in a frame"
    assert statuses[GradeStatus.timeout] <= len(pairs) / 100
    print(dict(statuses))
    return statuses


def test_five_hundred_generated_answers() -> None:
    check(generated(500, seed=0), deadline_s=5.0)


@pytest.mark.slow
def test_twenty_thousand_generated_answers() -> None:
    check(generated(20_000, seed=1), deadline_s=5.0)


def test_the_same_seed_generates_the_same_and_another_other_answers() -> None:
    assert generated(50, seed=3) == generated(50, seed=3) != generated(50, seed=4)
