"""Comparing an engine with the trainer, and the halved weights that make every missed push show."""

from __future__ import annotations

import math

import pytest
import torch

from sfpo_bench.core.errors import EngineMismatch
from sfpo_bench.core.types import Completion, FinishReason
from sfpo_bench.rollout.parity import Halved, compare
from tests.training.policies import policy


def completion(*log_probs: float) -> Completion:
    return Completion("a", 0, (1,), (2,) * len(log_probs), log_probs, "", FinishReason.stopped)


def test_the_largest_and_the_mean_difference_over_all_tokens() -> None:
    parity = compare([completion(-1.0, -2.0), completion(-3.0)], lambda _: [[-1.1, -2.0], [-2.7]], bound=0.2)
    assert parity.largest == pytest.approx(0.3) and parity.mean == pytest.approx(0.4 / 3) and parity.tokens == 3
    with pytest.raises(EngineMismatch, match=r"after push 7: .* up to 0\.3 nats .* at most 0\.2 is accepted"):
        parity.require("after push 7")


def test_a_difference_that_is_no_number_is_beyond_every_bound() -> None:
    with pytest.raises(EngineMismatch, match="up to nan nats"):
        compare([completion(-1.0, math.nan, -2.0)], lambda _: [[-1.0, -1.0, -2.0]], bound=9.0).require("now")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_halved_weights_are_another_policy_and_come_back_bit_for_bit_whatever_happens(dtype: torch.dtype) -> None:
    model = policy(dtype=dtype)
    weights = dict(model.named_parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    with pytest.raises(KeyError), Halved(list(weights.values())):
        for name, weight in weights.items():
            assert torch.equal(weight, before[name] / 2 if weight.ndim >= 2 else before[name])
        raise KeyError
    assert all(torch.equal(weight, before[name]) for name, weight in weights.items())
