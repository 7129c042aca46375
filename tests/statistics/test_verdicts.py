"""Truths about verdicts: the rule for every kind of statement, and Holm against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from sfpo_bench.statistics import FEWEST_SEEDS, Claim, Statement, Verdict, holm_adjusted, largest_factor, verdict


def interval(low: float, high: float) -> Statement:
    return Statement(Claim.estimate, (low * high) ** 0.5, low, high)


@pytest.mark.parametrize(
    ("said", "adjusted_p", "expected"),
    [
        (interval(1.2, 1.9), 0.01, Verdict.cheaper),
        (interval(0.5, 0.9), 0.01, Verdict.dearer),
        (interval(1.2, 1.9), 0.20, Verdict.unclear),  # excludes 1 alone, not in its family
        (interval(0.8, 1.6), 1.00, Verdict.unclear),
        (interval(0.9, 1.1), 1.00, Verdict.alike),
        (interval(0.7, 1.1), 1.00, Verdict.unclear),  # 1 / 0.7 is more than 1.25
        (interval(1.01, 1.1), 0.20, Verdict.alike),
        (interval(1.01, 1.1), 0.01, Verdict.cheaper),  # small and proven
        (Statement(Claim.at_least, 1.6, low=1.3), 0.01, Verdict.cheaper),
        (Statement(Claim.at_least, 1.6, low=0.8), 1.00, Verdict.unclear),
        (Statement(Claim.at_most, 0.6, high=0.8), 0.01, Verdict.dearer),
        (Statement(Claim.at_most, 0.6, high=0.8), 0.10, Verdict.unclear),
        (Statement(Claim.estimate, 1.6), 1.00, Verdict.unknown),  # one seed
        (Statement(Claim.none), 1.00, Verdict.unknown),
    ],
)
def test_a_verdict_follows_from_the_interval_and_the_family(
    said: Statement, adjusted_p: float, expected: Verdict
) -> None:
    assert verdict(said, adjusted_p, seeds=3) is expected


@pytest.mark.parametrize("said", [interval(1.2, 1.9), interval(0.9, 1.1), Statement(Claim.at_least, 1.6, low=1.3)])
def test_two_seeds_of_an_arm_give_no_verdict(said: Statement) -> None:
    assert FEWEST_SEEDS == 3  # where the calibration of docs/protocol.md begins
    assert verdict(said, 0.001, seeds=FEWEST_SEEDS - 1) is Verdict.unclear
    assert verdict(said, 0.001, seeds=FEWEST_SEEDS) is not Verdict.unclear


def test_the_largest_factor_looks_both_ways() -> None:
    assert largest_factor(0.5, 1.2) == 2.0
    assert largest_factor(0.9, 1.2) == 1.2


def test_holm_multiplies_the_smallest_by_the_number_of_tests() -> None:
    # 0.01 * 4, 0.02 * 3, then 0.03 * 2, which must not fall behind the one before, then 0.9.
    assert holm_adjusted([0.03, 0.01, 0.9, 0.02]) == pytest.approx((0.06, 0.04, 0.9, 0.06))
    assert holm_adjusted([0.6, 0.7]) == (1.0, 1.0)
    assert holm_adjusted([]) == ()
    assert holm_adjusted([0.04]) == (0.04,)


def test_holm_keeps_the_level_of_the_whole_family() -> None:
    # 2000 families of 9 true hypotheses that hang together, as one baseline makes them: errors in at most 5 %.
    random = np.random.default_rng(0)
    shared, own = random.standard_normal((2000, 1)), random.standard_normal((2000, 9))
    z = np.abs((shared + own) / np.sqrt(2))
    p_values = np.vectorize(two_sided)(z)
    called = [min(holm_adjusted(row)) <= 0.05 for row in p_values.tolist()]
    assert np.mean(called) <= 0.06  # 0.05 and two standard errors
    assert np.mean((p_values <= 0.05).any(axis=1)) > 0.15  # without it


def two_sided(z: float) -> float:
    from math import erfc, sqrt

    return erfc(z / sqrt(2))
