"""Truths about power: simulated detection, limits, how many seeds it takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sfpo_bench.statistics import (
    detectable_ratio,
    detectable_shift,
    ratio_of_geometric_means,
    seeds_for_shift,
    seeds_needed,
)

DRAWS = 800  # the standard error of a share of 0.80 is 0.014


def with_spread(spread: float, n: int, centre: float = 1.0) -> list[float]:
    """n values whose logs have exactly the standard deviation `spread`."""
    logs = np.linspace(-1, 1, n)
    return [float(value) for value in centre * np.exp(spread * logs / logs.std(ddof=1))]


def detectable(spread: float, n: int) -> float | None:
    """What two arms of the same spread and number of seeds would detect."""
    return detectable_ratio(with_spread(spread, n), with_spread(spread, n))


def share_detected(ratio: float, spreads: tuple[float, float], n: tuple[int, int]) -> float:
    random = np.random.default_rng(n[0])
    tops = (ratio * random.lognormal(0, spreads[0], (DRAWS, n[0]))).tolist()
    bottoms = random.lognormal(0, spreads[1], (DRAWS, n[1])).tolist()
    intervals = [ratio_of_geometric_means(*pair).interval for pair in zip(tops, bottoms, strict=True)]
    return float(np.mean([interval is not None and not interval.contains(1.0) for interval in intervals]))


@pytest.mark.parametrize(("spreads", "n"), [((0.15, 0.15), (10, 10)), ((0.3, 0.1), (5, 8)), ((0.2, 0.2), (3, 3))])
def test_the_detectable_ratio_is_detected_in_four_of_five_repetitions(
    spreads: tuple[float, float], n: tuple[int, int]
) -> None:
    ratio = detectable_ratio(with_spread(spreads[0], n[0]), with_spread(spreads[1], n[1]))
    assert ratio is not None
    assert share_detected(ratio, spreads, n) == pytest.approx(0.80, abs=0.045)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_where_one_arm_has_no_spread_power_is_that_of_students_test(n: int) -> None:
    """A closed form: t has n - 1 degrees of freedom and the non-centrality log(R) sqrt(n) / s."""
    ratio = detectable_ratio(with_spread(0.3, n), [1.0] * n)
    assert ratio is not None
    needed, centre = stats.t.ppf(0.975, n - 1), math.log(ratio) * math.sqrt(n) / 0.3
    assert stats.nct.sf(needed, n - 1, centre) == pytest.approx(0.80, abs=0.002)


def test_a_true_ratio_of_two_is_found_at_ten_seeds() -> None:
    # Log costs of the embedded experiment spread by 0.05 to 0.2 between seeds; 0.3 is half as much again.
    assert share_detected(2.0, (0.3, 0.3), (10, 10)) >= 0.95


def test_more_spread_hides_and_more_seeds_show() -> None:
    wide, narrow, many = (detectable(s, n) for s, n in ((0.3, 5), (0.1, 5), (0.3, 50)))
    assert wide is not None and narrow is not None and many is not None
    assert narrow < wide and many < wide
    # Many seeds: the normal formula, exp((1.96 + 0.84) s sqrt(2 / n)).
    assert many == pytest.approx(math.exp((1.960 + 0.842) * 0.3 * math.sqrt(2 / 50)), rel=0.01)


def test_without_spread_any_ratio_shows_and_one_seed_shows_none() -> None:
    assert detectable_ratio([2.0, 2.0], [1.0, 1.0]) == 1.0
    assert detectable_ratio([2.0], [1.0, 1.1]) is None
    assert seeds_needed([2.0], [1.0, 1.1]) is None
    assert seeds_needed([2.0, 2.0], [1.0, 1.0]) == 3
    assert seeds_needed([2.0, 2.0], [2.0, 2.0]) is None


@pytest.mark.parametrize("ratio", [1.1, 1.3])
def test_the_seeds_needed_detect_the_observed_ratio_and_one_fewer_does_not(ratio: float) -> None:
    n = seeds_needed(with_spread(0.2, 6, ratio), with_spread(0.2, 6))
    assert n is not None
    enough, fewer = (detectable(0.2, count) for count in (n, n - 1))
    assert enough is not None and fewer is not None
    assert enough <= ratio < fewer
    assert seeds_needed(with_spread(0.2, 6), with_spread(0.2, 6, ratio)) == n, "dearer by as much takes as many"


def test_a_statement_among_nine_needs_the_seeds_of_its_own_level() -> None:
    strict, numerator, denominator = 1 - 0.05 / 9, with_spread(0.2, 6, 1.3), with_spread(0.2, 6)
    n, alone = seeds_needed(numerator, denominator, strict), seeds_needed(numerator, denominator)
    assert n is not None and alone is not None and n > alone
    enough, fewer = (detectable_ratio(with_spread(0.2, k), with_spread(0.2, k), strict) for k in (n, n - 1))
    assert enough is not None and fewer is not None and enough <= 1.3 < fewer


def test_a_hopeless_difference_and_a_strict_level_are_survived() -> None:
    assert seeds_needed(with_spread(0.3, 5, 1.001), with_spread(0.3, 5)) is None
    assert seeds_needed(with_spread(0.01, 5, 50.0), with_spread(0.01, 5), confidence=1 - 0.05 / 100) == 3


@pytest.mark.parametrize("n", [20, 60])
def test_with_equal_variances_the_power_of_a_difference_is_that_of_the_pooled_test(n: int) -> None:
    """A closed form: 2 n - 2 degrees of freedom and the non-centrality D sqrt(n / 2) / s. Welch's test has nearly so
    many when both spreads are estimated at about the same."""
    arm = list(np.log(with_spread(0.02, n)))
    shift = detectable_shift(arm, arm, 0.99)
    assert shift is not None
    needed, centre = stats.t.ppf(0.995, 2 * n - 2), shift * math.sqrt(n / 2) / 0.02
    assert stats.nct.sf(needed, 2 * n - 2, centre) == pytest.approx(0.80, abs=0.004)


def test_a_difference_has_the_unit_of_its_values_and_no_origin() -> None:
    first, second = list(np.log(with_spread(0.02, 5))), list(np.log(with_spread(0.03, 8, 1.04)))
    shift, seeds = detectable_shift(first, second), seeds_for_shift(first, second)
    ours, theirs = ([0.4 + 100 * value for value in arm] for arm in (first, second))
    assert shift is not None and detectable_shift(ours, theirs) == pytest.approx(100 * shift)
    assert seeds is not None and seeds_for_shift(ours, theirs) == seeds
    assert seeds_for_shift([0.5, 0.5], [0.6, 0.6]) == 3 and seeds_for_shift([0.5, 0.5], [0.5, 0.5]) is None
    assert detectable_shift([0.5], first) is None and seeds_for_shift(first, [0.5]) is None
    assert seeds_for_shift(first, first) is None, "no number of seeds tells an arm from itself"
