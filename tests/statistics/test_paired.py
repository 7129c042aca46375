"""Paired differences: against closed forms, and the power against a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sfpo_bench.core.seeding import generator
from sfpo_bench.statistics.paired import paired_difference, paired_power, pairs_needed


def test_interval_and_p_value_are_those_of_the_one_sample_t_test() -> None:
    values = [0.01, -0.02, 0.03, 0.015, 0.002]
    found, known = paired_difference(values), stats.ttest_1samp(values, 0.0)
    assert found.p_value == pytest.approx(float(known.pvalue))
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((float(interval.low), float(interval.high)))
    assert found.point == pytest.approx(np.mean(values)) and found.spread == pytest.approx(np.std(values, ddof=1))


@pytest.mark.parametrize(("values", "p"), [([0.0, 0.0], 1.0), ([0.25, 0.25, 0.25], 0.0), ([0.5], None)])
def test_differences_that_are_all_alike_have_no_spread(values: list[float], p: float | None) -> None:
    found = paired_difference(values)
    assert found.p_value == p and found.point == values[0]
    assert (found.low, found.high) == ((None, None) if p is None else (values[0], values[0]))


@pytest.mark.parametrize(("spread", "difference", "pairs"), [(1.0, 1.0, 6), (0.0099, 0.015, 6), (2.0, 1.0, 20)])
def test_the_power_is_the_share_of_experiments_that_find_it(spread: float, difference: float, pairs: int) -> None:
    draws = generator(0, "paired", pairs).normal(difference, spread, size=(20_000, pairs))
    t = draws.mean(axis=1) * math.sqrt(pairs) / draws.std(axis=1, ddof=1)
    found = float((t > stats.t.ppf(0.975, pairs - 1)).mean())
    power = paired_power(spread, difference, pairs)
    assert power == pytest.approx(found, abs=4 * math.sqrt(power * (1 - power) / 20_000) + 1e-3)


@pytest.mark.parametrize("pairs", [2, 3, 6, 20])
def test_the_power_is_the_tail_of_the_noncentral_t_with_a_degree_less_than_pairs(pairs: int) -> None:
    shift, limit = 0.8 * math.sqrt(pairs) / 1.3, stats.t.ppf(0.975, pairs - 1)
    assert paired_power(1.3, 0.8, pairs) == pytest.approx(float(stats.nct.sf(limit, pairs - 1, shift)), rel=1e-6)


def test_the_pairs_needed_are_the_fewest_that_do() -> None:
    for spread in (0.004, 0.0099, 0.0187):
        n = pairs_needed(spread, 0.015)
        assert n is not None and paired_power(spread, 0.015, n) >= 0.8
        assert n == 2 or paired_power(spread, 0.015, n - 1) < 0.8
    assert pairs_needed(1.0, 0.001) is None and pairs_needed(0.0, 0.015) == 2
