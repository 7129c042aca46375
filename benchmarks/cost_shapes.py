"""Shapes that the log costs of an arm's seeds may have, and what is said of many such arms at once.

`said_of_costs` is `statistics.typical_cost` of every row, without a budget: arrays in, arrays out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from benchmarks.simulated_curves import Array
from sfpo_bench.statistics.cost_to_target import SLOW_TAIL
from sfpo_bench.statistics.kinds import GAP, SPREADS

Size = tuple[int, ...]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Said:
    """One truth value per row: Student's interval covers; a bound is printed; what is printed is right."""

    student: Flags
    bound: Flags
    right: Flags


def _fifth_slower(random: np.random.Generator, size: Size, spread: float) -> Array:
    return np.asarray(spread * random.standard_normal(size) + math.log(3) * (random.random(size) < 0.2))


def _fifth_later(random: np.random.Generator, size: Size) -> Array:
    later = np.abs(0.5 * random.standard_normal(size))
    return np.asarray(0.14 * random.standard_normal(size) + (random.random(size) < 0.2) * later)


def _shifted_lognormal(random: np.random.Generator, size: Size, scale: float, spread: float) -> Array:
    return np.asarray(np.log1p(scale * np.exp(spread * random.standard_normal(size))))


SHAPES: dict[str, Callable[[np.random.Generator, Size], Array]] = {
    "lognormal, 0.14": lambda random, size: 0.14 * random.standard_normal(size),
    "lognormal, 0.3": lambda random, size: 0.3 * random.standard_normal(size),
    "a fifth three times slower, 0.14": lambda random, size: _fifth_slower(random, size, 0.14),
    "a fifth three times slower, 0.3": lambda random, size: _fifth_slower(random, size, 0.3),
    "Pareto, 10: exponential logs, 0.1": lambda random, size: random.standard_exponential(size) / 10,
    "Pareto, 3: exponential logs, 0.33": lambda random, size: random.standard_exponential(size) / 3,
    "cost 1 + 0.2 exponential": lambda random, size: np.log1p(0.2 * random.standard_exponential(size)),
    "cost 1 + exponential": lambda random, size: np.log1p(random.standard_exponential(size)),
    "cost 1 + 0.2 lognormal, 0.5": lambda random, size: _shifted_lognormal(random, size, 0.2, 0.5),
    "cost 1 + 0.5 lognormal, 1": lambda random, size: _shifted_lognormal(random, size, 0.5, 1.0),
    "cost 1 + 0.2 lognormal, 1": lambda random, size: _shifted_lognormal(random, size, 0.2, 1.0),
    "cost 1 + 0.2 lognormal, 1.5": lambda random, size: _shifted_lognormal(random, size, 0.2, 1.5),
    "lognormal, 0.14; a fifth later by half-normal, 0.5": _fifth_later,
    "fast tail: minus exponential logs, 0.1": lambda random, size: -random.standard_exponential(size) / 10,
}


def said_of_costs(logs_RN: Array, truth: float) -> Said:
    """Whether what is said of each row of N log costs is right of the mean log cost `truth`."""
    n = logs_RN.shape[1]
    low_R, middle_R, high_R = _student(logs_RN)
    student_R = (low_R <= truth) & (truth <= high_R)
    interval_R = (low_R <= truth) & (truth <= middle_R + (high_R - middle_R) * (1 + SLOW_TAIL / n))
    ordered_RN = np.sort(logs_RN, axis=1)
    gaps_RM = np.diff(ordered_RN, axis=1)
    fast_R = gaps_RM.argmax(axis=1) + 1
    bound_R, right_R = np.zeros(len(logs_RN), dtype=bool), interval_R.copy()
    for count in range(1, n):
        rows = np.flatnonzero(fast_R == count)
        fast, slow = ordered_RN[rows, :count], ordered_RN[rows, count:]
        inside = sum(np.square(part - part.mean(axis=1, keepdims=True)).sum(axis=1) for part in (fast, slow))
        gap = gaps_RM[rows, count - 1]
        apart = (gap >= math.log(GAP)) & (gap >= SPREADS * np.sqrt(inside / (n - 2)))
        limits = _student(fast if count >= n - count else slow)
        holds = limits[0] <= truth if count >= n - count else truth <= limits[2]
        bound_R[rows], right_R[rows] = apart, np.where(apart, holds, right_R[rows])
    return Said(student_R, bound_R, right_R)


def _student(logs_RN: Array) -> tuple[Array, Array, Array]:
    """Lower end, mean and upper end of each row's interval."""
    n = logs_RN.shape[1]
    half = stdtrit(n - 1, 0.975) * logs_RN.std(axis=1, ddof=1) / math.sqrt(n)
    mean = logs_RN.mean(axis=1)
    return mean - half, mean, mean + half
