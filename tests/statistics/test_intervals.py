"""Truths about the intervals: closed forms, an independent implementation, invariances, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sfpo_bench.statistics import (
    CONFIDENCE,
    POWER,
    difference_of_means,
    geometric_mean_interval,
    mean_interval,
    ratio_of_geometric_means,
    wilson_interval,
)
from sfpo_bench.statistics.intervals import share_limits

COSTS = (2400.0, 2710.0, 3300.0, 1980.0)
OTHERS = (6100.0, 5200.0, 7300.0)


def test_two_values_have_the_textbook_interval() -> None:
    # With one degree of freedom t is a Cauchy quantile, tan(0.475 pi), and s / sqrt(2) is half the distance.
    estimate = mean_interval([1.0, 3.0])
    assert estimate.point == 2.0
    assert estimate.interval is not None
    assert estimate.interval.high == pytest.approx(2.0 + math.tan(0.475 * math.pi))
    assert estimate.interval.low == pytest.approx(2.0 - math.tan(0.475 * math.pi))


def test_mean_interval_matches_scipy_stats() -> None:
    estimate = mean_interval(COSTS, confidence=0.9)
    low, high = stats.t.interval(0.9, len(COSTS) - 1, loc=np.mean(COSTS), scale=stats.sem(COSTS))
    assert estimate.interval is not None
    assert (estimate.interval.low, estimate.interval.high) == pytest.approx((low, high))


def test_geometric_mean_is_the_root_of_the_product() -> None:
    estimate = geometric_mean_interval([1.0, 10.0, 100.0])
    assert estimate.point == pytest.approx(10.0)
    assert estimate.interval is not None
    # symmetric on logs: low * high = point^2
    assert estimate.interval.low * estimate.interval.high == pytest.approx(100.0)


def test_ratio_matches_scipy_welch_on_logs() -> None:
    estimate = ratio_of_geometric_means(OTHERS, COSTS)
    welch = stats.ttest_ind(np.log(OTHERS), np.log(COSTS), equal_var=False).confidence_interval(0.95)
    assert estimate.interval is not None
    assert (estimate.interval.low, estimate.interval.high) == pytest.approx((math.exp(welch.low), math.exp(welch.high)))
    assert (estimate.n_numerator, estimate.n_denominator) == (3, 4)


def test_the_p_value_is_welchs_and_that_of_the_interval_at_its_own_level() -> None:
    expected = stats.ttest_ind(np.log(OTHERS), np.log(COSTS), equal_var=False).pvalue
    for ratio in (ratio_of_geometric_means(OTHERS, COSTS), ratio_of_geometric_means(COSTS, OTHERS)):
        assert ratio.p_value == pytest.approx(expected)
    touching = ratio_of_geometric_means(OTHERS, COSTS, confidence=1 - expected).interval
    assert touching is not None and touching.low == pytest.approx(1.0)
    assert ratio_of_geometric_means([2.0, 2.0], [2.0, 2.0]).p_value == 1.0
    assert ratio_of_geometric_means([2.0, 2.0], [1.0, 1.0]).p_value == 0.0


def test_a_difference_of_means_is_that_of_scipys_welch_test_and_of_the_logs_of_a_ratio() -> None:
    first, second = [0.61, 0.58, 0.64, 0.60], [0.55, 0.57, 0.49]
    said, expected = difference_of_means(first, second, 0.9), stats.ttest_ind(first, second, equal_var=False)
    ends = expected.confidence_interval(0.9)
    assert said.point == pytest.approx(np.mean(first) - np.mean(second)) and said.interval is not None
    assert (said.interval.low, said.interval.high) == pytest.approx((ends.low, ends.high))
    assert said.p_value == pytest.approx(expected.pvalue)
    ratio = ratio_of_geometric_means(np.exp(first).tolist(), np.exp(second).tolist(), 0.9)
    assert ratio.point == pytest.approx(math.exp(said.point)) and ratio.p_value == pytest.approx(said.p_value)
    alone = difference_of_means([0.5], second)
    assert alone.point == pytest.approx(0.5 - np.mean(second)) and (alone.interval, alone.p_value) == (None, None)


def test_the_level_is_95_percent_unless_another_is_asked_for() -> None:
    assert CONFIDENCE == 0.95 and POWER == 0.80
    assert mean_interval(COSTS) == mean_interval(COSTS, 0.95)


@pytest.mark.parametrize("scale", [1e-9, 0.5, 1e9])
def test_unit_of_cost_does_not_matter_to_a_ratio(scale: float) -> None:
    plain = ratio_of_geometric_means(OTHERS, COSTS)
    scaled = ratio_of_geometric_means([scale * x for x in OTHERS], [scale * x for x in COSTS])
    assert plain.interval is not None and scaled.interval is not None
    assert scaled.point == pytest.approx(plain.point)
    assert (scaled.interval.low, scaled.interval.high) == pytest.approx((plain.interval.low, plain.interval.high))


def test_swapping_the_samples_inverts_the_ratio() -> None:
    forward, backward = ratio_of_geometric_means(OTHERS, COSTS), ratio_of_geometric_means(COSTS, OTHERS)
    assert forward.interval is not None and backward.interval is not None
    assert backward.point == pytest.approx(1 / forward.point)
    assert backward.interval.low == pytest.approx(1 / forward.interval.high)
    assert backward.interval.high == pytest.approx(1 / forward.interval.low)


def test_a_sample_without_spread_leaves_the_other_samples_t_interval() -> None:
    ratio = ratio_of_geometric_means(COSTS, [1.0, 1.0, 1.0])
    alone = geometric_mean_interval(COSTS)
    assert ratio.interval is not None and alone.interval is not None
    assert (ratio.interval.low, ratio.interval.high) == pytest.approx((alone.interval.low, alone.interval.high))


def test_one_value_has_a_point_and_no_interval() -> None:
    assert mean_interval([3.0]).interval is None
    assert geometric_mean_interval([3.0]).interval is None
    assert ratio_of_geometric_means([6.0], [3.0, 4.0]).interval is None
    assert ratio_of_geometric_means([6.0], [3.0]).point == pytest.approx(2.0)


def test_equal_values_have_the_point_as_interval() -> None:
    for estimate in (mean_interval([0.1] * 3), geometric_mean_interval([7.0] * 3)):
        assert estimate.interval is not None
        assert estimate.interval.low == estimate.point == estimate.interval.high
    ratio = ratio_of_geometric_means([0.3, 0.3], [0.1, 0.1])
    assert ratio.interval is not None
    assert ratio.interval.low == ratio.point == ratio.interval.high
    assert ratio.p_value == 0.0 and ratio_of_geometric_means([0.3, 0.3], [0.3, 0.3]).p_value == 1.0


def test_tiny_spreads_do_not_underflow() -> None:
    estimate = ratio_of_geometric_means([1.0, 1.0 + 1e-15], [1.0, 1.0 + 2e-15])
    assert estimate.interval is not None
    assert math.isfinite(estimate.interval.low) and math.isfinite(estimate.interval.high)


def test_what_has_no_logarithm_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        geometric_mean_interval([1.0, 0.0])
    with pytest.raises(ValueError, match="finite"):
        ratio_of_geometric_means([1.0, math.inf], [1.0])
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([1.0, 2.0], confidence=95)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (560, 768)])
def test_wilson_matches_scipy_stats(successes: int, n: int) -> None:
    estimate = wilson_interval(successes, n)
    reference = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert estimate.interval is not None
    assert (estimate.interval.low, estimate.interval.high) == pytest.approx((reference.low, reference.high))
    assert 0 <= estimate.interval.low <= estimate.point <= estimate.interval.high <= 1


def test_wilson_inverts_the_score_test() -> None:
    # Every end q of the interval satisfies |p - q| = z * sqrt(q (1 - q) / n): the definition.
    estimate = wilson_interval(30, 100)
    assert estimate.interval is not None
    for end in (estimate.interval.low, estimate.interval.high):
        assert abs(0.3 - end) / math.sqrt(end * (1 - end) / 100) == pytest.approx(stats.norm.ppf(0.975))


def test_wilson_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="trials"):
        wilson_interval(3, 2)


@pytest.mark.parametrize(("hits", "n"), [(1, 5), (3, 10), (9, 10), (30, 100)])
def test_limits_of_a_share_have_seven_tenths_of_their_own_probability_beyond_them(hits: int, n: int) -> None:
    """The definition, by the binomial's own sums: 0.7 P(X = x) and all that is farther make 2.5 %."""
    low, high = share_limits(hits / n, n, 0.975)
    assert stats.binom.sf(hits, n, low) + 0.7 * stats.binom.pmf(hits, n, low) == pytest.approx(0.025)
    assert stats.binom.cdf(hits, n, high) - 0.3 * stats.binom.pmf(hits, n, high) == pytest.approx(0.025)
    assert share_limits(1 - hits / n, n, 0.975) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("n", [10, 30, 100])
def test_limits_of_a_share_cover_whatever_it_is(n: int) -> None:
    """Exact, no draws: the sum of the binomial over the numbers of successes whose limits hold the truth."""
    limits, hits = np.array([share_limits(x / n, n, 0.975) for x in range(n + 1)]), np.arange(n + 1)
    truths = np.concatenate([np.linspace(0.001, 0.1, 300), np.linspace(0.1, 0.5, 300)])[:, None]
    held = (limits[:, 0] <= truths) & (truths <= limits[:, 1])
    exact = (stats.binom.pmf(hits, n, truths) * held).sum(axis=1)
    assert exact.min() >= 0.939 and exact.mean() <= 0.985


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_ratio_interval_covers_the_true_ratio(seeds: int) -> None:
    # 1500 draws: the standard error of a coverage of 0.95 is 0.0056.
    assert 0.93 <= _coverage(seeds, spread=0.3, other_spread=0.3) <= 0.97
    assert 0.93 <= _coverage(seeds, spread=0.4, other_spread=0.1) <= 0.97


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_geometric_mean_interval_covers_the_median(seeds: int) -> None:
    draws = np.random.default_rng(seeds).lognormal(math.log(2000.0), 0.3, (1500, seeds))
    intervals = [geometric_mean_interval(draw).interval for draw in draws.tolist()]
    assert 0.93 <= np.mean([interval is not None and interval.contains(2000.0) for interval in intervals]) <= 0.97


def _coverage(seeds: int, spread: float, other_spread: float) -> float:
    random = np.random.default_rng(seeds)
    baseline = random.lognormal(math.log(5000.0), spread, (1500, seeds)).tolist()
    arm = random.lognormal(math.log(2000.0), other_spread, (1500, seeds)).tolist()
    intervals = [ratio_of_geometric_means(*pair).interval for pair in zip(baseline, arm, strict=True)]
    return float(np.mean([interval is not None and interval.contains(2.5) for interval in intervals]))
