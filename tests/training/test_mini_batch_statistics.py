"""What an objective asks of the whole mini-batch does not depend on how the mini-batch is split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.masks.binary_kl import BinaryKL
from sfpo_bench.algorithms.masks.cppo import PrefixBudget
from sfpo_bench.algorithms.masks.opsm import OffPolicySequence
from sfpo_bench.algorithms.masks.second_moment import SecondMoment
from sfpo_bench.algorithms.masks.trm import TrustRegion
from sfpo_bench.algorithms.masks.tv import TotalVariation
from sfpo_bench.algorithms.objectives.bapo import Bapo
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.m2po import M2po
from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.objectives.position_standardized import PositionStandardized
from sfpo_bench.algorithms.penalties.llds import Divisor, Llds
from sfpo_bench.algorithms.protocols import Loss, LossInputs
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from tests.training.adaptive_bound import AdaptiveBound
from tests.training.policies import VOCABULARY, batch, policy
from tests.training.test_learner import SGD, largest_difference, learn


@pytest.mark.parametrize("mini_batches", [1, 2])
def test_a_bound_over_the_mini_batch_ignores_micro_batches_where_one_over_the_rows_at_hand_does_not(
    mini_batches: int,
) -> None:
    assert gap(AdaptiveBound(), mini_batches) < 1e-10
    assert gap(AdaptiveBound(whole=False), mini_batches) > 1e-6


@pytest.mark.parametrize(
    "objective",
    [Clipped(ratio=PositionStandardized()), *(Clipped(penalty=Llds(divisor=divisor)) for divisor in Divisor)],
    ids=str,
)
def test_a_ratio_and_a_penalty_that_know_the_mini_batch_ignore_micro_batches(objective: Clipped) -> None:
    assert gap(objective, mini_batches=2, learning_rate=0.1) < 1e-10


def gap(objective: Clipped, mini_batches: int, **settings: float) -> float:
    """How far weights are apart after the same steps in large and in small micro-batches."""
    layout: dict[str, Any] = {**SGD, "mini_batches": mini_batches, **settings}
    large, small = (
        learn(Repeat(passes=3), objective=objective, steps=2, **layout, micro_batch_tokens=tokens)[0]
        for tokens in (16384, 24)
    )
    return largest_difference(large, small)


TIGHT: list[PolicyGradient] = [
    Cispo(mask=TotalVariation(delta=1e-3)),
    Cispo(mask=BinaryKL(delta=1e-5)),
    Cispo(mask=PrefixBudget(delta=2e-3, token_budget=1e-3)),
    Clipped(mask=OffPolicySequence(threshold=1e-3)),
    Clipped(mask=TrustRegion(threshold=1e-4)),
    Cispo(mask=SecondMoment(budget=1e-4)),
    M2po(budget=1e-5, lowest=1.0, highest=1.0),
    Bapo(target=0.9, low_start=0.99, low_top=0.995, high_start=1.001, high_top=1.01, high_step=0.001, low_step=0.001),
]


@pytest.mark.parametrize("objective", TIGHT, ids=lambda one: f"{one.kind}-{one.mask.kind}")
def test_masks_and_bounds_do_not_depend_on_micro_batches(objective: PolicyGradient) -> None:
    (large, stages), (small, again) = (
        learn(Repeat(passes=3), objective=objective, steps=1, **SGD, mini_batches=2, micro_batch_tokens=tokens)
        for tokens in (16384, 24)
    )
    assert largest_difference(large, small) < 1e-10
    cut, other = ([stage.clip_fraction for step in run for stage in step] for run in (stages, again))
    assert cut == other and any(0 < part < 1 for part in cut), "the bound is at work"


@dataclass
class OwnRows(Clipped):
    """Raises where a table made of the mini-batch gives a micro-batch's rows anything but their own."""

    @property
    def uses_statistics(self) -> bool:
        return True

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        assert mini_batch.groups_B is not None and mini_batch.vocabulary == VOCABULARY
        rows_B, scores_BT = mini_batch.mask_BT.sum(dim=1), mini_batch.scores["critic"]
        return {"lengths": mini_batch.by_row(rows_B), "scores": mini_batch.by_row(scores_BT)}

    def loss(self, inputs: LossInputs) -> Loss:
        assert torch.equal(inputs.of_rows(inputs.statistics["lengths"]), inputs.mask_BT.sum(dim=1))
        assert torch.equal(inputs.of_rows(inputs.statistics["scores"]), inputs.scores["critic"])
        return super().loss(inputs)


def test_rows_of_a_micro_batch_find_their_own_part_of_a_table_of_the_mini_batch() -> None:
    data = batch()
    scores_BT = torch.randn(data.responses_BT.shape, dtype=torch.float64).masked_fill(~data.response_mask_BT(), 0.0)
    weights_B = (data.rows_B % 5 != 1).double()  # a selection drops some rows, which no statistic then knows
    learner = LocalLearner(policy(), OwnRows(), LearnerSettings(mini_batches=2, micro_batch_tokens=24), 1.0)
    seen = replace(data, scores={"critic": scores_BT}, row_weights_B=weights_B)
    learner.begin_step(1, seen)
    assert learner.optimize(seen, "pass_1").optimizer_steps == 2
