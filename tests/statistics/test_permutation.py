"""Permutation tests against all permutations, written out."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from sfpo_bench.statistics.permutation import DRAWS, run_permutation_p, sign_flip_p


def test_sign_flips_are_all_sign_patterns() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        d = random.integers(-2, 3, size=7) / 2
        means = [abs(np.mean([s * x for s, x in zip(signs, d, strict=True)])) for signs in product((1, -1), repeat=7)]
        expected = np.mean([mean >= abs(d.mean()) - 1e-12 for mean in means])
        assert sign_flip_p([d]) == pytest.approx(expected)


def test_drawn_patterns_agree_with_all_of_them() -> None:
    """20 differing problems are drawn, not counted out; four standard errors of 20,000 draws."""
    d = np.r_[np.ones(14), -np.ones(6)]
    from scipy.stats import binomtest

    exact = binomtest(14, 20).pvalue
    assert sign_flip_p([d]) == pytest.approx(exact, abs=4 * (exact / 20_000) ** 0.5)
    assert sign_flip_p([d]) == sign_flip_p([-d])


def test_benchmarks_weigh_alike() -> None:
    """One problem of a small benchmark weighs as much as ten of one ten times as large."""
    assert sign_flip_p([np.array([1.0]), np.zeros(10)]) == 1.0
    assert sign_flip_p([np.array([1.0, 1.0]), np.r_[np.ones(5), np.zeros(15)]]) < 0.05


def test_benchmarks_of_unequal_size_are_all_sign_patterns_of_the_mean_of_their_means() -> None:
    small, large = np.array([1.0, -0.5, 0.5]), np.array([0.5, 0.5, -1.0, 1.0, 0.0])
    gaps = [
        abs((signs[:3] * small).mean() + (signs[3:] * large).mean())
        for signs in map(np.array, product((1, -1), repeat=8))
    ]
    expected = np.mean([gap >= abs(small.mean() + large.mean()) - 1e-12 for gap in gaps])
    assert sign_flip_p([small, large]) == sign_flip_p([large, small]) == pytest.approx(expected)


def test_a_drawn_p_value_counts_the_observed_pattern_and_is_never_zero() -> None:
    """40 problems all won: two of 2^40 patterns are as extreme, and none of them is drawn."""
    assert sign_flip_p([np.ones(40)]) == 1 / (1 + DRAWS)
    first, second = [1.0 + i / 100 for i in range(20)], [i / 100 for i in range(20)]
    assert run_permutation_p(first, second) == run_permutation_p(second, first) == 1 / (1 + DRAWS)
    assert run_permutation_p([0.5] * 20, [0.5] * 20) == sign_flip_p([np.zeros(40)]) == 1.0


def test_runs_are_all_ways_to_choose() -> None:
    random = np.random.default_rng(1)
    first, second = random.random(3), random.random(4)
    pooled = np.r_[first, second]
    gaps = [
        abs(pooled[list(chosen)].mean() - np.delete(pooled, list(chosen)).mean())
        for chosen in combinations(range(7), 3)
    ]
    expected = np.mean([gap >= abs(first.mean() - second.mean()) - 1e-12 for gap in gaps])
    assert run_permutation_p(first.tolist(), second.tolist()) == pytest.approx(expected)


def test_three_against_three_runs_can_never_be_below_a_tenth() -> None:
    assert run_permutation_p([1.0, 1.1, 1.2], [0.0, 0.1, 0.2]) == pytest.approx(0.1)


def test_many_runs_are_drawn_and_equal_ones_differ_by_nothing() -> None:
    same = [0.5] * 10
    assert run_permutation_p(same, same) == 1.0
    assert run_permutation_p([1.0 + i / 100 for i in range(10)], [i / 100 for i in range(10)]) < 0.001
