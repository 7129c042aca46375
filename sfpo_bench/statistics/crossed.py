"""Means over problems and training runs that are crossed: every run of an arm answers the same problems.

The data of one benchmark is a matrix y[S, P]: the score in [0, 1] of run s on problem p (for one model S = 1); a mean
over B benchmarks weighs each alike. What a score may be said of is a population of problems like these and, with two
runs or more, a population of training runs like these. With

    y = mean + run_s + problem_p + (run x problem, and sampling)_sp

the variance of the grand mean is estimated without bias, over benchmarks b, by

    V = V_runs + V_problems - V_cells
    V_runs     = var_s( mean over b of mean over p of y ) / S              the runs' own means, over all benchmarks
    V_problems = sum_b var_p( mean over s of y ) / P_b / B^2
    V_cells    = sum_b sum_sp (y - y_s. - y_.p + y_..)^2 / ((S-1)(P_b-1)) / (S P_b) / B^2

(sampling enters V_runs and V_problems both, so V_cells takes it out once). V is not allowed below V_runs or V_problems.
One run says nothing about other runs: then V = V_problems. Degrees of freedom are Satterthwaite's (1946).
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
    """A mean, the variance of that mean and the variance's degrees of freedom. `runs` and `problems` were averaged."""

    mean: float
    variance: float
    degrees: float
    runs: int
    problems: int


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components of the variance of a mean over benchmarks; the lists have one entry per benchmark."""

    runs: float
    problems: list[float]
    cells: list[float]
    n_runs: int
    n_problems: list[int]


def crossed_spread(benchmarks: Sequence[Scores]) -> Spread:
    """The spread of the mean score of one arm; `benchmarks` are matrices [S, P_b] of the same S runs.

    Raises `ValueError` for no benchmark, differing S, fewer than two problems, or scores that are not finite.
    """
    matrices = _checked(benchmarks)
    parts = _parts(matrices, pseudo=0.0)
    mean = float(np.mean([matrix.mean() for matrix in matrices]))
    variance, degrees = _combined([parts], parts.problems)
    return Spread(mean, variance, degrees, parts.n_runs, sum(parts.n_problems))


def difference_spread(first: Sequence[Scores], second: Sequence[Scores]) -> Spread:
    """The spread of mean(first) - mean(second) on the same problems: matrices [S1, P_b] and [S2, P_b].

    The runs of the two arms are independent; the problems are paired, so that V_problems is that of the differences

        d_p = mean over s of first[s, p] - mean over s of second[s, p]

    To each benchmark's squared deviations 1 is added, and 2 to its number of problems (Agresti and Min 2005, for
    paired proportions): two models that differ on none of 30 problems may yet differ on the 31st. `runs` is that of
    the smaller arm.
    """
    ours, theirs = _checked(first), _checked(second)
    if [matrix.shape[1] for matrix in ours] != [matrix.shape[1] for matrix in theirs]:
        raise ValueError("found two arms with different problems; expected the same problems in the same order")
    parts = [_parts(ours, pseudo=0.0), _parts(theirs, pseudo=0.0)]
    differences = [one.mean(axis=0) - two.mean(axis=0) for one, two in zip(ours, theirs, strict=True)]
    problems = [_problem_variance(d, pseudo=1.0) / len(differences) ** 2 for d in differences]
    variance, degrees = _combined(parts, problems)
    mean = float(np.mean([d.mean() for d in differences]))
    return Spread(mean, variance, degrees, min(p.n_runs for p in parts), sum(parts[0].n_problems))


def share_interval(spread: Spread, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a mean of scores in [0, 1]: Wilson's at the effective number of problems (Korn, Graubard 1998).

        n = mean (1 - mean) / variance * (z / t(degrees))^2

    Stays inside [0, 1]. A mean of 0 or 1 has no variance: then n is the number of problems.
    """
    share, probability = min(1.0, max(0.0, spread.mean)), (1 + confidence) / 2
    z = NormalDist().inv_cdf(probability)
    n = share * (1 - share) / spread.variance if spread.variance > 0 else float(spread.problems)
    if math.isfinite(spread.degrees):
        n *= (z / float(stdtrit(spread.degrees, probability))) ** 2
    weight = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / weight
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / weight
    return Interval(max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)), confidence)


def mean_interval_of(spread: Spread, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a difference: mean ± t(degrees) * sqrt(variance), cut at -1 and 1."""
    half = _quantile(spread.degrees, (1 + confidence) / 2) * math.sqrt(spread.variance)
    return Interval(max(-1.0, spread.mean - half), min(1.0, spread.mean + half), confidence)


def detectable_difference(spread: Spread, confidence: float = CONFIDENCE, power: float = POWER) -> float:
    """The smallest true difference that an interval like this one excludes 0 for, with probability `power`:

    (t(degrees; (1 + confidence) / 2) + t(degrees; power)) * sqrt(variance)
    """
    both = _quantile(spread.degrees, (1 + confidence) / 2) + _quantile(spread.degrees, power)
    return float(both * math.sqrt(spread.variance))


def _parts(matrices: Sequence[Scores], pseudo: float) -> _Parts:
    count, runs = len(matrices), matrices[0].shape[0]
    run_means = np.mean([matrix.mean(axis=1) for matrix in matrices], axis=0)
    return _Parts(
        runs=float(run_means.var(ddof=1)) / runs if runs > 1 else 0.0,
        problems=[_problem_variance(matrix.mean(axis=0), pseudo) / count**2 for matrix in matrices],
        cells=[_cell_variance(matrix) / count**2 for matrix in matrices] if runs > 1 else [0.0] * count,
        n_runs=runs,
        n_problems=[matrix.shape[1] for matrix in matrices],
    )


def _problem_variance(means_P: Scores, pseudo: float) -> float:
    """The variance of a mean over problems, with `pseudo` added to the squares and twice that to the count."""
    n = len(means_P) + 2 * pseudo
    return float((np.square(means_P - means_P.mean()).sum() + pseudo) / (n - 1) / n)


def _cell_variance(matrix: Scores) -> float:
    runs, problems = matrix.shape
    rest = matrix - matrix.mean(axis=1, keepdims=True) - matrix.mean(axis=0, keepdims=True) + matrix.mean()
    return float(np.square(rest).sum() / ((runs - 1) * (problems - 1)) / (runs * problems))


def _combined(arms: Sequence[_Parts], problems: Sequence[float]) -> tuple[float, float]:
    """Variance and degrees of freedom of a mean, or of a difference of two arms' means."""
    sizes = arms[0].n_problems
    terms = [(value, size - 1) for value, size in zip(problems, sizes, strict=True)]
    runs = [(arm.runs, arm.n_runs - 1) for arm in arms if arm.n_runs > 1]
    cells = [
        (value, (arm.n_runs - 1) * (size - 1))
        for arm in arms
        if arm.n_runs > 1
        for value, size in zip(arm.cells, arm.n_problems, strict=True)
    ]
    over_problems, over_runs = sum(v for v, _ in terms), sum(v for v, _ in runs)
    variance = over_problems + over_runs - sum(v for v, _ in cells)
    if variance < max(over_problems, over_runs):
        terms, runs, cells = (terms, [], []) if over_problems >= over_runs else ([], runs, [])
        variance = max(over_problems, over_runs)
    scale = sum((value / variance) ** 2 / degrees for value, degrees in (*terms, *runs, *cells)) if variance else 0.0
    return variance, max(1.0, 1 / scale) if scale else math.inf


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
