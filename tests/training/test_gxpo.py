"""GXPO through the learner: its limits bit for bit, its closed form, and what must not change it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.gradient_triggers import GradientNormWindow
from sfpo_bench.algorithms.gxpo import Gxpo
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.ratios import SequenceRatio
from sfpo_bench.algorithms.protocols import Batch, Learner, Moments, Objective
from sfpo_bench.algorithms.recorded import Recorded, StepQuantity
from sfpo_bench.algorithms.triggers import Trigger
from sfpo_bench.algorithms.update_rules import OnePass, SlowFast, Unit
from sfpo_bench.core.types import StageStats
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.master_weights import MasterWeights
from tests.training.policies import batch, policy
from tests.training.test_learner import ADAMW, LAYOUTS, SGD, largest_difference, learn, same_bits
from tests.training.test_master_weights import Quadratic, QuadraticLearner


def never() -> Trigger:
    return Trigger()


@pytest.mark.parametrize("ratio", list(StepQuantity))
@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("passes", [2, 3, 5, 8])
def test_on_a_diagonal_quadratic_it_is_sfpo_with_k_fast_passes(passes: int, alpha: float, ratio: StepQuantity) -> None:
    """theta_K - theta_0 = -rate S_K(x) g_0 with x = 1 - rate * curvature of each element, between 0 and 1 here."""
    curvatures = torch.tensor([0.1, 0.5, 1.0, 3.0, 9.0], dtype=torch.float64).diag()
    start, minimum = torch.linspace(-2, 3, 5, dtype=torch.float64), torch.full((5,), 0.3, dtype=torch.float64)
    ends = []
    for rule in (
        Gxpo(fast_passes=passes, alpha=alpha, floor=0.0, ratio=ratio, trigger=never()),
        SlowFast(fast_passes=passes, alpha=alpha),
    ):
        module = Quadratic(start, curvatures, minimum)
        masters = MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=0.1))
        for _ in range(3):
            rule.update(QuadraticLearner(module, masters), None)
        ends.append(module.w.detach().clone())
    assert torch.allclose(ends[0], ends[1], rtol=0, atol=1e-12 if ratio is StepQuantity.optimizer_step else 1e-14)
    assert float((ends[0] - start).abs().max()) > 0.1


@pytest.mark.parametrize("layout", [*LAYOUTS, {"anchor_on_host": True}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_k_of_two_is_sfpo_with_two_fast_passes_bit_for_bit(layout: dict[str, Any], dtype: torch.dtype) -> None:
    sfpo, _ = learn(SlowFast(fast_passes=2, alpha=0.5), model=policy(dtype=dtype), **ADAMW, **layout)
    for ratio in StepQuantity:
        rule = Gxpo(fast_passes=2, ratio=ratio, trigger=never())
        assert same_bits(learn(rule, model=policy(dtype=dtype), **ADAMW, **layout)[0], sfpo)


class KeepsNothing(Gxpo):
    """GXPO that takes its two passes although alpha is 0."""

    @property
    def fast_stage_is_on(self) -> bool:
        return True


@pytest.mark.parametrize("ratio", list(StepQuantity))
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_all_the_way_back_with_the_state_put_back_it_is_one_pass_bit_for_bit(
    dtype: torch.dtype, ratio: StepQuantity
) -> None:
    restoring = KeepsNothing(alpha=0.0, moments=Moments.restore, ratio=ratio, trigger=never())
    back, stages = learn(restoring, model=policy(dtype=dtype), **ADAMW)
    assert same_bits(back, learn(OnePass(), model=policy(dtype=dtype), **ADAMW)[0])
    assert [stage.stage for stage in stages[0]] == ["fast_1", "fast_2", "slow"]
    carried, _ = learn(KeepsNothing(alpha=0.0, trigger=never()), model=policy(dtype=dtype), **ADAMW)
    assert not same_bits(back, carried)


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("mini_batches", [1, 2])
def test_micro_batches_do_not_change_it_and_k_does(mini_batches: int, unit: Unit) -> None:
    def found(tokens: int, passes: int = 5) -> dict[str, Tensor]:
        rule = Gxpo(fast_passes=passes, trigger=never(), unit=unit, ratio=StepQuantity.raw_gradient)
        return learn(rule, **{**SGD, "learning_rate": 0.1, "mini_batches": mini_batches, "micro_batch_tokens": tokens})[
            0
        ]

    assert largest_difference(found(16384), found(24)) < 1e-10
    assert largest_difference(found(16384), found(16384, passes=2)) > 1e-4


def test_the_ratio_is_of_the_quantity_that_is_named() -> None:
    def found(ratio: StepQuantity, **settings: Any) -> dict[str, Tensor]:
        return learn(Gxpo(fast_passes=8, floor=0.0, trigger=never(), ratio=ratio), **settings)[0]

    clipped = {**SGD, "learning_rate": 1.0, "gradient_clip_norm": 0.01}
    assert not same_bits(found(StepQuantity.raw_gradient, **clipped), found(StepQuantity.clipped_gradient, **clipped))
    assert same_bits(found(StepQuantity.raw_gradient, **SGD), found(StepQuantity.clipped_gradient, **SGD))
    steps, gradients = (found(one, **ADAMW) for one in (StepQuantity.optimizer_step, StepQuantity.clipped_gradient))
    assert largest_difference(steps, gradients) > 1e-6


OBJECTIVES: list[Objective] = [
    Clipped(kl_coefficient=0.1, entropy_coefficient=0.01),
    Clipped(ratio=SequenceRatio(), clip_low=3e-4, clip_high=4e-4),
    Cispo(),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["every term", "gspo", "cispo"])
def test_it_runs_under_every_objective(objective: Objective) -> None:
    weights, stages = learn(Gxpo(trigger=never()), objective=objective, **ADAMW)
    assert all(bool(weight.isfinite().all()) for weight in weights.values())
    assert all(len(step) == 3 for step in stages)


def test_once_the_norm_of_the_corrective_gradient_rises_it_is_one_pass() -> None:
    rule = Gxpo(trigger=GradientNormWindow(window=2, threshold=1e-9))
    _, stages = learn(rule, steps=8, learning_rate=1e-4)
    counts = [len(step) for step in stages]
    norms = [step[-1].gradient_norm for step in stages]
    fired = next(n for n in range(2, 8) if norms[n] > (norms[n - 1] + norms[n - 2]) / 2)
    assert counts == [3] * (fired + 1) + [1] * (7 - fired)


class Records(OnePass):
    """Takes a pass and keeps what was recorded of it; a record of the same name begins anew."""

    def __init__(self, quantity: StepQuantity = StepQuantity.clipped_gradient) -> None:
        super().__init__()
        self.quantity = quantity
        self.found: list[Recorded] = []

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        learner.snapshot(Moments.carry)
        with learner.recording("pass"):
            learner.optimize(batch, "dropped")
        learner.reposition(0.0, Moments.carry)
        with learner.recording("pass", self.quantity):
            stage = learner.optimize(batch, "pass_1")
        learner.optimize(batch, "beside")

        def keep(recorded: Recorded) -> Tensor:
            sums = {name: total.clone() for name, total in recorded.sums.items()}
            self.found.append(Recorded(sums, recorded.rms))
            return sums["pass"] * 0.0

        learner.reposition(keep, Moments.carry)
        return (stage,)


@pytest.mark.parametrize("quantity", [StepQuantity.clipped_gradient, StepQuantity.optimizer_step])
@pytest.mark.parametrize("settings", [{}, {"mini_batches": 2}, {"gradient_clip_norm": 0.01}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_record_is_the_sum_of_the_gradients_that_a_pass_was_taken_with(
    settings: dict[str, Any], dtype: torch.dtype, quantity: StepQuantity
) -> None:
    """Under SGD the weights move by the rate times it; what is taken outside of the block is not in it."""
    data, rule = batch(4, seed=3), Records(quantity)
    chosen = {**SGD, "learning_rate": 0.25, **settings}
    moved = []
    for one in (rule, OnePass()):
        learner = LocalLearner(policy(dtype=dtype), Clipped(), LearnerSettings(**chosen), 1.0)
        before = [master.detach().clone() for master in learner.masters.masters.values()]
        learner.begin_step(1, data)
        one.update(learner, data)
        moved.append([b - m.detach() for b, m in zip(before, learner.masters.masters.values(), strict=True)])
    assert all(float(distance.abs().max()) == 0 for distance in moved[0]), "each element went all the way back"
    for recorded, distance in zip(rule.found, moved[1], strict=True):
        tolerance = 1e-14 if dtype == torch.float64 else 1e-6
        assert torch.allclose(0.25 * recorded.sums["pass"], distance, rtol=0, atol=tolerance)
        root = float(recorded.sums["pass"].double().square().mean().sqrt())
        assert recorded.rms["pass"] == pytest.approx(root, rel=1e-6)


def recorded_pass(quantity: StepQuantity, **settings: Any) -> tuple[dict[str, Tensor], LocalLearner]:
    """What is recorded of one pass, weight by weight, and the learner that took it."""
    data, rule = batch(4, seed=3), Records(quantity)
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(**settings), 1.0)
    learner.begin_step(1, data)
    rule.update(learner, data)
    return dict(zip(learner.masters.masters, (one.sums["pass"] for one in rule.found), strict=True)), learner


def test_a_raw_gradient_is_the_one_before_clipping() -> None:
    whole, _ = recorded_pass(StepQuantity.clipped_gradient, **SGD)
    raw, clipped = (
        recorded_pass(quantity, **{**SGD, "gradient_clip_norm": 0.01})[0]
        for quantity in (StepQuantity.raw_gradient, StepQuantity.clipped_gradient)
    )
    assert largest_difference(raw, whole) < 1e-14 and largest_difference(clipped, whole) > 0.01


def test_adams_step_on_one_gradient_is_the_gradient_over_its_size_whatever_the_weight_decay() -> None:
    """m / (sqrt(v) + eps) with m = g and v = g^2 once their averages are divided by their weights."""
    adamw: dict[str, Any] = {"learning_rate": 1e-3, "weight_decay": 0.1, "eps": 1e-2, "gradient_clip_norm": 0.0}
    gradients, _ = recorded_pass(StepQuantity.clipped_gradient, **SGD)
    steps, _ = recorded_pass(StepQuantity.optimizer_step, **adamw)
    expected = {name: g / (g.abs() + 1e-2) for name, g in gradients.items()}
    # The record's pass is the second on one gradient, whose running averages are that gradient all the same.
    assert largest_difference(steps, expected) < 1e-9
