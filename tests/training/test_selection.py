"""A response's weight is a factor on its share of the gradient; one of weight 0 is not run, and still counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner
from tests.training.policies import GROUP, batch, policy
from tests.training.test_learner import SGD, largest_difference, same_bits

WEIGHTS = torch.tensor([1.0, 0.0, 2.0, 1.0] * 4, dtype=torch.float64)


def learned(data: TrainBatch, **settings: Any) -> dict[str, Tensor]:
    made = LocalLearner(policy(), Clipped(), LearnerSettings(**SGD, **settings), 1.0, GROUP)
    made.begin_step(1, data)
    Repeat(passes=2).update(made, data)
    made.end_step()
    return {name: weight.detach().clone() for name, weight in made.masters.masters.items()}


@pytest.mark.parametrize("layout", [{}, {"mini_batches": 2}, {"micro_batch_tokens": 24}], ids=str)
def test_weights_of_responses_are_factors_on_their_advantages_and_no_denominator_changes(
    layout: dict[str, Any],
) -> None:
    data = batch(4, seed=2)
    weighted = learned(replace(data, row_weights_B=WEIGHTS), **layout)
    scaled = learned(replace(data, advantages_BT=data.advantages_BT * WEIGHTS[:, None]), **layout)
    assert largest_difference(weighted, scaled) < 1e-12
    assert largest_difference(weighted, learned(data, **layout)) > 1e-4


def test_weights_of_one_change_no_bit_and_a_batch_that_is_dropped_whole_moves_nothing() -> None:
    data = batch(4, seed=2)
    assert same_bits(learned(replace(data, row_weights_B=torch.ones_like(WEIGHTS))), learned(data))
    start: dict[str, Tensor] = dict(policy().named_parameters())
    assert same_bits(learned(replace(data, row_weights_B=torch.zeros_like(WEIGHTS))), start)
