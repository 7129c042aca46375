"""The rules of grading, family by family: `rules*.txt` have a pair on each line and what they have to decide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading import Grader, Pair

TABLES = sorted(Path(__file__).parent.glob("rules*.txt"))


def families() -> Iterator[tuple[str, list[tuple[bool, Pair]]]]:
    text = "\n".join(table.read_text(encoding="utf-8") for table in TABLES)
    for section in text.split("\n## ")[1:]:
        title, *lines = section.splitlines()
        rows = [line.split(" ;; ") for line in lines if line.strip() and not line.startswith("#")]
        yield (
            title,
            [(gold.startswith("= "), Pair(gold[2:], answer.replace("<NL>", "\n"))) for gold, answer in rows],
        )


FAMILIES = dict(families())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_rules_decide_as_the_table_says(family: str, grader: Grader) -> None:
    rows = FAMILIES[family]
    grades = grader.grade_many([pair for _, pair in rows])
    otherwise = [
        f"{pair.gold} ;; {pair.response} is {grade.status} ({grade.extracted} by {grade.rule})"
        for (equal, pair), grade in zip(rows, grades, strict=True)
        if (grade.status is GradeStatus.correct) != equal
    ]
    assert not otherwise


def test_every_gold_of_the_table_answers_itself_whatever_the_spacing(grader: Grader) -> None:
    golds = sorted({pair.gold for rows in FAMILIES.values() for _, pair in rows})
    grades = grader.grade_many([Pair(gold, rf"Thus \boxed{{ {gold} \, }}") for gold in golds])
    assert [gold for gold, grade in zip(golds, grades, strict=True) if grade.status is not GradeStatus.correct] == []


def test_equality_of_bare_answers_is_the_same_both_ways_for_values(grader: Grader) -> None:
    values = ["0.5", r"\frac{1}{2}", "50%", r"\{1,2\}", "2, 1", r"x \in [0,1)", "[0, 1)", r"\sqrt{2}", "1.4142", "odd"]
    pairs = [(first, second) for first in values for second in values]
    there = grader.equal_many(pairs)
    assert there == grader.equal_many([(second, first) for first, second in pairs])
    equal = {frozenset(pair) for pair, same in zip(pairs, there, strict=True) if same and pair[0] != pair[1]}
    assert equal == {
        frozenset({"0.5", r"\frac{1}{2}"}),
        frozenset({"0.5", "50%"}),
        frozenset({r"\frac{1}{2}", "50%"}),
        frozenset({r"\{1,2\}", "2, 1"}),
        frozenset({r"x \in [0,1)", "[0, 1)"}),
        frozenset({r"\sqrt{2}", "1.4142"}),
    }


@pytest.mark.parametrize(
    ("gold", "answer", "tolerance", "relative", "right"),
    [
        ("0.53", "0.5301", 0.0, 0.0, False),
        ("0.53", "0.5301", 0.001, 0.0, True),
        ("0.53", "0.54", 0.0, 0.02, True),
        ("0.53", "0.55", 0.0, 0.02, False),
        ("4.4e7", r"4.45 \times 10^7", 0.0, 0.02, True),
        (r"7 \times 10^{35}, 0.002", r"0.001, 7.1 \cdot 10^{35}", 0.001, 0.02, True),
        (r"\cos(1)", "0.54", 0.01, 0.0, True),
    ],
)
def test_a_tolerance_widens_what_is_equal_and_no_more(
    gold: str, answer: str, tolerance: float, relative: float, right: bool, grader: Grader
) -> None:
    [grade] = grader.grade_many([Pair(gold, rf"\boxed{{{answer}}}", tolerance, relative)])
    assert (grade.status is GradeStatus.correct) == right
