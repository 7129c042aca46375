"""Permutation tests of a difference of means."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from sfpo_bench.core.seeding import generator

DRAWS = 20_000
# Limitation of `run_permutation_p`, stated wherever its p-value is shown.
RUNS_ONLY = (
    "A p-value from permuted runs covers other training runs on these problems only. If an arm is better at some "
    "problems and worse at others, the test rejects equal arms too often for another choice of problems. The interval "
    "covers both."
)
_EXACT_UP_TO = 2**14
_ROUNDING = 1e-9


def sign_flip_p(benchmarks: Sequence[NDArray[np.float64]]) -> float:
    """Return the two-sided p-value of no difference between two models, from differences d[P_b] on each benchmark.

    Under the null hypothesis each problem's two scores are exchangeable: the p-value is the share of sign patterns
    whose |mean over benchmarks of the mean of ±d| is at least the observed one. Uses all patterns for up to 14 problems
    that differ, else 20,000 random ones and the observed one: (1 + count) / (1 + 20,000).
    """
    weighted = np.concatenate([np.asarray(d, dtype=np.float64) / len(d) / len(benchmarks) for d in benchmarks])
    weighted = weighted[weighted != 0]
    observed = abs(float(weighted.sum())) - _ROUNDING
    if 2 ** len(weighted) <= _EXACT_UP_TO:
        patterns = (np.arange(2 ** len(weighted))[:, None] >> np.arange(len(weighted))) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ weighted) >= observed))
    random = generator(0, "sign_flip", len(weighted))
    hits = 0
    for _ in range(DRAWS // 1000):
        signs = random.integers(0, 2, size=(1000, len(weighted)), dtype=np.int8)
        hits += int(np.sum(np.abs((1.0 - 2.0 * signs) @ weighted) >= observed))
    return (1 + hits) / (1 + DRAWS)


def run_permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of no difference between two arms, from the mean score of each training run.

    Under the null hypothesis the runs are exchangeable: the p-value is the share of ways to choose len(first) of all
    runs whose |difference of means| is at least the observed one. With 3 + 3 runs it is at least 0.1. Uses all ways up
    to 2^14, else 20,000 random ones and the observed one.
    """
    pooled, size = np.asarray([*first, *second], dtype=np.float64), len(first)
    rest = len(pooled) - size

    def gap(chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        sums = pooled[chosen].sum(axis=-1)
        gaps: NDArray[np.float64] = np.abs(sums / size - (pooled.sum() - sums) / rest)
        return gaps

    observed = float(gap(np.arange(size)[None, :])[0]) - _ROUNDING
    if comb(len(pooled), size) <= _EXACT_UP_TO:
        ways = np.array(list(combinations(range(len(pooled)), size)), dtype=np.int64)
        return float(np.mean(gap(ways) >= observed))
    random = generator(0, "run_permutation", len(pooled), size)
    orders = random.permuted(np.tile(np.arange(len(pooled)), (DRAWS, 1)), axis=1)[:, :size]
    return (1 + int(np.sum(gap(orders) >= observed))) / (1 + DRAWS)
