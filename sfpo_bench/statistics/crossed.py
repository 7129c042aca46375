"""Means over problems and training runs that are crossed: every run of an arm answers the same problems.

The data of one benchmark is a matrix y[S, P]: the score in [0, 1] of run s on problem p (for one model S = 1); a mean
over B benchmarks weighs each alike. What a score may be said of is a population of problems like these and, with two
runs or more, a population of training runs like these. With

    y = mean + run_s + problem_p + (run x problem, and sampling)_sp

the variance of the grand mean is estimated without bias, over benchmarks b, by V_problems + V_runs:

    V_problems = sum_b var_p( mean over s of y ) / P_b / B^2
    V_runs     = W_runs - V_cells                                              not below 0; 0 for S = 1
    W_runs     = var_s( mean over b of mean over p of y ) / S
    V_cells    = sum_b sum_sp (y - y_s. - y_.p + y_..)^2 / ((S-1)(P_b-1)) / (S P_b) / B^2

(sampling enters both V_problems and W_runs; V_cells takes it out once). The half width of a difference's interval is

    sqrt( t(P - 1)^2 V_problems + max(0, t(S - 1)^2 W_runs - z^2 V_cells) )

each part with its own quantile: one set of degrees of freedom for the sum (Satterthwaite's) covers 89 % instead of
95 % with two runs that differ much. V_cells is known well, from (S-1)(P-1) numbers, and is taken out as such: taking
t^2 V_cells out covers 89 % with two runs, which by chance lie close together.

A score is near 0 or 1 more often than a difference is, and skewed there: its interval has a rule of its own.
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
    """The mean score of one benchmark and its variance over `problems` problems; `size` - 1 are its degrees of freedom
    (`size` counts pseudo-observations too)."""

    mean: float
    variance: float
    problems: int
    size: float


@dataclass(frozen=True, slots=True)
class RunSpread:
    """What `count` runs of an arm show of its mean: the variance W_runs over runs, and V_cells, the part of it that is
    sampling and problems that suit one run more than another."""

    variance: float
    cells: float
    count: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over benchmarks, or a difference of two, and what it is off by: for the choice of problems and of runs.

    `arms` are one or two; with one run in each nothing is said of other runs.
    """

    mean: float
    benchmarks: tuple[BenchmarkSpread, ...]
    arms: tuple[RunSpread, ...]

    @property
    def problems(self) -> int:
        return sum(one.problems for one in self.benchmarks)

    @property
    def runs(self) -> int:
        """Those of the arm that has fewer."""
        return min(arm.count for arm in self.arms)

    @property
    def problems_variance(self) -> float:
        """V_problems."""
        return sum(one.variance for one in self.benchmarks) / len(self.benchmarks) ** 2

    @property
    def runs_variance(self) -> float:
        """V_runs, without bias but for the cut at 0."""
        return sum(max(0.0, arm.variance - arm.cells) for arm in self.arms)

    def half_width(self, probability: float) -> float:
        """What the mean is off by at most, in either direction, with this (one-sided) probability."""
        degrees = _degrees([(one.variance, one.size - 1) for one in self.benchmarks])
        problems = _quantile(degrees, probability) ** 2 * self.problems_variance if self.problems_variance else 0.0
        return math.sqrt(problems + self.runs_square(probability))

    def runs_square(self, probability: float) -> float:
        """The square of the half width that comes from the choice of runs."""
        variance, cells = sum(arm.variance for arm in self.arms), sum(arm.cells for arm in self.arms)
        if variance == 0:
            return 0.0
        degrees = _degrees([(arm.variance, arm.count - 1) for arm in self.arms if arm.count > 1])
        square = _quantile(degrees, probability) ** 2 * variance
        return max(0.0, square - NormalDist().inv_cdf(probability) ** 2 * cells)


def crossed_spread(benchmarks: Sequence[Scores]) -> Spread:
    """The spread of the mean score of one arm; `benchmarks` are matrices [S, P_b] of the same S runs.

    Raises `ValueError` for no benchmark, differing S, fewer than two problems, or scores that are not finite.
    """
    matrices = _checked(benchmarks)
    return _spread([matrix.mean(axis=0) for matrix in matrices], 0.0, [_runs(matrices)])


def difference_spread(first: Sequence[Scores], second: Sequence[Scores], samples: int = 1) -> Spread:
    """The spread of mean(first) - mean(second) on the same problems: matrices [S1, P_b] and [S2, P_b].

    The runs of the two arms are independent; the problems are paired, so that V_problems is that of the differences

        d_p = mean over s of first[s, p] - mean over s of second[s, p]

    `samples` stand behind each score. To each benchmark's squared deviations 1 / N is added and to its number of
    problems 2 / N, with N = samples * runs of the smaller arm (for N = 1 this is Agresti and Min 2005, for paired
    proportions): two models that differ on none of 30 problems may yet differ on the 31st.
    """
    ours, theirs = _checked(first), _checked(second)
    if [matrix.shape[1] for matrix in ours] != [matrix.shape[1] for matrix in theirs]:
        raise ValueError("found two arms with different problems; expected the same problems in the same order")
    differences = [one.mean(axis=0) - two.mean(axis=0) for one, two in zip(ours, theirs, strict=True)]
    pseudo = 1 / (samples * min(ours[0].shape[0], theirs[0].shape[0]))
    return _spread(differences, pseudo, [_runs(ours), _runs(theirs)])


def share_interval(spread: Spread, samples: float = 1, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a mean of scores in [0, 1] (`samples` answers behind each), inside [0, 1].

    1. Each benchmark's score has limits over problems: those of a share of n trials (`share_limits`), with n the
       effective number of problems (Korn and Graubard 1998), of which near 0 and 1 only part is believed (`_trials`).
    2. Their distances from the scores add up as squares to those of the mean (Zou and Donner 2008), B benchmarks:
       low = mean - sqrt( sum_b (mean_b - low_b)^2 ) / B, and high likewise.
    3. The square of what the choice of runs may be off by is added to both.
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
    """How many trials the score of a benchmark is worth.

    share (1 - share) / variance, with Student's t for the normal quantile. The variance is no less than if all problems
    were equally hard, share (1 - share) / (P samples). Few problems near 0 or 1 seldom show those that are otherwise,
    and look more alike than they are: with the square of the skewness s = (1 - 2 share)^2 / (P share (1 - share)) the
    variance is the mean of the observed one, weight 1, and of that of problems solved always or never,
    share (1 - share) / P, weight s / 10. P trials for a share of 0 or 1.
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
    """The interval of a difference: mean ± half width, cut at -1 and 1."""
    half = spread.half_width((1 + confidence) / 2)
    return Interval(max(-1.0, spread.mean - half), min(1.0, spread.mean + half), confidence)


def detectable_difference(spread: Spread, confidence: float = CONFIDENCE, power: float = POWER) -> float:
    """The smallest true difference that an interval like this one excludes 0 for, with probability `power`:

        half width at (1 + confidence) / 2 + half width at power

    From few runs it is itself rough: at its mean over simulations the power was 80 % with one, five or ten runs, 76 %
    with three and 70 % with two (200 problems, run spread 0.3; 800 simulations of benchmarks/score_calibration.py).
    """
    return spread.half_width((1 + confidence) / 2) + spread.half_width(power)


def _spread(means: Sequence[Scores], pseudo: float, arms: Sequence[RunSpread]) -> Spread:
    """`means` are one value per problem, for each benchmark; `pseudo` is added to the squares, twice to the count."""
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
