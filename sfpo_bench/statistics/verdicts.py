"""Rules that turn a statement about a ratio into one of five verdicts."""

from __future__ import annotations

from enum import StrEnum

from sfpo_bench.statistics.cost_to_target import Statement
from sfpo_bench.statistics.intervals import CONFIDENCE

SMALL_FACTOR = 1.25
FEWEST_SEEDS = 3  # per arm; intervals of two seeds are not calibrated


class Verdict(StrEnum):
    """The verdict on an arm against the baseline.

    `cheaper`, `dearer`: both the interval (or the limit of a bound) and Holm's test over the family exclude 1. `alike`:
    the interval lies between 1 / 1.25 and 1.25. `unclear`: any other interval or limit, and any of them if an arm has
    fewer than `FEWEST_SEEDS` seeds. `unknown`: no interval and no limit.
    """

    cheaper = "cheaper"
    dearer = "dearer"
    alike = "alike"
    unclear = "unclear"
    unknown = "unknown"


def verdict(said: Statement, adjusted_p: float, seeds: int, confidence: float = CONFIDENCE) -> Verdict:
    """Return the verdict on a ratio of baseline over arm, whose p-value is adjusted over the family of tests.

    `seeds` is the number of seeds of the arm with fewer."""
    if said.low is None and said.high is None:
        return Verdict.unknown
    if seeds < FEWEST_SEEDS:
        return Verdict.unclear
    proven = adjusted_p <= 1 - confidence
    if proven and said.low is not None and said.low > 1:
        return Verdict.cheaper
    if proven and said.high is not None and said.high < 1:
        return Verdict.dearer
    if said.low is not None and said.high is not None and largest_factor(said.low, said.high) <= SMALL_FACTOR:
        return Verdict.alike
    return Verdict.unclear


def largest_factor(low: float, high: float) -> float:
    """Return the largest factor by which a ratio in this interval may differ from 1: max(high, 1 / low)."""
    return max(high, 1 / low)
