from __future__ import annotations

import math

import pytest

from sfpo_bench.errors import ConfigError
from sfpo_bench.tasks.splits import split_of
from sfpo_bench.types import Split

KEYS = [str(number) for number in range(10_000)]


@pytest.mark.parametrize(
    ("key", "split"), [("7*8-35", Split.train), ("9*9-99", Split.select), ("56-3*4", Split.report)]
)
def test_published_splits_do_not_change(key: str, split: Split) -> None:
    """The embedded model was warmed up on the train problems of exactly these splits."""
    assert split_of(key, salt="arithmetic") is split


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
