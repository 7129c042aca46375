"""How early noisy curves cross: no noise, no bias; more responses, less of it; and what is said is near the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.simulated_curves import SimulatedArm, first_crossings, true_accuracies
from sfpo_bench.statistics.crossing_bias import crossing_bias

COSTS = np.arange(0, 30, dtype=np.float64).tolist()
RISING = np.linspace(0.05, 0.75, 30).tolist()


def test_curves_of_very_many_responses_cross_where_they_should() -> None:
    assert crossing_bias(COSTS, RISING, [10**8] * 30, 0.5) == pytest.approx(1.0, abs=1e-3)


def test_fewer_responses_cross_earlier() -> None:
    found = [crossing_bias(COSTS, RISING, [n] * 30, 0.5) for n in (32, 256, 2048)]
    assert all(one is not None for one in found)
    assert found == sorted(found, key=lambda one: one or 0.0) and (found[0] or 1) < 0.95


def test_a_point_of_one_response_weighs_little_in_the_fit() -> None:
    """It is drawn anew with the chance that the curve around it has: a right answer there crosses at once."""
    accuracies, responses = [*RISING[:5], 1.0, *RISING[6:]], [10**8] * 5 + [1] + [10**8] * 24
    found, chance = crossing_bias(COSTS, accuracies, responses, 0.5), RISING[6]
    early = math.log((4 + (0.5 - RISING[4]) / (1 - RISING[4])) / np.interp(0.5, RISING, COSTS))
    error = abs(early) * math.sqrt(chance * (1 - chance) / 100)
    assert found is not None and math.log(found) == pytest.approx(chance * early, abs=3 * error)


def test_a_bias_is_a_factor_whose_log_is_the_mean_of_logs() -> None:
    """A middle point of one response is 1 with chance 0.4 and crosses at 5.5, else 0 and at 835; the fit at 505."""
    found = crossing_bias((1.0, 10.0, 1000.0), (0.0, 0.4, 0.6), (10**8, 1, 10**8), 0.5)
    early, late = math.log(5.5 / 505), math.log(835 / 505)
    error = (late - early) * math.sqrt(0.4 * 0.6 / 100)
    assert found is not None and math.log(found) == pytest.approx(0.4 * early + 0.6 * late, abs=3 * error)


def test_nothing_is_said_of_curves_that_do_not_cross_or_of_unknown_sizes() -> None:
    assert crossing_bias(COSTS, RISING, [64] * 30, 0.9) is None
    assert crossing_bias(COSTS, RISING, [0] * 30, 0.5) is None
    assert crossing_bias([], [], [], 0.5) is None


def test_what_is_said_of_simulated_curves_is_near_their_bias() -> None:
    random, arm = np.random.default_rng(0), SimulatedArm()
    true = true_accuracies(arm, 2000, random)
    curves = random.binomial(64, true) / 64
    costs = arm.grid()
    logs = np.log(first_crossings(costs, curves, 0.5)) - np.log(first_crossings(costs, true, 0.5))
    bias = float(np.exp(logs[np.isfinite(logs)].mean()))
    said = [crossing_bias(costs.tolist(), row, [64] * len(costs), 0.5) for row in curves[:40].tolist()]
    assert bias < 0.9
    assert np.mean([one for one in said if one is not None]) == pytest.approx(bias, abs=0.08)
