"""Means over problems and training runs with a crossed design: every run of an arm answers the same problems.

The data of a benchmark is a matrix y[S, P]: the score in [0, 1] of run s on problem p (S = 1 for one model). A mean
over B benchmarks weights them equally. Inference is for a population of problems like these and, with two or more
runs, for a population of training runs like these. With

    y = mean + run_s + problem_p + (run x problem, and sampling)_sp

the variance of the grand mean is estimated without bias, over benchmarks b, by V_problems + V_runs:

    V_problems = sum_b var_p( mean over s of y ) / P_b / B^2
    V_runs     = W_runs - V_cells                                              not below 0; 0 for S = 1
    W_runs     = var_s( mean over b of mean over p of y ) / S
    V_cells    = sum_b sum_sp (y - y_s. - y_.p + y_..)^2 / ((S-1)(P_b-1)) / (S P_b) / B^2

(Sampling noise is part of both V_problems and W_runs; V_cells removes it once.) The half width of a difference's
interval is

    sqrt( t(P - 1)^2 V_problems + max(0, t(S - 1)^2 W_runs - z^2 V_cells) )

with a separate quantile for each part: one set of degrees of freedom for the sum (Satterthwaite's) covers 89 % instead
of 95 % with two very different runs. V_cells is estimated well, from (S-1)(P-1) numbers, and is therefore removed
with z: removing t^2 V_cells covers 89 % with two runs that are close together by chance.

A score is near 0 or 1, and therefore skewed, more often than a difference; its interval has a separate rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sfpo_bench.statistics.intervals import CONFIDENCE, Interval, share_limits
from sfpo_bench.statistics.power import POWER

Scores = NDArray[np.float64]
SKEWNESS_WEIGHT = 0.1  # chosen in benchmarks/score_calibration.py


@dataclass(frozen=True, slots=True)
class BenchmarkSpread:
    """Mean score of a benchmark and its variance over `problems` problems, with `size` - 1 degrees of freedom.

    `size` includes pseudo-observations."""

    mean: float
    variance: float
    problems: int
    size: float


@dataclass(frozen=True, slots=True)
class RunSpread:
    """Contribution of `count` runs of an arm to the variance of its mean.

    `variance` is W_runs, the variance over runs; `cells` is V_cells, its part due to sampling and to problems that suit
    one run more than another."""

    variance: float
    cells: float
    count: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over benchmarks, or a difference of two, with its variance over problems and runs.

    `arms` has one or two entries. With one run in each, no inference is made for other runs.
    """

    mean: float
    benchmarks: tuple[BenchmarkSpread, ...]
    arms: tuple[RunSpread, ...]

    @property
    def problems(self) -> int:
        return sum(one.problems for one in self.benchmarks)

    @property
    def runs(self) -> int:
        """Return the number of runs of the arm with fewer runs."""
        return min(arm.count for arm in self.arms)

    @property
    def problems_variance(self) -> float:
        """V_problems."""
        return sum(one.variance for one in self.benchmarks) / len(self.benchmarks) ** 2

    @property
    def runs_variance(self) -> float:
        """V_runs, unbiased except for the cut at 0."""
        return sum(max(0.0, arm.variance - arm.cells) for arm in self.arms)

    def half_width(self, probability: float) -> float:
        """Return the half width of the interval that has this one-sided probability at either end."""
        degrees = _degrees([(one.variance, one.size - 1) for one in self.benchmarks])
        problems = _quantile(degrees, probability) ** 2 * self.problems_variance if self.problems_variance else 0.0
        return math.sqrt(problems + self.runs_square(probability))

    def runs_square(self, probability: float) -> float:
        """Return the square of the half width that is due to the choice of runs."""
        variance, cells = sum(arm.variance for arm in self.arms), sum(arm.cells for arm in self.arms)
        if variance == 0:
            return 0.0
        degrees = _degrees([(arm.variance, arm.count - 1) for arm in self.arms if arm.count > 1])
        square = _quantile(degrees, probability) ** 2 * variance
        return max(0.0, square - NormalDist().inv_cdf(probability) ** 2 * cells)


def crossed_spread(benchmarks: Sequence[Scores]) -> Spread:
    """Return the spread of one arm's mean score; `benchmarks` are matrices [S, P_b] of the same S runs.

    Raises `ValueError` for no benchmark, differing S, fewer than two problems, or non-finite scores.
    """
    matrices = _checked(benchmarks)
    return _spread([matrix.mean(axis=0) for matrix in matrices], 0.0, [_runs(matrices)])


def difference_spread(first: Sequence[Scores], second: Sequence[Scores], samples: int = 1) -> Spread:
    """Return the spread of mean(first) - mean(second) on the same problems: matrices [S1, P_b] and [S2, P_b].

    The runs of the two arms are independent. The problems are paired, so V_problems is that of the differences

        d_p = mean over s of first[s, p] - mean over s of second[s, p]

    Each score is a mean of `samples` answers. 1 / N is added to each benchmark's squared deviations and 2 / N to its
    number of problems, with N = samples * runs of the smaller arm. For N = 1 this is Agresti and Min (2005) for paired
    proportions: two models that agree on all of 30 problems may still differ on the 31st.
    """
    ours, theirs = _checked(first), _checked(second)
    if [matrix.shape[1] for matrix in ours] != [matrix.shape[1] for matrix in theirs]:
        raise ValueError("found two arms with different problems; expected the same problems in the same order")
    differences = [one.mean(axis=0) - two.mean(axis=0) for one, two in zip(ours, theirs, strict=True)]
    pseudo = 1 / (samples * min(ours[0].shape[0], theirs[0].shape[0]))
    return _spread(differences, pseudo, [_runs(ours), _runs(theirs)])


def share_interval(spread: Spread, samples: float = 1, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a mean of scores in [0, 1], each a mean of `samples` answers; it lies inside [0, 1].

    1. Each benchmark's score gets limits over problems: those of a share of n trials (`share_limits`), with n the
       effective number of problems (Korn and Graubard 1998), reduced near 0 and 1 (`_trials`).
    2. Their distances from the scores are combined in squares (Zou and Donner 2008), for B benchmarks:
       low = mean - sqrt( sum_b (mean_b - low_b)^2 ) / B, and high likewise.
    3. The squared half width due to the choice of runs is added to both.
    """
    probability = (1 + confidence) / 2
    runs, down, up = spread.runs_square(probability), 0.0, 0.0
    for one in spread.benchmarks:
        share = min(1.0, max(0.0, one.mean))
        low, high = share_limits(share, _trials(share, one, samples * spread.runs, probability), probability)
        down, up = down + (share - low) ** 2, up + (high - share) ** 2
    count = len(spread.benchmarks) ** 2
    low, high = spread.mean - math.sqrt(down / count + runs), spread.mean + math.sqrt(up / count + runs)
    return Interval(max(0.0, low), min(1.0, high), confidence)


def _trials(share: float, one: BenchmarkSpread, samples: float, probability: float) -> float:
    """Return the effective number of trials of a benchmark's score.

    share (1 - share) / variance, scaled from the normal quantile to Student's t. The variance is at least that of
    equally hard problems, share (1 - share) / (P samples). A few problems near 0 or 1 rarely include those that differ,
    and therefore look more alike than they are. With s = (1 - 2 share)^2 / (P share (1 - share)), the squared skewness,
    the variance is the weighted mean of the observed one, weight 1, and of that of problems solved always or never,
    share (1 - share) / P, weight s / 10. A share of 0 or 1 has P trials.
    """
    product = share * (1 - share)
    if product <= 0:
        return float(one.problems)
    t = _quantile(one.size - 1, probability) / NormalDist().inv_cdf(probability)
    observed = t**2 * max(one.variance, product / (one.problems * samples))
    weight = SKEWNESS_WEIGHT * (1 - 2 * share) ** 2 / (one.problems * product)
    blended = (observed + weight * product / one.problems) / (1 + weight)
    return product / max(observed, blended)


def difference_interval(spread: Spread, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a difference: mean ± half width, cut at -1 and 1."""
    half = spread.half_width((1 + confidence) / 2)
    return Interval(max(-1.0, spread.mean - half), min(1.0, spread.mean + half), confidence)


def detectable_difference(spread: Spread, confidence: float = CONFIDENCE, power: float = POWER) -> float:
    """Return the smallest true difference whose interval excludes 0 with probability `power`:

        half width at (1 + confidence) / 2 + half width at power

    With few runs it is imprecise: at its mean over simulations the power was 80 % with one, five or ten runs, 76 % with
    three and 70 % with two (200 problems, run spread 0.3; 800 simulations of benchmarks/score_calibration.py).
    """
    return spread.half_width((1 + confidence) / 2) + spread.half_width(power)


def _spread(means: Sequence[Scores], pseudo: float, arms: Sequence[RunSpread]) -> Spread:
    """`means` has one value per problem for each benchmark; `pseudo` is added to the squares, twice to the count."""
    return Spread(
        float(np.mean([means_P.mean() for means_P in means])),
        tuple(_benchmark(means_P, pseudo) for means_P in means),
        tuple(arms),
    )


def _benchmark(means_P: Scores, pseudo: float) -> BenchmarkSpread:
    mean, size = float(means_P.mean()), len(means_P) + 2 * pseudo
    square = float(np.square(means_P - mean).sum()) + pseudo
    return BenchmarkSpread(mean, square / (size - 1) / size, len(means_P), size)


def _runs(matrices: Sequence[Scores]) -> RunSpread:
    count, runs = len(matrices), matrices[0].shape[0]
    if runs == 1:
        return RunSpread(0.0, 0.0, 1)
    run_means = np.mean([matrix.mean(axis=1) for matrix in matrices], axis=0)
    cells = sum(_cell_variance(matrix) for matrix in matrices) / count**2
    return RunSpread(float(run_means.var(ddof=1)) / runs, cells, runs)


def _cell_variance(matrix: Scores) -> float:
    runs, problems = matrix.shape
    rest = matrix - matrix.mean(axis=1, keepdims=True) - matrix.mean(axis=0, keepdims=True) + matrix.mean()
    return float(np.square(rest).sum() / ((runs - 1) * (problems - 1)) / (runs * problems))


def _degrees(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of independent variances (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    return 1 / sum((variance / total) ** 2 / degrees for variance, degrees in parts) if total else math.inf


def _quantile(degrees: float, probability: float) -> float:
    if math.isinf(degrees):
        return NormalDist().inv_cdf(probability)
    return float(stdtrit(degrees, probability))


def _checked(benchmarks: Sequence[Scores]) -> list[Scores]:
    matrices = [np.atleast_2d(np.asarray(matrix, dtype=np.float64)) for matrix in benchmarks]
    if not matrices or len({matrix.shape[0] for matrix in matrices}) > 1:
        raise ValueError("found no benchmark, or benchmarks with different numbers of runs; expected the same runs")
    if any(matrix.shape[1] < 2 for matrix in matrices):
        raise ValueError("found a benchmark with fewer than two problems, which have no spread to estimate")
    if not all(np.isfinite(matrix).all() for matrix in matrices):
        raise ValueError("found a score that is not finite; leave such problems out of both arms")
    return matrices
