"""Corrections of the engine's mismatch in the learner: nothing to a match, the stated weights to a mismatch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.update_rules import OnePass, SlowFast
from sfpo_bench.settings.training import LearnerSettings, OptimizerKind
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner, StepReadings
from sfpo_bench.training.scoring import Scorer
from tests.training.policies import batch, on_cpu, policy
from tests.training.test_learner import largest_difference, same_bits


def sampled_by_the_trainer(shift: Tensor | None = None) -> TrainBatch:
    """A batch whose engine log-probs are the trainer's, plus `shift` on every token of a row."""
    data = batch(silent_groups=0)
    with torch.no_grad():
        scores = Scorer(policy(), 1.0).score(on_cpu(data))
    shifts_B1 = torch.zeros(len(data), 1) if shift is None else shift[:, None]
    return replace(data, engine_log_probs_BT=(scores.log_probs_BT + shifts_B1) * scores.mask_BT)


def step(
    data: TrainBatch, rule: OnePass | SlowFast | None = None, **settings: Any
) -> tuple[dict[str, Tensor], StepReadings]:
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(learning_rate=5e-3, **settings), 1.0)
    learner.begin_step(1, data)
    (rule or OnePass()).update(learner, data)
    readings = learner.end_step()
    return {name: weight.detach().clone() for name, weight in learner.masters.masters.items()}, readings


@pytest.mark.parametrize("correction", list(Correction))
@pytest.mark.parametrize("mini_batch_prompts", [0, 2])
def test_where_engine_and_trainer_agree_no_correction_changes_anything(
    correction: Correction, mini_batch_prompts: int
) -> None:
    data = sampled_by_the_trainer()
    plain, _ = step(data, SlowFast(), mini_batch_prompts=mini_batch_prompts)
    corrected, readings = step(data, SlowFast(), mini_batch_prompts=mini_batch_prompts, engine_correction=correction)
    assert largest_difference(plain, corrected) < 1e-12
    assert readings.mismatch.ratio_mean == pytest.approx(1.0) and readings.mismatch.ratio_max == pytest.approx(1.0)
    assert readings.mismatch.effective_sample_share == pytest.approx(1.0)


def test_the_raw_mismatch_is_recorded_with_and_without_a_correction() -> None:
    shift = torch.linspace(-0.5, 0.5, len(batch()))
    for correction in Correction:
        _, readings = step(sampled_by_the_trainer(shift), engine_correction=correction)
        assert readings.mismatch.ratio_max == pytest.approx(float(torch.tensor(0.5).exp()), rel=1e-6)
        assert readings.mismatch.effective_sample_share < 0.95


def test_a_rejected_response_might_as_well_have_no_advantage() -> None:
    """With every denominator counted per response, the others weigh B / accepted."""
    rejected = torch.zeros(len(batch()), dtype=torch.float64)
    rejected[[1, 6]] = -5.0
    data = sampled_by_the_trainer(rejected)
    count = len(data)
    scaled_B = data.advantages_BT * count / (count - 2)
    scaled_B[[1, 6]] = 0.0
    found, _ = step(data, engine_correction=Correction.reject)
    expected, _ = step(replace(data, advantages_BT=scaled_B))
    assert largest_difference(found, expected) < 1e-9


def test_a_cap_that_is_set_is_the_one_in_force_in_the_precision_of_the_policy() -> None:
    """Every ratio is 1.8: cut to 1.7 each token weighs as much as 1.7 times its advantage does."""
    data = sampled_by_the_trainer(torch.full((len(batch()),), -math.log(1.8), dtype=torch.float64))
    plain = LearnerSettings(learning_rate=0.5, optimizer=OptimizerKind.sgd, gradient_clip_norm=0.0)
    cut = replace(plain, engine_correction=Correction.truncate, engine_correction_cap=1.7)
    ends = []
    for given, settings in ((data, cut), (replace(data, advantages_BT=1.7 * data.advantages_BT), plain)):
        learner = LocalLearner(policy(), Clipped(), settings, 1.0)
        learner.begin_step(1, given)
        learner.optimize(given, "pass_1")
        ends.append({name: weight.detach().clone() for name, weight in learner.masters.masters.items()})
    assert largest_difference(*ends) < 1e-12


def test_a_masked_response_is_left_out_and_the_others_stay_as_they_were() -> None:
    masked = torch.zeros(len(batch()), dtype=torch.float64)
    masked[[0, 3]] = -5.0
    data = sampled_by_the_trainer(masked)
    silenced_B = data.advantages_BT.clone()
    silenced_B[[0, 3]] = 0.0
    found, _ = step(data, engine_correction=Correction.sequence_mask)
    expected, _ = step(replace(data, advantages_BT=silenced_B))
    assert largest_difference(found, expected) < 1e-9
    assert not same_bits(found, step(data)[0])
