"""Triggers: attainable z-scores, latching, non-anticipation, and when stationary entropy fires them."""

import math

import numpy as np
import pytest

from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep, Trigger, z_score
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.seeding import generator


def first_firing(trigger: Trigger, entropies: list[float]) -> int | None:
    fired = [step for step, entropy in enumerate(entropies, start=1) if trigger.observe(step, entropy)]
    assert len(fired) <= 1, "a trigger fires once"
    return fired[0] if fired else None


@pytest.mark.parametrize("window", [2, 5, 10, 30])
def test_the_largest_attainable_z_score_is_the_root_of_window_minus_one(window: int) -> None:
    spike = [0.0] * (window - 1) + [1.0]
    assert z_score(spike, eps=0.0) == pytest.approx(math.sqrt(window - 1), rel=1e-12)


@pytest.mark.parametrize("window", [5, 10, 30])
def test_a_straight_line_has_z_score_root_of_three_times_w_minus_one_over_w_plus_one(window: int) -> None:
    line = [float(step) for step in range(window)]
    assert z_score(line, eps=0.0) == pytest.approx(math.sqrt(3 * (window - 1) / (window + 1)), rel=1e-12)


def test_it_never_fires_before_its_window_is_full() -> None:
    assert first_firing(EntropyZScore(window=10, threshold=0.1), [float(s) for s in range(9)]) is None
    assert first_firing(EntropyZScore(window=10, threshold=0.1), [float(s) for s in range(10)]) == 10


def test_a_steady_fall_fires_the_two_sided_trigger_and_not_the_one_sided() -> None:
    fall = [1.0 - 0.01 * step for step in range(60)]
    assert first_firing(EntropyZScore(window=30), fall) is None
    assert first_firing(EntropyZScore(window=30, two_sided=True), fall) == 30


@pytest.mark.parametrize(("two_sided", "expected"), [(True, 31), (False, 34)])
def test_stationary_entropy_fires_soon_after_the_window_is_full(two_sided: bool, expected: int) -> None:
    firing = []
    for seed in range(600):
        entropies = generator(seed, "entropy").normal(size=200).tolist()
        firing.append(first_firing(EntropyZScore(window=30, threshold=1.0, two_sided=two_sided), entropies))
    assert all(step is not None for step in firing)
    assert abs(float(np.median(np.array(firing, dtype=float))) - expected) <= 1


def test_constant_entropy_is_no_signal() -> None:
    assert first_firing(EntropyZScore(window=5, threshold=0.5, two_sided=True), [0.3] * 20) is None


def test_it_does_not_look_ahead() -> None:
    """The decision at a step is a function of the entropies up to it."""
    entropies = generator(0, "entropy").normal(size=100).tolist()
    step = first_firing(EntropyZScore(window=10, threshold=1.5), entropies)
    assert step is not None
    changed = [*entropies[:step], *([99.0] * 20)]
    assert first_firing(EntropyZScore(window=10, threshold=1.5), changed) == step


@pytest.mark.parametrize("cut", [0, 3, 9, 15])
def test_a_restored_trigger_goes_on_as_if_nothing_had_happened(cut: int) -> None:
    entropies = generator(1, "entropy").normal(size=60).tolist()
    whole = EntropyZScore(window=8, threshold=1.2)
    expected = first_firing(whole, entropies)
    before = EntropyZScore(window=8, threshold=1.2)
    fired = first_firing(before, entropies[:cut])
    after = EntropyZScore(window=8, threshold=1.2)
    after.restore(before.state())
    for step, entropy in enumerate(entropies[cut:], start=cut + 1):
        if after.observe(step, entropy):
            fired = step
    assert fired == expected
    assert after.state() == whole.state()


def test_an_unreachable_threshold_is_refused_with_the_window_it_would_need() -> None:
    EntropyZScore(window=10, threshold=3.0).check("trigger")
    with pytest.raises(ConfigError, match=r"trigger\.threshold = 3\.01 .* trigger\.window to at least 11"):
        EntropyZScore(window=10, threshold=3.01).check("trigger")


def test_a_fixed_step_is_the_last_step_with_a_fast_stage() -> None:
    trigger = FixedStep(last_step=3)
    assert [(trigger.fired, trigger.observe(step, 0.0)) for step in range(1, 6)] == [
        (False, False), (False, False), (False, True), (True, False), (True, False),
    ]  # fmt: skip
    assert FixedStep(last_step=0).fired
