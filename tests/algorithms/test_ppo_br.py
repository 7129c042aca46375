"""PPO-BR's clip range: PPO without it, its two ends, a slow loop, and what it remembers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.ppo_br import PpoBr, relative_change
from tests.algorithms.test_objectives import LIMIT, inputs

VOCABULARY = 23
MOST = math.log(VOCABULARY)


def told(rewards: list[float], entropy: float = MOST, **settings: float) -> PpoBr:
    """An objective that was told of these steps."""
    made = PpoBr(**settings)  # type: ignore[arg-type]  # whole numbers where the setting is one
    for step, reward in enumerate(rewards, start=1):
        made.observe(step, entropy, reward)
    return made


def test_without_both_coefficients_it_is_ppo_bit_for_bit_whatever_it_was_told() -> None:
    batch, made = replace(inputs(1), vocabulary=VOCABULARY), told([0.1, 0.7] * 5, expansion=0.0, contraction=0.0)
    ours, theirs = made.loss(batch), Clipped().loss(batch)
    assert torch.equal(ours.value, theirs.value) and torch.equal(ours.clipped_tokens, theirs.clipped_tokens)


def test_before_it_was_told_of_a_step_it_is_ppo_bit_for_bit() -> None:
    batch = replace(inputs(1), vocabulary=VOCABULARY)
    assert torch.equal(PpoBr().loss(batch).value, Clipped().loss(batch).value)


def test_the_ends_of_the_range_are_those_of_the_published_coefficients() -> None:
    rising = [0.0] * 5 + [0.5] * 5  # from nothing: an infinite change, psi = 0
    still = [0.5] * 10  # psi = 1
    assert 0.2 * told(rising).factor(VOCABULARY) == pytest.approx(0.2762, abs=5e-5)
    assert 0.2 * told(still, entropy=0.0).factor(VOCABULARY) == pytest.approx(0.1543, abs=5e-5)
    for entropy in (0.0, 0.4, MOST, 2 * MOST):
        for rewards in (rising, still, [0.1 * n for n in range(10)], [0.3]):
            assert 0.1542 < 0.2 * told(rewards, entropy).factor(VOCABULARY) < 0.2763


def test_the_factor_is_the_formula() -> None:
    rewards, entropy = [0.3, 0.1, 0.2, 0.5, 0.4, 0.6, 0.2, 0.9, 0.7, 0.8], 1.3
    change = (sum(rewards[5:]) / 5 - sum(rewards[:5]) / 5) / (sum(rewards[:5]) / 5)
    expected = 1 + 0.5 * math.tanh(entropy / MOST) - 0.3 * math.tanh(1 - math.tanh(change))
    assert told(rewards, entropy).factor(VOCABULARY) == pytest.approx(expected, abs=1e-14)
    assert told([9.0, *rewards], entropy).factor(VOCABULARY) == pytest.approx(expected, abs=1e-14), "the last ten"
    falling = told([-0.2] * 5 + [-0.5] * 5, entropy)
    assert falling.factor(VOCABULARY) == pytest.approx(
        1 + 0.5 * math.tanh(entropy / MOST) - 0.3 * math.tanh(1 - math.tanh(1.5)), abs=1e-14
    )


def test_until_the_window_is_full_nothing_narrows_and_an_odd_window_keeps_its_middle_in_the_later_half() -> None:
    assert told([0.5] * 9).factor(VOCABULARY) == pytest.approx(1 + 0.5 * math.tanh(1), abs=1e-14)
    assert relative_change([1.0, 2.0, 3.0]) == pytest.approx(1.5) and relative_change([0.0, 0.0]) == 0.0
    assert relative_change([0.0, -1.0]) == -math.inf and relative_change([-2.0, -1.0]) == pytest.approx(0.5)


def test_the_loss_is_a_slow_loop_with_the_widened_bounds() -> None:
    made, batch = told([0.1, 0.4] * 5, 0.9, clip_high=0.28), replace(inputs(2), vocabulary=VOCABULARY)
    factor, total, clipped = made.factor(VOCABULARY), 0.0, 0
    for row, mask in enumerate(batch.mask_BT):
        length, advantage = int(mask.sum()), float(batch.advantages_BT[row])
        for t in range(length):
            ratio = math.exp(float(batch.log_probs_BT[row, t].detach() - batch.old_log_probs_BT[row, t]))
            bounded = min(max(ratio, 1 - 0.2 * factor), 1 + 0.28 * factor)
            total -= min(ratio * advantage, bounded * advantage) / length / batch.counts.responses
            clipped += bounded * advantage < ratio * advantage
    found = made.loss(batch)
    assert found.value.item() == pytest.approx(total, abs=1e-12) and int(found.clipped_tokens) == clipped > 0


def test_the_gradient_is_the_finite_difference() -> None:
    made, batch = told([0.1, 0.4] * 5, 0.9), replace(inputs(1), vocabulary=VOCABULARY)
    made.loss(batch).value.backward()
    assert batch.log_probs_BT.grad is not None
    for row in range(len(batch.mask_BT)):
        for t in range(LIMIT):
            values = []
            for shift in (1e-6, -1e-6):
                moved = batch.log_probs_BT.detach().clone()
                moved[row, t] += shift
                values.append(float(made.loss(replace(batch, log_probs_BT=moved)).value))
            assert float(batch.log_probs_BT.grad[row, t]) == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-8)


def test_what_it_was_told_comes_back_from_its_state() -> None:
    made, again = told([0.1, 0.4, 0.3] * 4, 0.7), PpoBr()
    again.restore(made.state())
    for one in (made, again):
        one.observe(13, 0.6, 0.9)
    assert again.state() == made.state() and again.factor(VOCABULARY) == made.factor(VOCABULARY)
    assert again.factor(VOCABULARY) != told([0.9], 0.6).factor(VOCABULARY), "earlier rewards count"
