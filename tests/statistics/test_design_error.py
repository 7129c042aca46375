"""The variance of published scores: its extremes are reached, and nothing lies outside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sfpo_bench.statistics import Design, difference_error, score_error

Z = 1.959963984540054


def variance(weights: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64], k: int) -> float:
    """n Var(difference) when a problem has the chances a[i], b[i] with probability weights[i]."""
    gap = a - b
    spread = float(weights @ gap**2 - (weights @ gap) ** 2)
    return spread + float(weights @ (a * (1 - a) + b * (1 - b))) / k


def half_width(variance: float, n: int) -> float:
    return Z * math.sqrt(max(0.0, variance) / n)


def test_no_way_in_which_two_models_solve_problems_leaves_the_bounds() -> None:
    random = np.random.default_rng(0)
    for _ in range(3000):
        size, k, n = int(random.integers(1, 6)), int(random.integers(1, 9)), int(random.integers(2, 500))
        weights = random.dirichlet(np.full(size, 0.6))
        # Ends are frequent: the bounds are reached there.
        a, b = random.random((2, size)).round(int(random.integers(0, 3)))
        error = difference_error([(min(1, float(weights @ a)), min(1, float(weights @ b)))], [Design(n, k)])
        found = half_width(variance(weights, a, b, k), n)
        assert error.least - 1e-9 <= found <= error.most + 1e-9


@pytest.mark.parametrize(("mean_a", "mean_b"), [(0.3, 0.2), (0.2, 0.3), (0.9, 0.7), (0.5, 0.5), (1.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("k", [1, 4])
def test_every_extreme_is_that_of_the_models_it_speaks_of(mean_a: float, mean_b: float, k: int) -> None:
    n, gap = 30, abs(mean_a - mean_b)
    low, high = min(mean_a, mean_b), max(mean_a, mean_b)
    error = difference_error([(mean_a, mean_b)], [Design(n, k)])

    def of(weights: list[float], a: list[float], b: list[float]) -> float:
        return half_width(variance(np.array(weights), np.array(a), np.array(b), k), n)

    always = low / (1 - gap) if gap < 1 else 0.0
    assert error.least == pytest.approx(of([always, 1 - always], [1, gap], [1 - gap, 0]))
    assert error.within == pytest.approx(of([1], [mean_a], [mean_b]))
    assert error.between_nested == pytest.approx(of([low, gap, 1 - high], [1, 1, 0], [1, 0, 0]))
    both = [mean_a * mean_b, mean_a * (1 - mean_b), (1 - mean_a) * mean_b, (1 - mean_a) * (1 - mean_b)]
    assert error.between_unrelated == pytest.approx(of(both, [1, 1, 0, 0], [1, 0, 1, 0]))
    overlap = max(0.0, mean_a + mean_b - 1)
    apart = [overlap, mean_a - overlap, mean_b - overlap, 1 - mean_a - mean_b + overlap]
    assert error.most == pytest.approx(of(apart, [1, 1, 0, 0], [1, 0, 1, 0]))


def test_the_formula_is_the_spread_of_simulated_benchmarks() -> None:
    random, n, k, repetitions = np.random.default_rng(1), 30, 4, 20_000
    chances_a = random.choice([0.1, 0.5, 0.9], size=(repetitions, n))
    chances_b = np.where(random.random((repetitions, n)) < 0.7, chances_a, 0.3)
    difference = (random.binomial(k, chances_a) - random.binomial(k, chances_b)).mean(axis=1) / k
    weights = np.array([0.7, 0.7, 0.7, 0.3, 0.3, 0.3]) / 3
    a, b = np.array([0.1, 0.5, 0.9, 0.1, 0.5, 0.9]), np.array([0.1, 0.5, 0.9, 0.3, 0.3, 0.3])
    assert difference.var() == pytest.approx(variance(weights, a, b, k) / n, rel=0.04)


def test_one_score_has_the_binomial_error_of_all_its_samples_or_of_its_problems() -> None:
    error = score_error(0.3, Design(500, 4))
    assert error.within == pytest.approx(Z * math.sqrt(0.3 * 0.7 / 2000))
    assert error.between == pytest.approx(Z * math.sqrt(0.3 * 0.7 / 500))


def test_with_one_sample_within_and_between_are_one() -> None:
    score, difference = score_error(0.3, Design(50, 1)), difference_error([(0.3, 0.2)], [Design(50, 1)])
    assert score.within == score.between
    assert (difference.within, difference.least) == (difference.between_unrelated, difference.between_nested)


def test_an_average_of_like_benchmarks_is_off_by_one_over_their_root() -> None:
    one = difference_error([(0.6, 0.5)], [Design(100, 4)])
    four = difference_error([(0.6, 0.5)] * 4, [Design(100, 4)] * 4)
    for name in one.__dataclass_fields__:
        assert getattr(four, name) == pytest.approx(getattr(one, name) / 2)


@pytest.mark.parametrize("mean", [-0.1, 1.1, 43.2])
def test_a_score_outside_0_and_1_is_refused(mean: float) -> None:
    with pytest.raises(ValueError, match="expected a share"):
        difference_error([(mean, 0.5)], [Design(30, 4)])


def test_a_design_without_problems_or_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Design(0, 4)
    with pytest.raises(ValueError, match="expected one of each"):
        difference_error([], [])
