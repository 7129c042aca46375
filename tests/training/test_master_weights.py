"""Reposition on a quadratic has a closed form; the anchor is one copy; moments do what they are told."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.algorithms.recorded import Elementwise, StepQuantity
from sfpo_bench.algorithms.update_rules import Lookahead, OnePass, Repeat, SlowFast
from sfpo_bench.core.types import StageStats
from sfpo_bench.training.master_weights import MasterWeights
from sfpo_bench.training.probe import WeightProbe


class Quadratic(nn.Module):
    """1/2 (w - minimum)^T H (w - minimum)."""

    def __init__(self, start: Tensor, hessian: Tensor, minimum: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(start.clone())
        self.hessian, self.minimum = hessian, minimum

    def forward(self) -> Tensor:
        gap: Tensor = self.w - self.minimum
        return 0.5 * gap @ self.hessian @ gap


class QuadraticLearner:
    """The four verbs on a quadratic: one gradient step per pass, through the real master weights."""

    def __init__(self, module: Quadratic, masters: MasterWeights) -> None:
        self.module, self.masters = module, masters
        self.probe = WeightProbe(masters.masters.values())

    def optimize(self, batch: None, stage: str) -> StageStats:
        self.masters.zero_gradients()
        loss = self.module()
        loss.backward()
        self.masters.collect_gradients()
        self.masters.step()
        return StageStats(stage, loss.item(), 0, 1, 1, 0, 0, 0, 1, 0, 0)

    def mini_batches(self, batch: None) -> Sequence[None]:
        return [batch]

    def snapshot(self, moments: Moments) -> None:
        self.masters.snapshot(moments)

    def reposition(self, alpha: float | Elementwise, moments: Moments) -> None:
        self.masters.reposition(alpha, moments, self.masters.squares())

    def recording(
        self, name: str, quantity: StepQuantity = StepQuantity.clipped_gradient
    ) -> AbstractContextManager[None]:
        return self.masters.recording(name, quantity)


def problem(dtype: torch.dtype = torch.float64) -> tuple[Quadratic, Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=source, dtype=torch.float64)
    hessian, minimum = root @ root.T / 5 + torch.eye(5), torch.randn(5, generator=source, dtype=torch.float64)
    start = torch.randn(5, generator=source, dtype=torch.float64)
    return Quadratic(start.to(dtype), hessian.to(dtype), minimum.to(dtype)), start, hessian, minimum


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("fast_passes", [0, 1, 3, 7])
def test_a_step_of_sfpo_on_a_quadratic_is_its_closed_form(fast_passes: int, alpha: float) -> None:
    """theta_K - theta* = (I - eta H)^K (theta_0 - theta*); reposition and one more step are affine."""
    rate = 0.1
    module, start, hessian, minimum = problem()
    masters = MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=rate))
    SlowFast(fast_passes=fast_passes, alpha=alpha).update(QuadraticLearner(module, masters), None)
    contraction = torch.eye(5, dtype=torch.float64) - rate * hessian
    power = torch.linalg.matrix_power(contraction, fast_passes) if alpha > 0 else torch.eye(5, dtype=torch.float64)
    moved = start + alpha * (power - torch.eye(5, dtype=torch.float64)) @ (start - minimum)
    expected = minimum + contraction @ (moved - minimum)
    assert torch.allclose(module.w, expected, atol=1e-13)


def test_the_step_telescopes_into_its_gradients() -> None:
    """theta_1 = theta_0 - eta [alpha * sum_k grad L(theta_k) + grad L(theta~)] with plain SGD."""
    rate, alpha, passes = 0.05, 0.7, 4
    module, start, hessian, minimum = problem()
    theta, total = start.clone(), torch.zeros(5, dtype=torch.float64)
    for _ in range(passes):
        gradient = hessian @ (theta - minimum)
        total, theta = total + gradient, theta - rate * gradient
    moved = start - rate * alpha * total
    expected = start - rate * (alpha * total + hessian @ (moved - minimum))
    masters = MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=rate))
    SlowFast(fast_passes=passes, alpha=alpha).update(QuadraticLearner(module, masters), None)
    assert torch.allclose(module.w, expected, atol=1e-13)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sync_every", [1, 2, 5])
def test_lookahead_on_a_quadratic_is_its_closed_form(sync_every: int, alpha: float) -> None:
    """phi - theta* is multiplied by (1 - alpha) I + alpha (I - eta H)^k at each synchronisation."""
    rate, rounds = 0.1, 3
    module, start, hessian, minimum = problem()
    learner = QuadraticLearner(module, MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=rate)))
    rule = Lookahead(sync_every=sync_every, alpha=alpha)
    for _ in range(rounds * sync_every):
        rule.update(learner, None)
    unit = torch.eye(5, dtype=torch.float64)
    one_round = (1 - alpha) * unit + alpha * torch.linalg.matrix_power(unit - rate * hessian, sync_every)
    expected = minimum + torch.linalg.matrix_power(one_round, rounds) @ (start - minimum)
    assert torch.allclose(module.w, expected, atol=1e-13)


def test_where_gradients_do_not_change_sfpo_reaches_alpha_k_plus_one_times_as_far_as_one_pass() -> None:
    """The reason of the controls of equal displacement: on a line, plain SGD, K = 3 and alpha = 0.8 move by 3.4 g."""
    ends = []
    sfpo = SlowFast(fast_passes=3, alpha=0.8)
    for rule, rate in ((sfpo, 0.1), (OnePass(), 0.1 * sfpo.reach), (Repeat(passes=4), 0.1 * sfpo.reach / 4)):
        module = Line()
        # mypy infers no type for a lambda's default.
        masters = MasterWeights(module, lambda weights, rate=rate: torch.optim.SGD(weights, lr=rate))  # type: ignore[misc]
        rule.update(QuadraticLearner(module, masters), None)
        ends.append(module.w.detach())
    assert torch.allclose(ends[0], ends[1], atol=1e-15) and float(ends[0].abs().min()) > 0.3
    assert torch.allclose(ends[0], ends[2], atol=1e-15) and sfpo.reach == pytest.approx(3.4)


class Line(Quadratic):
    """sum(w): the gradient is 1 everywhere."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(3).double(), torch.eye(3).double(), torch.zeros(3).double())

    def forward(self) -> Tensor:
        return self.w.sum()


@pytest.mark.parametrize("moments", list(Moments))
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
def test_lookahead_taken_up_between_two_batches_goes_on_with_the_same_bits(cut: int, moments: Moments) -> None:
    """Weights, moments, the rule's state and the anchor are all there is."""
    module, *_ = problem()
    masters, rule = MasterWeights(module, adamw), Lookahead(sync_every=3, moments=moments)
    for _ in range(cut):
        rule.update(QuadraticLearner(module, masters), None)
    again, *_ = problem()
    taken_up, later_rule = MasterWeights(again, adamw), Lookahead(sync_every=3, moments=moments)
    taken_up.load({name: master.detach().clone() for name, master in masters.masters.items()})
    taken_up.load_optimizer_tensors(masters.optimizer_tensors())
    taken_up.load_anchor_tensors({name: value.clone() for name, value in masters.anchor_tensors().items()})
    later_rule.restore(rule.state())
    assert bool(masters.anchor_tensors()) == (cut % 3 != 0), "the slow weights travel only while they differ"
    for _ in range(5):
        rule.update(QuadraticLearner(module, masters), None)
        later_rule.update(QuadraticLearner(again, taken_up), None)
        assert torch.equal(module.w, again.w)


def test_within_a_step_sfpo_leaves_no_anchor_to_keep() -> None:
    module, *_ = problem()
    masters = MasterWeights(module, adamw)
    SlowFast().update(QuadraticLearner(module, masters), None)
    assert masters.anchor_tensors() == {}


def adamw(weights: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=0.05, weight_decay=0.0)


def state_after(alpha: float, moments: Moments) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Optimizer state at the anchor, after two more steps, and after reposition."""
    module, *_ = problem()
    masters = MasterWeights(module, adamw)
    learner = QuadraticLearner(module, masters)
    learner.optimize(None, "x")
    learner.snapshot(moments)
    anchor = {key: value.clone() for key, value in masters.optimizer_tensors().items()}
    Repeat(passes=2).update(learner, None)
    moved = {key: value.clone() for key, value in masters.optimizer_tensors().items()}
    learner.reposition(alpha, moments)
    return anchor, moved, masters.optimizer_tensors()


def test_moments_are_carried_put_back_or_interpolated() -> None:
    anchor, moved, carried = state_after(0.3, Moments.carry)
    assert all(torch.equal(carried[key], moved[key]) for key in moved)
    anchor, moved, restored = state_after(0.3, Moments.restore)
    assert all(torch.equal(restored[key], anchor[key]) for key in moved)
    anchor, moved, between = state_after(0.3, Moments.interpolate)
    assert set(anchor) == {"w/exp_avg", "w/exp_avg_sq", "w/step"}
    for slot, beta in (("w/exp_avg", 0.9), ("w/exp_avg_sq", 0.999)):  # each with the weight that it holds
        weight = 0.7 * (1 - beta ** float(anchor["w/step"])) + 0.3 * (1 - beta ** float(moved["w/step"]))
        mean = (anchor[slot] + 0.3 * (moved[slot] - anchor[slot])) / weight
        assert torch.allclose(between[slot] / (1 - beta ** float(between["w/step"])), mean, rtol=1e-12, atol=0)


def test_a_snapshot_before_the_first_optimizer_step_counts_as_zero_moments() -> None:
    module, *_ = problem()
    masters = MasterWeights(module, adamw)
    masters.snapshot(Moments.restore)
    OnePass().update(QuadraticLearner(module, masters), None)
    masters.reposition(0.5, Moments.restore)
    assert all(float(value.abs().sum()) == 0 for value in masters.optimizer_tensors().values())


def test_snapshots_reuse_one_extra_copy_of_the_weights() -> None:
    module, *_ = problem()
    masters = MasterWeights(module, adamw)
    masters.snapshot(Moments.carry)
    first = [anchor.data_ptr() for anchor in masters._anchor.weights.values()]
    masters.reposition(0.5, Moments.carry)
    masters.snapshot(Moments.carry)
    assert [anchor.data_ptr() for anchor in masters._anchor.weights.values()] == first
    assert sum(anchor.numel() for anchor in masters._anchor.weights.values()) == sum(
        m.numel() for m in masters.masters.values()
    )


def test_masters_of_a_bf16_module_are_fp32_and_keep_what_bf16_would_lose() -> None:
    module, *_ = problem(torch.bfloat16)
    masters = MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=1e-4))
    learner = QuadraticLearner(module, masters)
    before = masters.masters["w"].detach().clone()
    for _ in range(50):
        learner.optimize(None, "x")
    assert masters.masters["w"].dtype == torch.float32 and module.w.dtype == torch.bfloat16
    assert torch.equal(module.w, masters.masters["w"].detach().bfloat16())
    # Fifty steps too small for bf16 have added up in fp32.
    assert float((masters.masters["w"].detach() - before).abs().max()) > 1e-3


def test_the_optimizer_state_survives_a_round_trip() -> None:
    module, *_ = problem()
    masters = MasterWeights(module, adamw)
    learner = QuadraticLearner(module, masters)
    learner.optimize(None, "x")
    weights = {name: master.detach().clone() for name, master in masters.masters.items()}
    optimizer = {key: value.clone() for key, value in masters.optimizer_tensors().items()}
    learner.optimize(None, "x")
    expected = module.w.detach().clone()
    masters.load(weights)
    masters.load_optimizer_tensors(optimizer)
    learner.optimize(None, "x")
    assert torch.equal(module.w, expected)


def test_nothing_is_left_of_them_when_they_are_gone() -> None:
    """A worker trains one run after another; what a hook kept of each would be gigabytes."""
    module = nn.Linear(8, 8).bfloat16()
    masters = MasterWeights(module, adamw)
    masters.zero_gradients()
    module(torch.ones(1, 8).bfloat16()).float().sum().backward()
    masters.step()
    left: list[weakref.ref[Any]] = [
        weakref.ref(masters),
        weakref.ref(module),
        *(weakref.ref(p) for p in module.parameters()),
    ]
    left += [weakref.ref(master) for master in masters.masters.values()]
    del module, masters
    gc.collect()
    assert [found() for found in left] == [None] * len(left)
