"""Sampling error of published scores of n problems x k samples, if only the means are known.

Model A solves problem p with probability a_p, and its score is the mean of n x k answers, k to each of n problems drawn
from a population. With mu the true mean and Var(a) the variance of a_p over problems,

    n Var(score) = Var(a) + E[a (1 - a)] / k,        Var(a) + E[a (1 - a)] = mu (1 - mu)

so mu alone bounds n Var(score) by the extremes

    mu (1 - mu) / k     all variance within a problem: every problem is as hard as the mean
    mu (1 - mu)         all variance between problems: each is always solved or never

For the difference of two models on the same problems, d = mu_a - mu_b,

    n Var(difference) = Var(a - b) + ( E[a (1 - a)] + E[b (1 - b)] ) / k

there is a second unknown: how the two models' probabilities are related.

    least               |d| (1 - |d|) / k       every problem is solved always by one model or never by the other, and
                                                the probabilities differ by |d| on each
    within              (mu_a (1 - mu_a) + mu_b (1 - mu_b)) / k      every problem is as hard as the mean
    between, nested     |d| (1 - |d|)           always or never; the better model solves all that the other solves
    between, unrelated  mu_a (1 - mu_a) + mu_b (1 - mu_b)            always or never, independently of each other
    most                min(s, 2 - s) - d^2,  s = mu_a + mu_b        always or never, one where the other fails

Nothing lies below `least` or above `most`. With f(a, b) = (a - b)^2 + (a (1 - a) + b (1 - b)) / k the variance is
E f - d^2. Along a - b = c, f is concave and smallest at the ends, where it is c^2 + |c| (1 - |c|) / k. This is convex
in c, so Jensen gives E f >= d^2 + |d| (1 - |d|) / k. Along a + b = s, f is convex and largest at the ends, where it is
at most min(s, 2 - s). This is concave in s, so E f is at most its value at the means.

The error of an equally weighted average of several benchmarks follows from the sum of their variances. None of this
includes the variance of training runs, or the choice of a checkpoint by the reported scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist

from sfpo_bench.statistics.intervals import CONFIDENCE


@dataclass(frozen=True, slots=True)
class Design:
    """`problems` problems with `samples` answers to each."""

    problems: int
    samples: int

    def __post_init__(self) -> None:
        if self.problems < 1 or self.samples < 1:
            raise ValueError(
                f"found {self.problems} problems and {self.samples} samples; expected at least one of each"
            )


@dataclass(frozen=True, slots=True)
class ScoreError:
    """Half width of the 95 % normal interval of a score, as a share, at both extremes."""

    within: float
    between: float


@dataclass(frozen=True, slots=True)
class DifferenceError:
    """Half widths of a difference of two models on the same problems, in increasing order except `within`.

    `within` may be on either side of `between_nested`. The module docstring states the assumption of each.
    """

    least: float
    within: float
    between_nested: float
    between_unrelated: float
    most: float


def score_error(mean: float, design: Design, confidence: float = CONFIDENCE) -> ScoreError:
    """Return the sampling error of a score in [0, 1], with the published value as the true mean."""
    variance = _bernoulli(mean) / design.problems
    return ScoreError(*(_half_width(one, confidence) for one in (variance / design.samples, variance)))


def difference_error(
    means: Sequence[tuple[float, float]], designs: Sequence[Design], confidence: float = CONFIDENCE
) -> DifferenceError:
    """Return the sampling error of mean(first) - mean(second) over equally weighted benchmarks.

    `means` holds the two models' scores on each benchmark. Raises `ValueError` for no benchmark, or a score outside
    [0, 1].
    """
    if not means or len(means) != len(designs):
        raise ValueError(
            f"found {len(means)} pairs of scores and {len(designs)} designs; expected one of each, or more"
        )
    each = [_difference_variances(*pair, design) for pair, design in zip(means, designs, strict=True)]
    sums = [sum(parts) / len(each) ** 2 for parts in zip(*each, strict=True)]
    return DifferenceError(*(_half_width(one, confidence) for one in sums))


def _difference_variances(first: float, second: float, design: Design) -> tuple[float, ...]:
    """Return one variance for each field of `DifferenceError`."""
    noise, gap, total = _bernoulli(first) + _bernoulli(second), abs(first - second), first + second
    paired = gap * (1 - gap)
    most = min(total, 2 - total) - gap**2
    found = (paired / design.samples, noise / design.samples, paired, noise, most)
    assert len(found) == len(fields(DifferenceError))
    return tuple(one / design.problems for one in found)


def _bernoulli(mean: float) -> float:
    if not 0 <= mean <= 1:
        raise ValueError(f"found a score of {mean}; expected a share in [0, 1]")
    return mean * (1 - mean)


def _half_width(variance: float, confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(max(0.0, variance))
