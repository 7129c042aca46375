"""Differences of two arms over equal seeds, and the number of pairs needed to detect one.

With d the differences of n pairs, s their standard deviation and t Student's quantile,

    mean(d) ± t(n - 1) * s / sqrt(n),            p = 2 * P(T(n - 1) > |mean(d)| * sqrt(n) / s)
    power(D) = P(T' > t(n - 1)),                 T' noncentral t, n - 1 degrees, noncentrality D * sqrt(n) / s

All are exact for independent normal differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import nctdtr, stdtr, stdtrit

from sfpo_bench.statistics.intervals import CONFIDENCE, mean_interval
from sfpo_bench.statistics.power import POWER, SEEDS_AT_MOST


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean of paired differences, with its interval and p-value; both are None for one pair."""

    point: float
    pairs: int
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    spread: float | None = None


def paired_difference(differences: Sequence[float], confidence: float = CONFIDENCE) -> PairedDifference:
    """Return mean, interval and p-value of paired differences.

    For equal differences the interval is their value, and p is 1 if it is 0, else 0.
    """
    estimate, count = mean_interval(differences, confidence), len(differences)
    if estimate.interval is None:
        return PairedDifference(estimate.point, count)
    squares = math.fsum((one - estimate.point) ** 2 for one in differences)
    spread = math.sqrt(squares / (count - 1)) if max(differences) > min(differences) else 0.0
    if spread == 0:
        p = 1.0 if estimate.point == 0 else 0.0
    else:
        p = 2 * float(stdtr(count - 1, -abs(estimate.point) * math.sqrt(count) / spread))
    return PairedDifference(estimate.point, count, estimate.interval.low, estimate.interval.high, p, spread)


def pairs_needed(spread: float, difference: float, confidence: float = CONFIDENCE, power: float = POWER) -> int | None:
    """Return the smallest number of pairs, at least 2, that detects `difference` with probability `power`.

    `spread` is the standard deviation of the paired differences. None if 1000 pairs are too few.
    """
    found = (n for n in range(2, SEEDS_AT_MOST + 1) if paired_power(spread, difference, n, confidence) >= power)
    return next(found, None)


def paired_power(spread: float, difference: float, pairs: int, confidence: float = CONFIDENCE) -> float:
    """Return the probability that the interval of that many pairs excludes 0 if `difference` is the true mean."""
    if spread == 0:
        return float(difference != 0)
    limit = float(stdtrit(pairs - 1, (1 + confidence) / 2))
    shift = abs(difference) * math.sqrt(pairs) / spread
    # The probability to exclude 0 on the wrong side is negligible for relevant powers.
    return float(1 - nctdtr(pairs - 1, shift, limit))
