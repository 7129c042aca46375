"""What a design can see: the smallest ratio it detects, and the seeds it would take to detect a given one.

A ratio R between two arms whose log costs spread by s1 and s2 over n1 and n2 seeds is detected when Welch's interval
excludes 1. For normal logs the mean difference and the two variances are independent, so that

    power(R) = E[ Phi( (log R - t(v) * sqrt(V1 + V2)) / sqrt(s1^2 / n1 + s2^2 / n2) ) ],
    Vi = si^2 / ni * chi2(ni - 1) / (ni - 1),      v = Welch's degrees at V1 and V2

for R > 1 (the chance to exclude 1 on the wrong side is negligible where power matters). The expectation is a mean over
a grid of quantiles of V1 and V2. The spreads are those observed, so that a power from three seeds is itself rough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit

from sfpo_bench.statistics.intervals import CONFIDENCE, ratio_of_geometric_means

POWER = 0.80
SEEDS_AT_MOST = 1000
_QUANTILES = (np.arange(40) + 0.5) / 40


def detectable_ratio(
    numerator: Sequence[float],
    denominator: Sequence[float],
    confidence: float = CONFIDENCE,
    power: float = POWER,
) -> float | None:
    """The smallest ratio above 1 that the interval would tell from 1 with probability `power`.

    A ratio below 1 is detected from its inverse on. None with one value on either side; 1 without any spread.
    """
    if min(len(numerator), len(denominator)) < 2:
        return None
    spreads = _log_spread(numerator), _log_spread(denominator)
    if spreads == (0.0, 0.0):
        return 1.0
    chance = _chance(spreads, (len(numerator), len(denominator)), confidence)
    low, high = 0.0, sum(spreads)
    while chance(high) < power:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < power else (low, middle)
    return math.exp(min(high, 700.0))


def seeds_needed(
    numerator: Sequence[float],
    denominator: Sequence[float],
    confidence: float = CONFIDENCE,
    power: float = POWER,
) -> int | None:
    """The fewest seeds per arm, from 3 up, that would detect the observed ratio with probability `power`, were it true.

    None when 1000 do not do, or with one value on either side.
    """
    if min(len(numerator), len(denominator)) < 2:
        return None
    effect = abs(math.log(ratio_of_geometric_means(numerator, denominator).point))
    spreads = _log_spread(numerator), _log_spread(denominator)
    if spreads == (0.0, 0.0):
        return 3 if effect > 0 else None
    if _chance(spreads, (SEEDS_AT_MOST, SEEDS_AT_MOST), confidence)(effect) < power:
        return None
    low, high = 2, SEEDS_AT_MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _chance(spreads, (middle, middle), confidence)(effect) >= power else (middle, high)
    return high


def _log_spread(values: Sequence[float]) -> float:
    """Standard deviation of the logs, exactly 0 for equal values."""
    logs = np.log(np.asarray(values, dtype=np.float64))
    return 0.0 if np.all(logs == logs[0]) else float(logs.std(ddof=1))


def _chance(spreads: tuple[float, float], n: tuple[int, int], confidence: float) -> Callable[[float], float]:
    """Power as a function of log R."""
    true = [spread**2 / count for spread, count in zip(spreads, n, strict=True)]
    seen = [error * chdtri(count - 1, _QUANTILES) / (count - 1) + 1e-300 for error, count in zip(true, n, strict=True)]
    first, second = seen[0][:, None], seen[1][None, :]
    error = first + second
    shares = (first / error) ** 2 / (n[0] - 1) + (second / error) ** 2 / (n[1] - 1)
    halves = stdtrit(1 / shares, (1 + confidence) / 2) * np.sqrt(error)
    deviation = math.sqrt(sum(true))
    return lambda effect: float(ndtr((effect - halves) / deviation).mean())
