"""Responses of earlier steps bring their advantages and old log-probs: what is made of them, and of nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector
from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Trajectory
from sfpo_bench.settings.own_classes import CHECKS
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.rollouts import GradedRollouts
from sfpo_bench.training.scoring import Scorer
from tests.training.policies import batch, on_cpu, policy
from tests.training.rollout_sources import problems
from tests.training.test_learner import SGD, largest_difference

BROUGHT = (2, 5, 6, 11)  # rows of earlier steps


def present(data: TrainBatch) -> Tensor:
    with torch.no_grad():
        return Scorer(policy(), 1.0).score(on_cpu(data)).log_probs_BT


def brought(data: TrainBatch, away: float, seed: int = 0) -> TrainBatch:
    """`BROUGHT` rows were sampled by a policy whose log-probs are up to `away` off the present ones."""
    source = torch.Generator().manual_seed(seed)
    old_BT = present(data) + away * (2 * torch.rand(data.responses_BT.shape, generator=source).double() - 1)
    rows_B = torch.zeros(len(data), dtype=torch.bool)
    rows_B[list(BROUGHT)] = True
    return replace(data, old_log_probs_BT=old_BT.masked_fill(~(rows_B[:, None] & data.response_mask_BT()), math.nan))


def learned(data: TrainBatch, **settings: Any) -> tuple[dict[str, Tensor], float]:
    """The weights after two passes, and the loss of the first."""
    made = LocalLearner(policy(), Clipped(), LearnerSettings(**{**SGD, **settings}), 1.0)
    made.begin_step(1, data)
    first, _ = Repeat(passes=2).update(made, data)
    made.end_step()
    return {name: weight.detach().clone() for name, weight in made.masters.masters.items()}, first.loss


def test_their_ratio_is_to_what_they_bring_and_that_of_the_others_is_one() -> None:
    data = brought(batch(4, seed=2), away=0.6)
    now_BT, expected = present(data), 0.0
    assert data.old_log_probs_BT is not None
    for row in range(len(data)):
        advantage, length = float(data.advantages_BT[row, 0]), int(data.response_tokens_B[row])
        for place in range(length):
            old = data.old_log_probs_BT[row, place] if row in BROUGHT else now_BT[row, place]
            ratio = math.exp(now_BT[row, place] - old)
            clipped = min(max(ratio, 0.8), 1.2)
            expected -= min(ratio * advantage, clipped * advantage) / length / len(data)
    assert learned(data)[1] == pytest.approx(expected, abs=1e-12)
    assert abs(learned(batch(4, seed=2))[1] - expected) > 1e-3


def test_at_the_policy_that_sampled_them_they_are_like_any_other() -> None:
    data = batch(4, seed=2)
    assert largest_difference(learned(brought(data, away=0.0))[0], learned(data)[0]) < 1e-12
    assert largest_difference(learned(brought(data, away=0.6))[0], learned(data)[0]) > 1e-4


@pytest.mark.parametrize("layout", [{"micro_batch_tokens": 24}, {"mini_batches": 1, "recompute_layers": True}], ids=str)
def test_micro_batches_do_not_change_them(layout: dict[str, Any]) -> None:
    data = brought(batch(4, seed=2), away=0.6)
    assert largest_difference(learned(data, **layout)[0], learned(data)[0]) < 1e-12


def test_nothing_of_them_is_left_to_correct_or_counts_as_mismatch() -> None:
    """Their old log-probs are the engine's: whatever the engine of this step did, they are weighed by 1."""
    data = brought(batch(4, seed=2), away=0.6)
    assert data.old_log_probs_BT is not None
    alone = data.select(torch.tensor(BROUGHT))
    alone = replace(alone, rows_B=torch.arange(len(BROUGHT)))
    cut: dict[str, Any] = {"engine_correction": Correction.truncate, "engine_correction_cap": 1.5}
    assert largest_difference(learned(alone, **cut)[0], learned(alone)[0]) < 1e-12
    made = LocalLearner(policy(), Clipped(), LearnerSettings(**SGD), 1.0)
    made.begin_step(1, alone)
    Repeat(passes=1).update(made, alone)
    assert made.end_step().mismatch.ratio_max == 1.0


def test_the_mismatch_with_the_engine_is_that_of_the_steps_own_responses() -> None:
    data = brought(batch(4, seed=2), away=0.6)
    own = [row for row in range(len(data)) if row not in BROUGHT]
    alone = replace(data.select(torch.tensor(own)), rows_B=torch.arange(len(own)))
    found = []
    for rows in (data, alone):
        made = LocalLearner(policy(), Clipped(), LearnerSettings(**SGD), 1.0)
        made.begin_step(1, rows)
        Repeat(passes=1).update(made, rows)
        found.append(made.end_step().mismatch)
    mixed, expected = ((one.ratio_mean, one.ratio_max, one.effective_sample_share) for one in found)
    assert mixed == pytest.approx(expected, rel=1e-9) and mixed[0] != 1.0


def trajectory(length: int, reward: float, group: int, **more: Any) -> Trajectory:
    done = Completion("0", 0, (1,), (2,) * length, (-0.5,) * length, "", FinishReason.stopped)
    return Trajectory(problems(1)[0].problem, done, Grade(GradeStatus.correct, reward, None), group, **more)


def test_advantages_are_made_of_the_others_alone_and_stand_in_the_order_of_the_step() -> None:
    old = trajectory(3, 9.0, 0, advantages=(0.25,), old_log_probs=(-1.0, -2.0, -3.0))
    rows = [trajectory(1, 1.0, 0), old, trajectory(2, 0.0, 0), trajectory(2, 0.5, 1), trajectory(2, 1.0, 1)]
    rollouts = GradedRollouts(rows)
    fresh = rollouts.fresh
    assert fresh.group == 2 and fresh.rewarded(8).rewards_PG.tolist() == [[1.0, 0.0], [0.5, 1.0]]
    assert fresh.metrics([0.0] * 4)["reward_mean"] == 0.625
    made_B1 = torch.tensor([[1.0], [2.0], [3.0], [4.0]]).double()
    assert rollouts.with_brought(made_B1).tolist() == [[1.0], [0.25], [2.0], [3.0], [4.0]]
    made_BT = torch.tensor([[1.0, 0.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]).double()
    expected = [[1, 0, 0], [0.25, 0.25, 0.25], [2, 3, 0], [4, 5, 0], [6, 7, 0]]
    assert rollouts.with_brought(made_BT).tolist() == expected
    by_token = [trajectory(2, 1.0, 0), replace(old, advantages=(0.1, 0.2, 0.3))]
    assert GradedRollouts(by_token).with_brought(made_B1[:1]).tolist() == [[1, 1, 0], [0.1, 0.2, 0.3]]
    assert rollouts.with_ones(torch.tensor([[0.0, 2.0], [3.0, 0.0]])).tolist() == [0, 1, 2, 3, 0]
    found = rollouts.old_log_probs_BT()
    assert found is not None and found.nan_to_num(nan=7.0).tolist() == [[7] * 3, [-1, -2, -3], *[[7] * 3] * 3]
    assert GradedRollouts(rows[2:]).old_log_probs_BT() is None and fresh.with_brought(made_B1) is made_B1


def test_a_step_of_earlier_responses_alone_is_refused() -> None:
    with pytest.raises(RunFailed, match="1 trajectories, all with stored advantages"):
        _ = GradedRollouts([trajectory(1, 1.0, 0, advantages=(1.0,))]).fresh


def test_what_a_collector_of_the_users_brings_must_fit_its_tokens() -> None:
    check, fresh = CHECKS[Collector]["collect"], [trajectory(1, 1.0, 0), trajectory(2, 1.0, 0)]
    good = trajectory(3, 1.0, 0, advantages=(0.5,), old_log_probs=(-1.0,) * 3)
    assert not check(Collected([*fresh, good]), None)
    for bad in (replace(good, advantages=(0.5, 0.5)), replace(good, old_log_probs=(-1.0,))):
        assert "one of each response token" in check(Collected([*fresh, bad]), None)
