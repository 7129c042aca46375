"""GXPO's extrapolation element by element, and the triggers that watch the corrective gradient."""

from __future__ import annotations

import math
from statistics import fmean, pstdev

import pytest
import torch

from sfpo_bench.algorithms.gradient_triggers import GradientNormAverage, GradientNormWindow
from sfpo_bench.algorithms.gxpo import Gxpo, extrapolation
from sfpo_bench.algorithms.protocols import Moments, RuleNeeds
from sfpo_bench.core.errors import ConfigError


def written_out(first: float, second: float, floor: float, passes: int) -> float:
    if abs(first) <= floor:
        return 1.0
    x = min(max(second / first, -2.0), 3.0)
    if abs(1 + x) <= 1e-8:
        return 1.0
    return min(max(sum(x**n for n in range(passes)) / (1 + x), 1.0), passes / 2 + 1)


@pytest.mark.parametrize("passes", [2, 3, 5, 10])
def test_it_is_the_sum_of_powers_written_out_within_its_bounds(passes: int) -> None:
    first = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ratios = torch.linspace(-4, 4, 2000, dtype=torch.float64)
    ratios[7] = -1.0
    found = extrapolation(first, first * ratios, 0.1, passes)
    expected = [written_out(a, b, 0.1, passes) for a, b in zip(first.tolist(), (first * ratios).tolist(), strict=True)]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    if passes > 2:
        assert {1.0, passes / 2 + 1} < set(expected), "both bounds and what lies between are met"


def test_k_of_two_keeps_what_two_passes_did_exactly() -> None:
    source = torch.Generator().manual_seed(1)
    first, second = (torch.randn(5000, generator=source) for _ in range(2))
    assert torch.equal(extrapolation(first, second, 0.0, 2), torch.ones(5000))


def test_gradients_that_are_zero_or_beyond_every_bound_give_a_finite_part() -> None:
    first = torch.tensor([0.0, 0.0, 1e-30, -1e-30, 1.0])
    second = torch.tensor([0.0, 1.0, 1e30, 1e30, -1.0])
    found = extrapolation(first, second, 0.0, 200)
    assert found[0] == found[1] == found[4] == 1.0 and bool(found.isfinite().all()) and float(found[2]) == 101.0


def test_what_it_takes_and_what_it_refuses() -> None:
    assert Gxpo().needs == RuleNeeds(passes=3, copies=3)
    assert Gxpo(fast_passes=10, moments=Moments.restore).needs == RuleNeeds(passes=3, copies=3, state_copies=1)
    with pytest.raises(ConfigError, match="moments = interpolate"):
        Gxpo(moments=Moments.interpolate).check("algorithm.update_rule")


NORMS = [1.2, 1.1, 0.9, 1.3, 0.7, 1.0, 1.1, 4.0, 1.0]


def test_the_average_is_its_recursion_and_fires_once() -> None:
    trigger, mean, std = GradientNormAverage(threshold=2.5), 1.0, 1.0
    for step, norm in enumerate(NORMS, start=1):
        z = (norm - mean) / (std + 1e-8)
        std = max(0.01, math.sqrt(0.9 * std**2 + 0.1 * (norm - mean) ** 2))
        mean = 0.9 * mean + 0.1 * norm
        assert trigger.observe(step, norm) == (step == 8)
        assert trigger.metrics()["trigger_z"] == pytest.approx(z, rel=1e-12)
    assert trigger.fired


def test_the_average_begins_at_one_unless_its_first_steps_are_left_out() -> None:
    assert GradientNormAverage().observe(1, 1.6), "0.6 of its first std above its first mean"
    assert GradientNormAverage().observe(1, 0.4) and not GradientNormAverage(two_sided=False).observe(1, 0.4)
    later = GradientNormAverage(first_steps=2)
    assert [later.observe(step, 30.0) for step in (1, 2)] == [False, False]


def test_the_window_holds_the_norms_before_and_fires_at_a_rise_alone() -> None:
    trigger, fired = GradientNormWindow(window=4, threshold=3.0), []
    for step, norm in enumerate(NORMS, start=1):
        before = NORMS[max(0, step - 5) : step - 1]
        fired.append(trigger.observe(step, norm))
        if len(before) < 4:
            assert trigger.metrics() == {}
        else:
            z = (norm - fmean(before)) / (pstdev(before) + 1e-9)
            assert trigger.metrics()["trigger_z"] == pytest.approx(z, rel=1e-9)
    assert [step for step, now in enumerate(fired, start=1) if now] == [8]


@pytest.mark.parametrize("make", [GradientNormAverage, lambda: GradientNormWindow(window=3)])
@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_trigger_that_is_taken_up_goes_on_as_if_nothing_had_been(make: type[GradientNormAverage], cut: int) -> None:
    whole, first, second = make(), make(), make()
    expected = [whole.observe(step, norm) for step, norm in enumerate(NORMS, start=1)]
    found = [first.observe(step, norm) for step, norm in enumerate(NORMS[:cut], start=1)]
    second.restore(first.state())
    found += [second.observe(step, norm) for step, norm in enumerate(NORMS[cut:], start=cut + 1)]
    assert found == expected and second.state() == whole.state()
