"""What an objective asks of the whole mini-batch does not depend on how the mini-batch is split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.position_standardized import PositionStandardized
from sfpo_bench.algorithms.penalties.llds import Divisor, Llds
from sfpo_bench.algorithms.protocols import Loss, LossInputs
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from tests.training.adaptive_bound import AdaptiveBound
from tests.training.policies import GROUP, VOCABULARY, batch, policy
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
    learner = LocalLearner(policy(), OwnRows(), LearnerSettings(mini_batches=2, micro_batch_tokens=24), 1.0, GROUP)
    seen = replace(data, scores={"critic": scores_BT}, row_weights_B=weights_B)
    learner.begin_step(1, seen)
    assert learner.optimize(seen, "pass_1").optimizer_steps == 2
