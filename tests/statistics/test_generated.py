"""Generated inputs against independent calculations: scipy, a closed test over all subsets, a search one by one."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sfpo_bench.statistics import detectable_ratio, holm_adjusted, ratio_of_geometric_means, seeds_needed
from sfpo_bench.statistics.permutation import run_permutation_p, sign_flip_p

P_VALUES = st.lists(st.one_of(st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.floats(0, 1)), min_size=1, max_size=6)
SCORES = st.lists(st.integers(0, 8).map(lambda hits: hits / 8), min_size=2, max_size=4)
COSTS = st.lists(st.floats(100, 1000), min_size=3, max_size=6)


@settings(max_examples=40, deadline=None)
@given(P_VALUES)
def test_holm_is_the_closed_test_of_bonferroni_over_every_subset(p_values: list[float]) -> None:
    """A hypothesis falls when every set that holds it falls (Marcus, Peritz and Gabriel 1976)."""
    places = range(len(p_values))
    subsets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(places, size)]
    closed = [
        max(min(1.0, len(chosen) * min(p_values[i] for i in chosen)) for chosen in subsets if place in chosen)
        for place in places
    ]
    assert holm_adjusted(p_values) == pytest.approx(closed)


@settings(max_examples=20, deadline=None)
@given(SCORES, SCORES)
def test_p_of_runs_is_scipys_and_never_below_one_of_all_ways(first: list[float], second: list[float]) -> None:
    def gap(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.abs(x.mean(axis=axis) - y.mean(axis=axis)))

    ways = comb(len(first) + len(second), len(first))
    theirs = stats.permutation_test(
        (first, second), gap, vectorized=True, n_resamples=ways + 1, alternative="greater"
    ).pvalue
    ours = run_permutation_p(first, second)
    assert ours == pytest.approx(theirs) and ours >= 1 / ways
    assert ours == pytest.approx(run_permutation_p(second, first))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-4, 4).map(lambda eighths: eighths / 4), min_size=2, max_size=8))
def test_p_of_problems_is_scipys_and_never_below_one_of_all_patterns(gaps: list[float]) -> None:
    def size(x: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.abs(x.mean(axis=axis)))

    theirs = stats.permutation_test(
        (gaps,),
        size,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2 ** len(gaps) + 1,
        alternative="greater",
    ).pvalue
    ours = sign_flip_p([np.array(gaps)])
    assert ours == pytest.approx(theirs) and ours >= 1 / 2 ** len(gaps)


@settings(max_examples=30, deadline=None)
@given(COSTS, COSTS)
def test_p_of_a_ratio_is_welchs(first: list[float], second: list[float]) -> None:
    if np.std(first) > 1e-6 and np.std(second) > 1e-6:
        expected = stats.ttest_ind(np.log(first), np.log(second), equal_var=False).pvalue
        assert ratio_of_geometric_means(first, second).p_value == pytest.approx(expected, rel=1e-6, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.floats(1.2, 3.0), st.integers(1, 9))
def test_the_seeds_needed_are_the_first_number_that_detects_the_ratio(
    one: float, other: float, ratio: float, family: int
) -> None:
    """By what that many seeds and one fewer detect, at the level of a statement in a family."""

    def spread(deviation: float, n: int, centre: float = 1.0) -> list[float]:
        logs = np.linspace(-1, 1, n)
        return [float(value) for value in centre * np.exp(deviation * logs / logs.std(ddof=1))]

    level = 1 - 0.05 / family
    said = seeds_needed(spread(one, 5, ratio), spread(other, 5), level)

    def smallest(n: int) -> float:
        found = detectable_ratio(spread(one, n), spread(other, n), level)
        assert found is not None
        return found

    assert said is not None and said >= 3
    assert smallest(said) <= ratio * (1 + 1e-4)
    assert said == 3 or smallest(said - 1) > ratio * (1 - 1e-4)
