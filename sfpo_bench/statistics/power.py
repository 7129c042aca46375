"""Power of a design: the smallest detectable difference, and the seeds needed to detect a given one.

A difference D between the means of two arms whose values have standard deviations s1 and s2 over n1 and n2 seeds is
detected if Welch's interval excludes 0. For normal values the mean difference and the two variances are independent, so

    power(D) = E[ Phi( (D - t(v) * sqrt(V1 + V2)) / sqrt(s1^2 / n1 + s2^2 / n2) ) ],
    Vi = si^2 / ni * chi2(ni - 1) / (ni - 1),      v = Welch's degrees at V1 and V2

for D > 0 (excluding 0 on the wrong side has negligible probability where power matters). A ratio R of costs is the
difference log R of the means of their logs. The expectation is a mean over a grid of quantiles of V1 and V2. The
spreads are the observed ones, so the power from three seeds is imprecise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit

from sfpo_bench.statistics.intervals import CONFIDENCE

POWER = 0.80
SEEDS_AT_MOST = 1000
_QUANTILES = (np.arange(40) + 0.5) / 40
_KNOTS = 128  # between which the log of Student's quantile is interpolated over 1 / degrees


def detectable_ratio(
    numerator: Sequence[float],
    denominator: Sequence[float],
    confidence: float = CONFIDENCE,
    power: float = POWER,
) -> float | None:
    """Return the smallest ratio above 1 whose interval excludes 1 with probability `power`.

    Ratios below 1 are detectable from its inverse on. None with one value on either side; 1 without any spread.
    """
    shift = detectable_shift(_logs(numerator), _logs(denominator), confidence, power)
    return None if shift is None else math.exp(min(shift, 700.0))


def detectable_shift(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE, power: float = POWER
) -> float | None:
    """Return the smallest difference of two means, in their unit, whose interval excludes 0 with probability `power`.

    None with one value on either side; 0 without any spread."""
    if min(len(first), len(second)) < 2:
        return None
    spreads = _spread(first), _spread(second)
    if spreads == (0.0, 0.0):
        return 0.0
    chance = _chance(spreads, (len(first), len(second)), confidence)
    low, high = 0.0, sum(spreads)
    while chance(high) < power:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < power else (low, middle)
    return high


def seeds_needed(
    numerator: Sequence[float],
    denominator: Sequence[float],
    confidence: float = CONFIDENCE,
    power: float = POWER,
) -> int | None:
    """Return the fewest seeds per arm, at least 3, that would detect the observed ratio with probability `power`.

    None if 1000 seeds are too few, or with one value on either side.
    """
    return seeds_for_shift(_logs(numerator), _logs(denominator), confidence, power)


def seeds_for_shift(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE, power: float = POWER
) -> int | None:
    """Return the fewest seeds per arm, at least 3, that would detect the observed difference with probability `power`.

    None if 1000 seeds are too few, or with one value on either side."""
    if min(len(first), len(second)) < 2:
        return None
    effect = abs(float(np.mean(first) - np.mean(second)))
    spreads = _spread(first), _spread(second)
    if spreads == (0.0, 0.0):
        return 3 if first[0] != second[0] else None
    if _chance(spreads, (SEEDS_AT_MOST, SEEDS_AT_MOST), confidence)(effect) < power:
        return None
    low, high = 2, SEEDS_AT_MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _chance(spreads, (middle, middle), confidence)(effect) >= power else (middle, high)
    return high


def _logs(values: Sequence[float]) -> list[float]:
    return [math.log(value) for value in values]


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation, exactly 0 for equal values."""
    numbers = np.asarray(values, dtype=np.float64)
    return 0.0 if np.all(numbers == numbers[0]) else float(numbers.std(ddof=1))


def _chance(spreads: tuple[float, float], n: tuple[int, int], confidence: float) -> Callable[[float], float]:
    """Return the power as a function of the difference."""
    true = [spread**2 / count for spread, count in zip(spreads, n, strict=True)]
    seen = [error * chdtri(count - 1, _QUANTILES) / (count - 1) + 1e-300 for error, count in zip(true, n, strict=True)]
    first, second = seen[0][:, None], seen[1][None, :]
    error = first + second
    shares = (first / error) ** 2 / (n[0] - 1) + (second / error) ** 2 / (n[1] - 1)
    # Student's quantile is the dear part, and smooth in 1 / degrees.
    knots = np.linspace(shares.min(), shares.max(), _KNOTS)
    quantiles = np.exp(np.interp(shares, knots, np.log(stdtrit(1 / knots, (1 + confidence) / 2))))
    halves = quantiles * np.sqrt(error)
    deviation = math.sqrt(sum(true))
    return lambda effect: float(ndtr((effect - halves) / deviation).mean())
