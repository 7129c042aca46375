"""The learner against written-out references: AdamW's settings, clipping, bf16 with a real reposition, steps not taken,
the direction of the recorded divergence, and what the engine's weights may touch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import Loss, LossInputs, Moments, Objective
from sfpo_bench.algorithms.update_rules import OnePass
from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.settings.training import LearnerSettings, NonFinite, OptimizerKind
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner, make_optimizer
from sfpo_bench.training.master_weights import MasterWeights
from sfpo_bench.training.probe import WeightProbe
from sfpo_bench.training.scoring import Scorer
from tests.training.policies import GROUP, batch, on_cpu, policy
from tests.training.test_learner import largest_difference, same_bits


def learner(
    objective: Objective | None = None, dtype: torch.dtype = torch.float64, *, tied: bool = True, **settings: Any
) -> LocalLearner:
    chosen = LearnerSettings(**{"learning_rate": 5e-3, **settings})
    return LocalLearner(policy(dtype=dtype, tied=tied), objective or Clipped(), chosen, 1.0)


def weights(of: LocalLearner) -> dict[str, Tensor]:
    return {name: master.detach().clone() for name, master in of.masters.masters.items()}


# The optimizer is told its settings.

ADAMW = {"learning_rate": 0.03, "beta1": 0.7, "beta2": 0.8, "eps": 0.05, "weight_decay": 0.4}


@pytest.mark.parametrize("changed", [{}, *({name: value / 2} for name, value in ADAMW.items())], ids=str)
def test_adamw_is_its_equations_with_the_settings_in_their_places(changed: dict[str, float]) -> None:
    """m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
    w <- w - rate (decay w + m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps))."""
    values = {**ADAMW, **changed}
    rate, b1, b2, eps, decay = values.values()
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer([weight], LearnerSettings(**values))  # type: ignore[arg-type]  # all of them floats
    w, m, v = weight.detach().clone(), torch.zeros(3).double(), torch.zeros(3).double()
    for t in range(1, 5):
        g = torch.tensor([0.1 * t, -0.02 / t, 0.3], dtype=torch.float64)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate * (decay * w + m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt() + eps))
        weight.grad = g.clone()
        optimizer.step()
    assert torch.allclose(weight.detach(), w, atol=1e-14)


def test_sgd_is_the_rate_times_the_gradient_and_knows_no_adamw_setting() -> None:
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    # The fields have one type each; a mapping of them has none.
    optimizer = make_optimizer([weight], LearnerSettings(**{**ADAMW, "optimizer": OptimizerKind.sgd}))  # type: ignore[arg-type]
    for _ in range(2):
        weight.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
        optimizer.step()
    assert torch.allclose(weight.detach(), torch.tensor([1.0 - 0.18, -2.0 - 0.24], dtype=torch.float64), atol=1e-15)


@pytest.mark.parametrize("limit", [0.0, 1e-3, 1e9])
def test_a_step_of_sgd_is_the_rate_times_the_gradient_cut_to_the_largest_norm(limit: float) -> None:
    made = learner(optimizer=OptimizerKind.sgd, learning_rate=0.5, gradient_clip_norm=limit)
    before, data = weights(made), batch(4, seed=1)
    made.begin_step(1, data)
    stats = made.optimize(data, "pass_1")
    moved = math.sqrt(sum(float((now - before[name]).square().sum()) for name, now in weights(made).items()))
    cut = limit if limit and stats.gradient_norm > limit else stats.gradient_norm
    assert stats.gradient_norm > 1e-2, "above the small limit"
    assert moved == pytest.approx(0.5 * cut, rel=1e-2 if cut == limit else 1e-9)  # torch divides by norm + 1e-6


def test_statistics_of_a_pass_are_means_over_its_steps_or_over_all_tokens() -> None:
    """Of two mini-batches: the loss and the norm are means of theirs, whatever the tokens in each."""
    made, data = learner(mini_batch_prompts=2, optimizer=OptimizerKind.sgd, learning_rate=1e-12), batch(4, seed=2)
    made.begin_step(1, data)
    whole = made.optimize(data, "pass_1")
    parts = [made.optimize(part, "pass_1") for part in made.mini_batches(data)]
    tokens = [int(part.response_tokens_B.sum()) for part in made.mini_batches(data)]
    assert tokens[0] != tokens[1] and len(parts) == 2
    assert whole.loss == pytest.approx((parts[0].loss + parts[1].loss) / 2, abs=1e-9)
    assert whole.gradient_norm == pytest.approx((parts[0].gradient_norm + parts[1].gradient_norm) / 2, rel=1e-6)
    entropy = sum(count * part.entropy for count, part in zip(tokens, parts, strict=True)) / sum(tokens)
    assert whole.entropy == pytest.approx(entropy, rel=1e-9)


# Weights in another format follow their masters.


@pytest.mark.parametrize(
    ("dtype", "tied", "moments"),
    [
        (torch.bfloat16, True, Moments.carry),
        (torch.bfloat16, False, Moments.restore),
        (torch.bfloat16, True, Moments.interpolate),
        (torch.float32, False, Moments.carry),
        (torch.float64, True, Moments.carry),
    ],
)
def test_after_a_reposition_the_module_computes_with_the_repositioned_weights(
    dtype: torch.dtype, tied: bool, moments: Moments
) -> None:
    """Bit for bit: the slow pass is that of a learner which was given the repositioned weights."""
    own, told, data = (learner(dtype=dtype, tied=tied), learner(dtype=dtype, tied=tied), batch(4, seed=3))
    for one in (own, told):
        one.begin_step(1, data)
        one.snapshot(moments)
        one.optimize(data, "fast_1")
        fast = weights(one)
        one.reposition(0.5, moments)
    assert largest_difference(weights(own), fast) > 1e-3
    module = dict(own.weights())
    assert all(torch.equal(module[name].float(), rounded(master, dtype)) for name, master in weights(own).items())
    told.masters.load(weights(told))
    slow = [one.optimize(data, "slow") for one in (own, told)]
    assert same_bits(weights(own), weights(told)) and slow[0].loss == slow[1].loss


def rounded(master: Tensor, dtype: torch.dtype) -> Tensor:
    """To the nearest, as `split_weights` does; halves, which differ from torch's rule, are not among random weights."""
    return master.to(dtype).float()


def test_weights_that_are_loaded_are_those_the_module_computes_with() -> None:
    made, other = learner(dtype=torch.bfloat16), policy(seed=1, dtype=torch.bfloat16)
    made.masters.load({name: parameter.detach().float() for name, parameter in other.named_parameters()})
    assert all(torch.equal(made.weights()[name], parameter) for name, parameter in other.named_parameters())


# Steps that are not taken.


@dataclass
class Broken(Clipped):
    """An objective whose loss, or whose gradient alone, is not finite in its `broken`-th call."""

    loss_plus: float = 0.0
    root_at_zero: float = 0.0
    broken: int = 1

    def loss(self, inputs: LossInputs) -> Loss:
        found = Clipped.loss(self, inputs)
        self.broken -= 1
        if self.broken != 0:
            return found
        # The square root of 0 has the value 0 and no finite derivative.
        root = (inputs.log_probs_BT * 0).square().sum().sqrt() if self.root_at_zero else 0.0
        return replace(found, value=found.value + self.loss_plus + root)


BREAKS = [{"loss_plus": math.nan}, {"loss_plus": math.inf}, {"root_at_zero": 1.0}]


@pytest.mark.parametrize("broken", BREAKS, ids=str)
def test_a_loss_or_a_gradient_alone_that_is_not_finite_stops_the_run(broken: dict[str, float]) -> None:
    made, data = learner(Broken(**broken)), batch(4, seed=1)  # type: ignore[arg-type]  # floats
    before = weights(made)
    made.begin_step(1, data)
    with pytest.raises(NonFiniteError, match=r"stage pass_1: loss .* gradient norm"):
        made.optimize(data, "pass_1")
    assert same_bits(weights(made), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("broken", [BREAKS[0], BREAKS[-1]], ids=str)
def test_a_step_that_is_skipped_leaves_nothing_behind(broken: dict[str, float], dtype: torch.dtype) -> None:
    """Weights, moments and gradients: the next step is the one of a learner that never met it. The gradient that came
    before the broken one belongs to the step that was not taken."""
    # The mapping's values are floats.
    met = learner(Broken(**broken, broken=2), dtype, non_finite=NonFinite.skip, micro_batch_tokens=24)  # type: ignore[arg-type]
    never = learner(dtype=dtype, micro_batch_tokens=24)
    lost, data = batch(4, seed=8), batch(4, seed=1)
    met.begin_step(1, lost)
    stats = met.optimize(lost, "pass_1")
    assert (stats.optimizer_steps, stats.skipped_optimizer_steps) == (0, 1)
    assert all(master.grad is None for master in met.masters.masters.values())
    for one in (met, never):
        one.begin_step(1, data)
        one.optimize(data, "pass_1")
    assert same_bits(weights(met), weights(never))
    left, expected = met.masters.optimizer_tensors(), never.masters.optimizer_tensors()
    assert left.keys() == expected.keys() and all(torch.equal(left[key], expected[key]) for key in left)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_from_elsewhere_is_no_part_of_a_step(dtype: torch.dtype) -> None:
    ends = []
    for left in (False, True):
        made, data = learner(dtype=dtype), batch(4, seed=1)
        made.begin_step(1, data)
        for master in made.masters.masters.values():
            master.grad = torch.ones_like(master) if left else None
        made.optimize(data, "pass_1")
        ends.append(weights(made))
    assert same_bits(*ends)


def test_the_statistics_of_a_pass_count_attempts_for_means_and_taken_steps_apart() -> None:
    made = learner(Broken(loss_plus=math.inf), non_finite=NonFinite.skip, mini_batch_prompts=2)
    data = batch(4, seed=1)
    made.begin_step(1, data)
    stats = made.optimize(data, "pass_1")
    assert (stats.optimizer_steps, stats.skipped_optimizer_steps) == (1, 1)
    assert stats.loss == math.inf and math.isfinite(stats.gradient_norm)


def test_the_loss_of_a_pass_is_the_mean_over_its_attempts_whichever_of_them_were_taken() -> None:
    """Only the gradient of the first one is broken: its loss is what it would be."""
    losses, taken = [], []
    for root in (0.0, 1.0):
        made = learner(Broken(root_at_zero=root), non_finite=NonFinite.skip, mini_batch_prompts=2, learning_rate=1e-12)
        data = batch(4, seed=1)
        made.begin_step(1, data)
        stats = made.optimize(data, "pass_1")
        losses.append(stats.loss)
        taken.append(stats.optimizer_steps)
    assert taken == [2, 1] and losses[1] == pytest.approx(losses[0], rel=1e-6) and abs(losses[0]) > 1e-6


# What is recorded of a pass.


def test_the_divergence_is_the_mean_of_r_minus_1_minus_log_r_with_the_start_below() -> None:
    """r = pi_now / pi_start over tokens of the starting policy; with the two exchanged it is another number."""
    made, data = learner(), batch(4, seed=1, silent_groups=0)
    start = scores(policy(), data)
    made.begin_step(1, data)
    made.optimize(data, "pass_1")
    stats = made.optimize(data, "pass_2")
    again = learner()
    again.begin_step(1, data)
    again.optimize(data, "pass_1")
    log_r = log_probs(again, data) - start
    expected, reverse = (float((sign * log_r).expm1().sub(sign * log_r).mean()) for sign in (1, -1))
    assert stats.kl_to_start == pytest.approx(expected, rel=1e-9)
    assert abs(expected - reverse) > 1e-3 * expected
    assert stats.ratio_mean == pytest.approx(float(log_r.exp().mean()), rel=1e-12)
    assert stats.ratio_max == pytest.approx(float(log_r.exp().max()), rel=1e-12)
    outside = (log_r.exp() < 0.8) | (log_r.exp() > 1.2)
    assert 0 < stats.clip_fraction <= float(outside.double().mean())


def scores(model: Any, data: TrainBatch) -> Tensor:
    with torch.no_grad():
        found = Scorer(model, 1.0).score(on_cpu(data))
    return found.log_probs_BT[found.mask_BT]


def log_probs(of: LocalLearner, data: TrainBatch) -> Tensor:
    module = policy()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(of.weights()[name])
    return scores(module, data)


def test_a_probe_of_some_weights_estimates_the_norm_of_all() -> None:
    """A displacement of 1 everywhere has norm sqrt(n), whatever share of the n weights is read."""
    weight = torch.zeros(10_007, dtype=torch.float64)
    for coordinates in (10_007, 1000, 37):
        probe = WeightProbe([weight], coordinates)
        assert probe.norm(probe.read() + 1.0) == pytest.approx(math.sqrt(10_007), rel=1e-9)
        assert probe.cosine(probe.read() + 2.0, probe.read() - 3.0) == pytest.approx(-1.0)


# The engine's weights.


@pytest.mark.parametrize("penalty", [{"kl_coefficient": 0.3}, {"entropy_coefficient": 0.3}], ids=str)
def test_the_engines_weights_touch_the_policy_gradient_and_neither_penalty_nor_bonus(penalty: dict[str, Any]) -> None:
    """With every response rejected what is left is the penalty: the update of a batch without advantages."""
    data = batch(4, seed=4, silent_groups=0)
    hopeless = replace(data, engine_log_probs_BT=torch.full_like(data.engine_log_probs_BT, -50.0))
    silent = replace(data, advantages_BT=torch.zeros_like(data.advantages_BT))
    ends = []
    for given, correction in ((hopeless, Correction.reject), (silent, Correction.none), (hopeless, Correction.none)):
        made = learner(
            Clipped(**penalty),
            optimizer=OptimizerKind.sgd,
            learning_rate=0.5,
            engine_correction=correction,
        )
        drift(made)
        made.begin_step(1, given)
        made.optimize(given, "pass_1")
        ends.append(weights(made))
    rejected, without, whole = ends
    assert largest_difference(rejected, without) < 1e-12
    assert largest_difference(rejected, whole) > 1e-4


def test_the_policy_and_its_reference_are_scored_at_the_temperature_of_the_rollouts() -> None:
    """Entropies are those at 0.6, and the penalty to the own start is at its minimum."""
    data = batch(4, seed=4)
    data = replace(data, advantages_BT=torch.zeros_like(data.advantages_BT))
    made = LocalLearner(policy(), Clipped(kl_coefficient=1.0), LearnerSettings(), 0.6)
    made.begin_step(1, data)
    stats = made.optimize(data, "pass_1")
    with torch.no_grad():
        expected = Scorer(policy(), 0.6).score(on_cpu(data))
    assert stats.entropy == pytest.approx(float(expected.entropies_BT[expected.mask_BT].mean()), rel=1e-9)
    assert stats.gradient_norm < 1e-9 and stats.loss == pytest.approx(0.0, abs=1e-12)


def test_an_entropy_bonus_raises_the_entropy() -> None:
    data = batch(4, seed=4)
    data = replace(data, advantages_BT=torch.zeros_like(data.advantages_BT))
    made = learner(Clipped(entropy_coefficient=1.0), optimizer=OptimizerKind.sgd, learning_rate=0.05)
    made.begin_step(1, data)
    entropies = [made.optimize(data, f"pass_{n}").entropy for n in (1, 2, 3)]
    assert entropies[0] < entropies[1] < entropies[2]


def drift(made: LocalLearner) -> None:
    """Away from the reference, where the penalty has a gradient."""
    source = torch.Generator().manual_seed(5)
    made.masters.load(
        {n: w + 0.05 * torch.randn(w.shape, generator=source, dtype=w.dtype) for n, w in weights(made).items()}
    )


def test_the_penalty_is_to_the_weights_of_the_start_and_not_to_those_of_the_step() -> None:
    """One step from drifted weights, no advantages: the gradient points back; to the step's own start there is none."""
    data = replace(batch(4, seed=4), advantages_BT=torch.zeros(4 * GROUP, 1, dtype=torch.float64))
    made = learner(Clipped(kl_coefficient=1.0), optimizer=OptimizerKind.sgd, learning_rate=0.05)
    start = scores(policy(), data)
    drift(made)
    before = log_probs(made, data)
    made.begin_step(1, data)
    OnePass().update(made, data)
    after = log_probs(made, data)

    def penalty(now: Tensor) -> float:
        return float((start - now).expm1().sub(start - now).mean())

    assert penalty(after) < 0.99 * penalty(before)


# Gradients of a bf16 module.


def test_gradients_of_micro_batches_are_summed_in_fp32_masters() -> None:
    """1 + 2^-9 + 2^-9 is 1 in bf16 at every sum; the masters hold 1 + 2^-8."""
    module = nn.Linear(1, 1, bias=False).bfloat16()
    masters = MasterWeights(module, lambda own: torch.optim.SGD(own, lr=1.0))
    start = masters.masters["weight"].detach().clone()
    masters.zero_gradients()
    for slope in (1.0, 2.0**-9, 2.0**-9):
        (module.weight.sum() * slope).backward()
        masters.collect_gradients()
    masters.step()
    assert float(start - masters.masters["weight"].detach()) == pytest.approx(1 + 2.0**-8, abs=1e-6)
