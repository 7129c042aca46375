"""Interval estimates as pure functions: scores in, (point, interval) out.

Every interval is two-sided at `confidence` (default 0.95), so each of its ends is a one-sided limit at
(1 + confidence) / 2. A single value has no spread to estimate and gets a point without an interval. Equal values have
an estimated spread of zero, and the interval is the point itself: these values showed no spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc, stdtr, stdtrit

CONFIDENCE = 0.95
_OWN_PART = 0.7  # weight of the probability of the observed count in `share_limits`


@dataclass(frozen=True, slots=True)
class Interval:
    """`low` to `high`; covers the true value in `confidence` of all repetitions of the experiment."""

    low: float
    high: float
    confidence: float = CONFIDENCE

    def contains(self, value: float) -> bool:
        """Return True if `value` lies inside, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate from `n` values; `interval` is None if `n` is too small for one."""

    point: float
    interval: Interval | None
    n: int


class Side(StrEnum):
    """One of the two samples of a ratio."""

    numerator = "numerator"
    denominator = "denominator"


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """A ratio of two independent samples of `n_numerator` and `n_denominator` values.

    `p_value` is the two-sided p-value of ratio 1 from the test that the interval inverts; None without an interval.
    """

    point: float
    interval: Interval | None
    n_numerator: int
    n_denominator: int
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class ShiftEstimate:
    """A difference of the means of two independent samples.

    `p_value` is the two-sided p-value of no difference from the test that the interval inverts. Both are None if a
    sample has one value."""

    point: float
    interval: Interval | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class _WelchError:
    """Standard error of a difference of two mean logs and its degrees of freedom (inf without any spread)."""

    error: float
    degrees: float


@dataclass(frozen=True, slots=True)
class _Moments:
    """Mean, squared standard error of the mean (None for one value) and count."""

    mean: float
    squared_error: float | None
    n: int


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean and Student's t interval (Student 1908).

        mean ± t(n - 1) * s / sqrt(n),      s^2 = sum (x - mean)^2 / (n - 1)

    Exact for independent normal values. n = 1: no interval. s = 0: the interval is the mean itself.
    """
    moments = _moments(_finite(values))
    if moments.squared_error is None:
        return Estimate(moments.mean, None, moments.n)
    half = _t_quantile(moments.n - 1, confidence) * math.sqrt(moments.squared_error)
    return Estimate(moments.mean, Interval(moments.mean - half, moments.mean + half, confidence), moments.n)


def geometric_mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the geometric mean of positive values, with `mean_interval` of their logs transformed back.

        exp( mean(log x) ± t(n - 1) * s_log / sqrt(n) )

    Exact for lognormal values, whose median it estimates. Scaling the values scales the result.
    """
    logs = mean_interval(_logs(values).tolist(), confidence)
    return Estimate(math.exp(logs.point), _exponential(logs.interval), logs.n)


def ratio_of_geometric_means(
    numerator: Sequence[float],
    denominator: Sequence[float],
    confidence: float = CONFIDENCE,
    borrower: Side | None = None,
) -> RatioEstimate:
    """Return GM(numerator) / GM(denominator) of two independent samples, with Welch's t interval on logs (Welch 1947).

        exp( d ± t(v) * sqrt(e1 + e2) ),   d = mean(log x1) - mean(log x2),   e = s_log^2 / n
        v = (e1 + e2)^2 / ( e1^2 / (n1 - 1) + e2^2 / (n2 - 1) )

    The samples may have different spreads. One value on either side: no interval. Both spreads zero: the interval is
    the point. One spread zero: v is the other sample's n - 1. Swapping the samples inverts point and interval.
    `borrower` names a sample whose values hide their spread (runs that stopped at one budget): if its s_log is the
    smaller one, it uses the other sample's, and v is the other sample's n - 1.
    """
    top, bottom = _moments(_logs(numerator)), _moments(_logs(denominator))
    difference = top.mean - bottom.mean
    welch = _welch(top, bottom, borrower)
    if welch is None:
        return RatioEstimate(math.exp(difference), None, top.n, bottom.n)
    half = _half_width(welch, confidence)
    interval = Interval(math.exp(difference - half), math.exp(difference + half), confidence)
    return RatioEstimate(math.exp(difference), interval, top.n, bottom.n, _two_sided_p(difference, welch))


def difference_of_means(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> ShiftEstimate:
    """Return mean(first) - mean(second) of two independent samples with Welch's t interval.

    Like `ratio_of_geometric_means`, but without logs."""
    ours, theirs = _moments(_finite(first)), _moments(_finite(second))
    difference, welch = ours.mean - theirs.mean, _welch(ours, theirs)
    if welch is None:
        return ShiftEstimate(difference, None, None)
    half = _half_width(welch, confidence)
    interval = Interval(difference - half, difference + half, confidence)
    return ShiftEstimate(difference, interval, _two_sided_p(difference, welch))


def wilson_interval(successes: float, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return the share of successes in `n` independent trials with its score interval (Wilson 1927).

        ( p + z^2 / 2n  ±  z * sqrt( p (1 - p) / n + z^2 / 4n^2 ) ) / ( 1 + z^2 / n )

    The interval stays inside [0, 1] and has positive width at p = 0 and p = 1. It is too narrow for dependent trials,
    such as several responses to one problem.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"found {successes:g} successes in {n} trials; expected 0 <= successes <= trials, trials >= 1")
    z = NormalDist().inv_cdf(_upper_probability(confidence))
    share, weight = successes / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / weight
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / weight
    # In exact arithmetic one end is 0 or 1 at p = 0 or p = 1; rounding must not move it past the point.
    low, high = max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
    return Estimate(share, Interval(low, high, confidence), n)


def share_limits(share: float, trials: float, probability: float) -> tuple[float, float]:
    """Return both limits of a share of successes in `trials`, each one-sided at `probability`:

        low:  the p with  0.7 P(X = x) + P(X > x) = 1 - probability,  X binomial,  x = share * trials;  0 for x = 0
        high: 1 - low of 1 - share

    With 1/2 instead of 0.7 these are mid-P limits (Lancaster 1961), with 1 those of Clopper and Pearson. At 95 %
    two-sided they cover at least 94 % for any share of 10 to 500 trials; mid-P covers 92 %, and Wilson 84 % if few
    successes are expected (Brown, Cai and DasGupta 2001). `trials` need not be an integer: the tails are incomplete
    beta functions.
    """
    return _low_limit(share, trials, 1 - probability), 1 - _low_limit(1 - share, trials, 1 - probability)


def _low_limit(share: float, trials: float, tail: float) -> float:
    """Return the lower limit; `tail` is the probability beyond it."""
    hits, misses = share * trials, (1 - share) * trials

    def beyond(p: float) -> float:
        more = betainc(hits + 1, misses, p) if misses > 0 else 0.0
        return float(_OWN_PART * betainc(hits, misses + 1, p) + (1 - _OWN_PART) * more) - tail

    return float(brentq(beyond, 0.0, 1.0, xtol=1e-12)) if hits > 0 else 0.0


def _welch(top: _Moments, bottom: _Moments, borrower: Side | None = None) -> _WelchError | None:
    """Return error and degrees of freedom of a difference of two means, or None if one has no spread to estimate."""
    if top.squared_error is None or bottom.squared_error is None:
        return None
    own, other = (top, bottom) if borrower is Side.numerator else (bottom, top)
    assert own.squared_error is not None and other.squared_error is not None
    lent = other.squared_error * other.n
    if borrower is not None and own.squared_error * own.n < lent:
        return _WelchError(math.sqrt(lent / own.n + lent / other.n), other.n - 1)
    error = top.squared_error + bottom.squared_error
    if error == 0:
        return _WelchError(0.0, math.inf)
    # Computed as shares of the sum, so that squares of tiny spreads do not underflow.
    shares = (top.squared_error / error) ** 2 / (top.n - 1) + (bottom.squared_error / error) ** 2 / (bottom.n - 1)
    return _WelchError(math.sqrt(error), 1 / shares)


def _half_width(welch: _WelchError, confidence: float) -> float:
    return _t_quantile(welch.degrees, confidence) * welch.error


def _two_sided_p(difference: float, welch: _WelchError) -> float:
    """Return P(|T| > |difference| / error); without any spread 0, or 1 for no difference."""
    if welch.error == 0:
        return float(difference == 0)
    return float(min(1.0, 2 * stdtr(welch.degrees, -abs(difference) / welch.error)))


def _moments(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> _Moments:
    n = len(values)
    if n == 1:
        return _Moments(float(values[0]), None, 1)
    if np.all(values == values[0]):  # rounding of the mean would create a spread
        return _Moments(float(values[0]), 0.0, n)
    return _Moments(float(values.mean()), float(values.var(ddof=1)) / n, n)


def _t_quantile(degrees: float, confidence: float) -> float:
    """Return the t with `degrees` of freedom that has upper tail probability (1 - confidence) / 2."""
    if math.isinf(degrees):
        return NormalDist().inv_cdf(_upper_probability(confidence))
    return float(stdtrit(degrees, _upper_probability(confidence)))


def _upper_probability(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"found confidence {confidence:g}; expected a number between 0 and 1, such as 0.95")
    return (1 + confidence) / 2


def _exponential(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    return Interval(math.exp(interval.low), math.exp(interval.high), interval.confidence)


def _finite(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if array.size == 0 or not np.all(np.isfinite(array)):
        raise ValueError(f"found {array.tolist()}; expected at least one value, all finite")
    return array


def _logs(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = _finite(values)
    if np.any(array <= 0):
        raise ValueError(f"found {array.min():g} among the values; a geometric mean needs every value above 0")
    return np.log(array)
