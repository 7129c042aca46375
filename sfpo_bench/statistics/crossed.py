"""Means over problems and training runs that are crossed: every run of an arm answers the same problems.

The data of one benchmark is a matrix y[S, P]: the score in [0, 1] of run s on problem p (for one model S = 1); a mean
over B benchmarks weighs each alike. What a score may be said of is a population of problems like these and, with two
runs or more, a population of training runs like these. With

    y = mean + run_s + problem_p + (run x problem, and sampling)_sp

the variance of the grand mean is estimated without bias, over benchmarks b, by V_problems + V_runs:

    V_problems = sum_b var_p( mean over s of y ) / P_b / B^2
    V_runs     = var_s( mean over b of mean over p of y ) / S - V_cells        not below 0; 0 for S = 1
    V_cells    = sum_b sum_sp (y - y_s. - y_.p + y_..)^2 / ((S-1)(P_b-1)) / (S P_b) / B^2

(sampling enters both of the first two; V_cells takes it out once). The half width of an interval is

    sqrt( t(P - 1)^2 V_problems + t(S - 1)^2 V_runs )

each part with its own quantile: one set of degrees of freedom for the sum (Satterthwaite's) covers 89 % instead of
95 % with two runs that differ much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sfpo_bench.statistics.intervals import CONFIDENCE, Interval
from sfpo_bench.statistics.power import POWER

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean and the variance of that mean: what comes from the problems, and what from the training runs.

    `runs` and `problems` were averaged; with one run `runs_variance` is 0 and nothing is said of other runs.
    """

    mean: float
    problems_variance: float
    problems_degrees: float
    runs_variance: float
    runs_degrees: float
    runs: int
    problems: int

    def half_width(self, probability: float) -> float:
        """What the mean is off by at most, in either direction, with this (one-sided) probability."""
        parts = ((self.problems_variance, self.problems_degrees), (self.runs_variance, self.runs_degrees))
        return math.sqrt(
            sum(_quantile(degrees, probability) ** 2 * variance for variance, degrees in parts if variance)
        )


@dataclass(frozen=True, slots=True)
class _Runs:
    """What the runs of one arm add to the variance of its mean, and how many there are."""

    variance: float
    count: int


def crossed_spread(benchmarks: Sequence[Scores]) -> Spread:
    """The spread of the mean score of one arm; `benchmarks` are matrices [S, P_b] of the same S runs.

    Raises `ValueError` for no benchmark, differing S, fewer than two problems, or scores that are not finite.
    """
    matrices = _checked(benchmarks)
    mean = float(np.mean([matrix.mean() for matrix in matrices]))
    return _spread(mean, [matrix.mean(axis=0) for matrix in matrices], 0.0, [_runs(matrices)])


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
    mean = float(np.mean([d.mean() for d in differences]))
    pseudo = 1 / (samples * min(ours[0].shape[0], theirs[0].shape[0]))
    return _spread(mean, differences, pseudo, [_runs(ours), _runs(theirs)])


def share_interval(spread: Spread, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a mean of scores in [0, 1]: Wilson's at the effective number of problems (Korn, Graubard 1998).

        n = mean (1 - mean) * (z / half width)^2

    Stays inside [0, 1]. Without any spread n is the number of problems, and so a mean of 0 or 1 has a width too.
    """
    share, probability = min(1.0, max(0.0, spread.mean)), (1 + confidence) / 2
    z, half = NormalDist().inv_cdf(probability), spread.half_width(probability)
    n = share * (1 - share) * (z / half) ** 2 if half > 0 and 0 < share < 1 else float(spread.problems)
    weight = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / weight
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / weight
    return Interval(max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)), confidence)


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


def _spread(mean: float, means: Sequence[Scores], pseudo: float, arms: Sequence[_Runs]) -> Spread:
    """`means` are one value per problem, for each benchmark; `pseudo` is added to the squares, twice to the count."""
    sizes = [len(means_P) + 2 * pseudo for means_P in means]
    squares = [float(np.square(means_P - means_P.mean()).sum()) + pseudo for means_P in means]
    problems = [square / (size - 1) / size / len(means) ** 2 for square, size in zip(squares, sizes, strict=True)]
    runs = [arm for arm in arms if arm.count > 1]
    return Spread(
        mean,
        sum(problems),
        _degrees([(variance, size - 1) for variance, size in zip(problems, sizes, strict=True)]),
        sum(arm.variance for arm in runs),
        _degrees([(arm.variance, arm.count - 1) for arm in runs]),
        min(arm.count for arm in arms),
        sum(len(means_P) for means_P in means),
    )


def _runs(matrices: Sequence[Scores]) -> _Runs:
    count, runs = len(matrices), matrices[0].shape[0]
    if runs == 1:
        return _Runs(0.0, 1)
    run_means = np.mean([matrix.mean(axis=1) for matrix in matrices], axis=0)
    cells = sum(_cell_variance(matrix) for matrix in matrices) / count**2
    return _Runs(max(0.0, float(run_means.var(ddof=1)) / runs - cells), runs)


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
