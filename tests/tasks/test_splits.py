from __future__ import annotations

import ast
import math
from itertools import combinations

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Split
from sfpo_bench.problems.addition import Addition
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.problems.protocol import Task
from sfpo_bench.problems.splits import split_of

KEYS = [str(number) for number in range(10_000)]


@pytest.mark.parametrize(
    ("key", "split"), [("7*8-35", Split.train), ("9*9-99", Split.select), ("2*3+25", Split.report)]
)
def test_published_splits_do_not_change(key: str, split: Split) -> None:
    """The embedded model was warmed up on the train problems of exactly these splits."""
    assert split_of(key, salt="arithmetic") is split


def sorted_operands(node: ast.expr) -> object:
    """What is left of an expression when the order of operands is left out, of differences too."""
    if isinstance(node, ast.Constant):
        return node.value
    assert isinstance(node, ast.BinOp)
    sides = [sorted_operands(node.left), sorted_operands(node.right)]
    return type(node.op).__name__, tuple(sorted(sides, key=repr))


GENERATED: dict[str, Task] = {
    "arithmetic": Arithmetic(),
    "addition": Addition(),
    "addition of a wide range": Addition(low=0, high=60, select_share=0.05, report_share=0.4),
}


@pytest.mark.parametrize("name", GENERATED)
def test_no_problem_of_a_generated_task_stands_in_another_split_in_another_order(name: str) -> None:
    task = GENERATED[name]
    forms = {s: {sorted_operands(ast.parse(p.text, mode="eval").body) for p in task.problems(s)} for s in Split}
    for one, other in combinations(Split, 2):
        assert not forms[one] & forms[other], f"{one} and {other} share problems"


def test_every_arithmetic_problem_stands_in_one_split_and_the_shares_are_those_of_its_description() -> None:
    """Of the canonical problems a share of .1 has a standard error of 0.0037; spellings come in fours or twos."""
    splits = {split: Arithmetic().problems(split) for split in Split}
    texts = [problem.text for problems in splits.values() for problem in problems]
    assert len(texts) == len(set(texts)) == 23_040
    for split, share in ((Split.train, 0.8), (Split.select, 0.1), (Split.report, 0.1)):
        assert len(splits[split]) / 23_040 == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize(("select", "report"), [(0.1, 0.1), (0.2, 0.3), (0.0, 0.5)])
def test_counts_are_the_shares_within_four_standard_errors(select: float, report: float) -> None:
    splits = [split_of(key, salt="count", select_share=select, report_share=report) for key in KEYS]
    for split, share in ((Split.select, select), (Split.report, report), (Split.train, 1 - select - report)):
        error = math.sqrt(len(KEYS) * share * (1 - share))
        assert abs(splits.count(split) - len(KEYS) * share) <= 4 * error


def test_a_larger_report_share_keeps_every_report_problem() -> None:
    small = {key for key in KEYS if split_of(key, salt="s", report_share=0.1) is Split.report}
    large = {key for key in KEYS if split_of(key, salt="s", report_share=0.3) is Split.report}
    assert small < large


def test_two_salts_agree_as_often_as_chance() -> None:
    """With shares .8, .1, .1 two independent splits agree with probability .66; 0.02 is four standard errors."""
    agree = sum(split_of(key, salt="a") is split_of(key, salt="b") for key in KEYS) / len(KEYS)
    assert agree == pytest.approx(0.66, abs=0.02)


def test_any_text_has_a_split() -> None:
    assert split_of("\ud800 \x00 é", salt="s") in Split


@pytest.mark.parametrize(("select", "report"), [(-0.1, 0.1), (0.1, -0.1), (0.6, 0.5), (math.nan, 0.1)])
def test_impossible_shares_are_refused(select: float, report: float) -> None:
    with pytest.raises(ConfigError, match="together at most 1"):
        split_of("1", salt="s", select_share=select, report_share=report)
