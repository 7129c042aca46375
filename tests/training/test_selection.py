"""A response's weight is a factor on its share of the gradient; one of weight 0 is not run, and still counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.protocols import Objective
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner, StepReadings
from tests.training.adaptive_bound import AdaptiveBound
from tests.training.policies import GROUP, batch, policy
from tests.training.test_learner import SGD, largest_difference, same_bits

WEIGHTS = torch.tensor([1.0, 0.0, 2.0, 1.0] * 4, dtype=torch.float64)


def learner_after(data: TrainBatch, objective: Objective, **settings: Any) -> tuple[LocalLearner, StepReadings]:
    made = LocalLearner(policy(), objective, LearnerSettings(**SGD, **settings), 1.0, GROUP)
    made.begin_step(1, data)
    Repeat(passes=2).update(made, data)
    return made, made.end_step()


def learned(data: TrainBatch, objective: Objective | None = None, **settings: Any) -> dict[str, Tensor]:
    made, _ = learner_after(data, objective or Clipped(), **settings)
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


def test_weights_of_one_change_no_bit_and_a_batch_that_is_dropped_whole_moves_nothing_and_is_measured() -> None:
    data = batch(4, seed=2)
    assert same_bits(learned(replace(data, row_weights_B=torch.ones_like(WEIGHTS))), learned(data))
    start: dict[str, Tensor] = dict(policy().named_parameters())
    dropped = replace(data, row_weights_B=torch.zeros_like(WEIGHTS))
    assert same_bits(learned(dropped), start)
    entropy = learner_after(dropped, Clipped())[1].entropy  # a trigger remembers it
    assert math.isfinite(entropy) and entropy == learner_after(data, Clipped())[1].entropy


def test_dropped_rows_are_in_no_statistic_of_the_mini_batch() -> None:
    """Their log-probs are not known; taken for zeros they would move the bound of the others."""
    data = replace(batch(4, seed=2), row_weights_B=WEIGHTS)
    kept = torch.nonzero(WEIGHTS)[:, 0]
    alone = data.select(kept)
    alone = replace(alone, rows_B=torch.arange(len(kept)), row_weights_B=WEIGHTS[kept] * len(kept) / len(WEIGHTS))
    assert largest_difference(learned(data, AdaptiveBound()), learned(alone, AdaptiveBound())) < 1e-12


def test_a_correction_that_rejects_weighs_those_that_are_kept_by_their_own_number() -> None:
    data = batch(4, seed=2)  # engine log-probs of zero: every ratio is far off, and none is under a huge cap
    cap: dict[str, Any] = {"engine_correction": Correction.reject, "engine_correction_cap": 1e30}
    weighted = replace(data, row_weights_B=WEIGHTS)
    assert largest_difference(learned(weighted, **cap), learned(weighted)) < 1e-12
