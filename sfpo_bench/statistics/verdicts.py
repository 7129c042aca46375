"""From a statement about a ratio to one of five verdicts: rules, no judgement."""

from __future__ import annotations

from enum import StrEnum

from sfpo_bench.statistics.cost_to_target import Statement
from sfpo_bench.statistics.intervals import CONFIDENCE

SMALL_FACTOR = 1.25
FEWEST_SEEDS = 3  # of each arm: intervals of two seeds have not been calibrated


class Verdict(StrEnum):
    """The verdict on an arm against the baseline.

    `cheaper`, `dearer`: the interval (or the limit of a bound) excludes 1, and so does Holm's test over the family.
    `alike`: the interval lies between 1 / 1.25 and 1.25. `unclear`: anything else that has an interval or a limit,
    and all of them where an arm has fewer than `FEWEST_SEEDS` seeds. `unknown`: no interval and no limit.
    """

    cheaper = "cheaper"
    dearer = "dearer"
    alike = "alike"
    unclear = "unclear"
    unknown = "unknown"


def verdict(said: Statement, adjusted_p: float, seeds: int, confidence: float = CONFIDENCE) -> Verdict:
    """The verdict on a ratio of baseline over arm, with its p-value adjusted for the family it is judged in; `seeds`
    are those of the arm that has fewer."""
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
    """The largest difference, either way, inside an interval of a ratio: max(high, 1 / low)."""
    return max(high, 1 / low)
