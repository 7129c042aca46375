"""The problems that the project ships are drawn from the splits of its own task."""

from __future__ import annotations

import json

import pytest

from sfpo_bench.core.resources import carried
from sfpo_bench.core.types import Problem, Split
from sfpo_bench.problems.arithmetic import Arithmetic, Expression, expression_split, expressions
from sfpo_bench.problems.canonical import content_sha256
from sfpo_bench.problems.card import card
from sfpo_bench.problems.part import part


def drawn(name: str, split: Split) -> list[Problem]:
    """100 problems of a split, no two of them the same in another order."""
    spellings: dict[str, list[Problem]] = {}
    for expression in expressions():
        if expression_split(expression) is split:
            spellings.setdefault(expression.canonical, []).append(_problem(expression))
    one_each = [part(name, problems, 1)[0] for problems in spellings.values()]
    return [
        Problem(f"{name}/{number}", problem.text, problem.answer)
        for number, problem in enumerate(part(name, one_each, 100))
    ]


def _problem(expression: Expression) -> Problem:
    return Problem(expression.text, expression.text, str(expression.answer))


@pytest.mark.parametrize(("name", "split"), [("arithmetic", Split.report), ("arithmetic_select", Split.select)])
def test_the_embedded_benchmarks_are_a_fixed_draw_from_their_split(name: str, split: Split) -> None:
    expected = drawn(name, split)
    file = carried("evaluations") / "problems" / f"{name}.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [Problem(row["id"], row["problem"], row["answer"]) for row in rows] == expected
    assert card(name).content_sha256 == content_sha256(expected) and card(name).rows == len(expected) == 100
    assert {problem.text for problem in expected} <= {problem.text for problem in Arithmetic().problems(split)}
