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
from tests.training.policies import batch, policy
from tests.training.test_learner import SGD, largest_difference, same_bits

WEIGHTS = torch.tensor([1.0, 0.0, 2.0, 1.0] * 4, dtype=torch.float64)


def learner_after(data: TrainBatch, objective: Objective, **settings: Any) -> tuple[LocalLearner, StepReadings]:
    made = LocalLearner(policy(), objective, LearnerSettings(**SGD, **settings), 1.0)
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


def test_weights_of_tokens_are_factors_on_their_advantages_and_a_row_without_any_is_not_run() -> None:
    data = batch(4, seed=2)
    source = torch.Generator().manual_seed(1)
    weights_BT = torch.rand(data.responses_BT.shape, generator=source, dtype=torch.float64).round()
    weights_BT[[3, 9]] = 0.0
    weighted = data.weighted(weights_BT)
    assert weighted.row_weights_B is not None and not weighted.row_weights_B[[3, 9]].any()
    scaled = replace(data, advantages_BT=data.advantages_BT * weights_BT)
    layouts: tuple[dict[str, Any], ...] = ({}, {"mini_batches": 2}, {"micro_batch_tokens": 24})
    for layout in layouts:
        found = learned(weighted, **layout)
        assert largest_difference(found, learned(scaled, **layout)) < 1e-12
    assert largest_difference(found, learned(data, micro_batch_tokens=24)) > 1e-4


def test_weights_of_tokens_multiply_those_of_a_correction() -> None:
    """Engine log-probs of zero: every ratio is far below the cap, and no weight of the correction is one."""
    data = batch(4, seed=2)
    weights_BT = 1.0 + torch.arange(data.responses_BT.shape[1]).double().expand(data.responses_BT.shape) % 3
    corrected: dict[str, Any] = {"engine_correction": Correction.truncate}
    found = learned(data.weighted(weights_BT), **corrected)
    scaled = replace(data, advantages_BT=data.advantages_BT * weights_BT)
    assert largest_difference(found, learned(scaled, **corrected)) < 1e-12
    assert largest_difference(found, learned(data.weighted(weights_BT))) > 1e-6


def test_a_token_without_weight_is_no_reason_to_run_a_row_backward() -> None:
    """Its advantage may be anything."""
    data = batch(4, seed=2)
    silent_BT = data.advantages_BT.expand(data.responses_BT.shape).clone()
    silent_BT[:8] = 0.0
    loud_BT = silent_BT.clone()
    loud_BT[:8, :2] = 5.0
    weights_BT = torch.ones_like(silent_BT)
    weights_BT[:8, :2] = 0.0
    one, other = (replace(data, advantages_BT=values).weighted(weights_BT) for values in (silent_BT, loud_BT))
    made = LocalLearner(policy(), Clipped(), LearnerSettings(**SGD), 1.0)
    backward = [[(len(micro.host), needs) for micro, needs, _ in made._work(data)] for data in (one, other)]
    assert backward[0] == backward[1] and {needs for _, needs in backward[0]} == {True, False}
    assert largest_difference(learned(one), learned(other)) < 1e-12
