"""The wrapper moves the weights as the project's own rule does, and is otherwise the optimizer it wraps."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sfpo_bench import SlowFastOptimizer
from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep
from sfpo_bench.algorithms.update_rules import SlowFast
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import make_optimizer
from sfpo_bench.training.master_weights import MasterWeights
from tests.training.policies import policy
from tests.training.test_learner import ADAMW as LEARNER
from tests.training.test_learner import learn
from tests.training.test_master_weights import Quadratic, QuadraticLearner, problem

MAKERS: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.05),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.05, weight_decay=0.1),
    "fused adamw": lambda weights: torch.optim.AdamW(weights, lr=0.05, fused=True),
    "foreach adam": lambda weights: torch.optim.Adam(weights, lr=0.05, amsgrad=True, foreach=True),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=0.05, momentum=0.5),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.05),
}


def wrapped_adamw(module: nn.Module, **settings: Any) -> SlowFastOptimizer:
    return SlowFastOptimizer(MAKERS["adamw"](list(module.parameters())), **settings)


def gradient_step(module: nn.Module, optimizer: Optimizer) -> None:
    optimizer.zero_grad()
    module().backward()
    optimizer.step()


def train(module: nn.Module, optimizer: SlowFastOptimizer, batches: int = 1, steps_per_pass: int = 1) -> None:
    for _ in range(batches):
        optimizer.begin_batch(steps_per_pass)
        for _ in range(optimizer.passes * steps_per_pass):
            gradient_step(module, optimizer)


# The weights.


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("fast_passes", [0, 1, 3, 7])
def test_a_batch_on_a_quadratic_is_its_closed_form(fast_passes: int, alpha: float) -> None:
    rate = 0.1
    module, start, hessian, minimum = problem()
    inner = torch.optim.SGD(module.parameters(), lr=rate)
    train(module, SlowFastOptimizer(inner, fast_passes=fast_passes, alpha=alpha))
    one = torch.eye(5, dtype=torch.float64)
    contraction = one - rate * hessian
    moved = start + alpha * (torch.linalg.matrix_power(contraction, fast_passes) - one) @ (start - minimum)
    assert torch.allclose(module.w, minimum + contraction @ (moved - minimum), atol=1e-13)


@pytest.mark.parametrize("moments", list(Moments))
@pytest.mark.parametrize("name", list(MAKERS))
def test_the_weights_are_those_of_the_projects_rule_over_its_master_weights_bit_for_bit(
    name: str, moments: Moments
) -> None:
    ours, wrapped = problem(torch.float32)[0], problem(torch.float32)[0]
    masters = MasterWeights(ours, MAKERS[name])
    rule = SlowFast(fast_passes=3, alpha=0.8, moments=moments)
    for _ in range(4):
        rule.update(QuadraticLearner(ours, masters), None)
    inner = MAKERS[name](list(wrapped.parameters()))
    train(wrapped, SlowFastOptimizer(inner, moments=moments), batches=4)
    assert torch.equal(ours.w, wrapped.w)


@pytest.mark.parametrize("moments", list(Moments))
def test_an_anchor_in_host_memory_gives_the_same_bits(moments: Moments) -> None:
    beside, host = problem()[0], problem()[0]
    train(beside, wrapped_adamw(beside, moments=moments), batches=2)
    train(host, wrapped_adamw(host, moments=moments, anchor_device="cpu"), batches=2)
    assert torch.equal(beside.w, host.w)


@contextmanager
def recorded_gradients() -> Iterator[list[list[Tensor]]]:
    """Gradients of every optimizer step taken meanwhile, whoever takes it."""
    steps: list[list[Tensor]] = []

    def keep(optimizer: Optimizer, *_: Any) -> None:
        steps.append([p.grad.clone() for group in optimizer.param_groups for p in group["params"]])

    handle = register_optimizer_step_pre_hook(keep)
    try:
        yield steps
    finally:
        handle.remove()


@pytest.mark.parametrize("moments", list(Moments))
@pytest.mark.parametrize("mini_batches", [1, 2])
def test_the_weights_are_those_of_the_learner_given_the_learners_gradients(moments: Moments, mini_batches: int) -> None:
    settings = {**LEARNER, "mini_batch_prompts": 0 if mini_batches == 1 else 2}
    rule = SlowFast(fast_passes=2, alpha=0.7, moments=moments, trigger=FixedStep(last_step=2))
    with recorded_gradients() as gradients:
        expected, _ = learn(rule, steps=3, model=policy(dtype=torch.float32), **settings)
    weights = [p.detach().clone().requires_grad_() for p in policy(dtype=torch.float32).parameters()]
    optimizer = SlowFastOptimizer(
        make_optimizer(weights, LearnerSettings(**settings)),
        fast_passes=2,
        alpha=0.7,
        moments=moments,
        trigger=FixedStep(last_step=2),
    )
    left = iter(gradients)
    for step in range(1, 4):
        optimizer.begin_batch(mini_batches)
        for _ in range(optimizer.passes * mini_batches):
            for weight, gradient in zip(weights, next(left), strict=True):
                weight.grad = gradient
            optimizer.step()
        assert optimizer.observe(step, entropy=1.0) == (step == 2)
    assert not list(left)
    assert all(torch.equal(a, b) for a, b in zip(expected.values(), weights, strict=True))


@pytest.mark.parametrize("moments", [Moments.carry, Moments.interpolate])
def test_alpha_one_is_the_inner_optimizer_with_k_plus_one_passes_bit_for_bit(moments: Moments) -> None:
    plain, wrapped = problem()[0], problem()[0]
    inner = MAKERS["adamw"](list(plain.parameters()))
    for _ in range(3 * 4):
        gradient_step(plain, inner)
    train(wrapped, wrapped_adamw(wrapped, alpha=1.0, moments=moments), batches=3)
    assert torch.equal(plain.w, wrapped.w)


@pytest.mark.parametrize("settings", [{"fast_passes": 0}, {"alpha": 0.0}, {"trigger": FixedStep(last_step=0)}], ids=str)
def test_without_a_fast_stage_it_is_the_inner_optimizer_bit_for_bit_and_keeps_no_anchor(
    settings: dict[str, Any],
) -> None:
    plain, wrapped = problem()[0], problem()[0]
    inner = MAKERS["adamw"](list(plain.parameters()))
    for _ in range(3):
        gradient_step(plain, inner)
    optimizer = wrapped_adamw(wrapped, **settings)
    assert optimizer.passes == 1
    train(wrapped, optimizer, batches=3)
    assert torch.equal(plain.w, wrapped.w) and not optimizer._anchor.weights


def test_the_anchor_is_one_copy_in_the_same_memory_for_every_batch() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module)
    train(module, optimizer)
    (first,) = optimizer._anchor.weights.values()
    train(module, optimizer)
    (second,) = optimizer._anchor.weights.values()
    assert first is second and first.shape == module.w.shape


def test_the_anchor_is_given_back_when_the_trigger_has_fired() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module, moments="restore", trigger=FixedStep(last_step=1))
    train(module, optimizer)
    optimizer.observe(1, 1.0)
    assert optimizer._anchor.weights and optimizer._anchor.state
    train(module, optimizer)
    assert not optimizer._anchor.weights and not optimizer._anchor.state


def test_frozen_parameters_have_no_anchor() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    optimizer = wrapped_adamw(model)
    optimizer.begin_batch()
    assert set(optimizer._anchor.weights) == set(model[1].parameters())


# The boundary.


def test_a_step_outside_a_batch_or_beyond_its_passes_is_refused() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module, fast_passes=1)
    with pytest.raises(RuntimeError, match="call begin_batch first"):
        gradient_step(module, optimizer)
    train(module, optimizer, steps_per_pass=2)
    before = module.w.detach().clone()
    for attempt in (optimizer.step, optimizer.skip):
        with pytest.raises(RuntimeError, match="outside a batch"):
            attempt()
    assert torch.equal(module.w, before) and not optimizer.batch_is_open


def test_a_batch_that_begins_in_the_middle_of_another_is_refused() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module, fast_passes=1)
    optimizer.begin_batch(2)
    gradient_step(module, optimizer)
    with pytest.raises(RuntimeError, match="after 1 of 4 optimizer steps"):
        optimizer.begin_batch(2)


def test_the_reposition_is_right_after_the_last_step_of_pass_k() -> None:
    module, start, *_ = problem()
    optimizer = wrapped_adamw(module, fast_passes=2, alpha=0.5)
    optimizer.begin_batch(steps_per_pass=3)
    twin = copy.deepcopy(module)
    plain = MAKERS["adamw"](list(twin.parameters()))
    for step in range(1, 7):
        gradient_step(module, optimizer)
        gradient_step(twin, plain)
        assert torch.equal(module.w, twin.w) == (step < 6)
    assert torch.equal(module.w, torch.lerp(start, twin.w, 0.5))


def test_a_skipped_attempt_counts() -> None:
    module, start, *_ = problem()
    optimizer = wrapped_adamw(module, fast_passes=2, alpha=0.5)
    optimizer.begin_batch()
    gradient_step(module, optimizer)
    after_one = module.w.detach().clone()
    optimizer.skip()
    assert torch.equal(module.w, torch.lerp(start, after_one, 0.5))
    optimizer.skip()
    assert not optimizer.batch_is_open


def test_a_trigger_that_fires_in_a_batch_leaves_its_passes_and_ends_the_fast_stage_of_the_next() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module, fast_passes=3, trigger=EntropyZScore(window=2, threshold=0.5))
    optimizer.begin_batch()
    assert [optimizer.observe(1, 1.0), optimizer.observe(2, 2.0)] == [False, True]
    assert optimizer.passes == 4
    for _ in range(4):
        gradient_step(module, optimizer)
    assert optimizer.passes == 1


@pytest.mark.parametrize(
    "settings",
    [{"fast_passes": -1}, {"alpha": 1.1}, {"moments": "keep"}, {"anchor_device": "cuda"}],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        wrapped_adamw(problem()[0], **settings)


def test_a_trigger_that_cannot_fire_is_refused() -> None:
    with pytest.raises(ConfigError, match="can never be reached"):
        wrapped_adamw(problem()[0], trigger=EntropyZScore(window=3, threshold=2.0))


# The optimizer that it wraps.


def test_groups_state_and_defaults_are_those_of_the_inner_optimizer_even_after_it_loaded_others() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module)
    train(module, optimizer)
    inner = optimizer.inner
    inner.load_state_dict(inner.state_dict())  # torch makes new lists here
    optimizer.param_groups[0]["lr"] = 0.125
    assert optimizer.param_groups is inner.param_groups and optimizer.state is inner.state
    assert optimizer.defaults is inner.defaults and inner.param_groups[0]["lr"] == 0.125
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    assert len(inner.param_groups) == 2


def test_parameters_added_in_the_fast_stage_are_refused() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module)
    optimizer.begin_batch()
    with pytest.raises(RuntimeError, match="between batches"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})


def test_a_scheduler_moves_the_rate_as_it_does_without_the_wrapper() -> None:
    def rates(wrap: bool) -> list[float]:
        module = problem()[0]
        optimizer: Any = MAKERS["adamw"](list(module.parameters()))
        optimizer = SlowFastOptimizer(optimizer, fast_passes=1) if wrap else optimizer
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=9)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        found = []
        for step in range(8):
            if wrap and step % 2 == 0:
                optimizer.begin_batch()
            gradient_step(module, optimizer)
            cycle.step()
            plateau.step(1.0)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    assert rates(wrap=True) == rates(wrap=False)


def test_step_hooks_of_the_wrapper_run_once_an_attempt() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module, fast_passes=1)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    train(module, optimizer)
    assert calls == ["post", "post"]


def test_a_closure_reaches_the_inner_optimizer() -> None:
    module, start, hessian, minimum = problem()
    optimizer = SlowFastOptimizer(torch.optim.LBFGS(module.parameters(), max_iter=50), fast_passes=1, alpha=1.0)

    def closure() -> float:
        optimizer.zero_grad()
        loss: Tensor = module()
        loss.backward()
        return float(loss.detach())

    optimizer.begin_batch()
    assert optimizer.step(closure) == pytest.approx(float(Quadratic(start, hessian, minimum)().detach()))
    optimizer.step(closure)
    assert torch.allclose(module.w, minimum, atol=1e-4)


def test_a_state_that_is_not_floating_point_is_restored_and_never_interpolated() -> None:
    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for parameter in self.param_groups[0]["params"]:
                count = self.state[parameter].setdefault("count", torch.zeros((), dtype=torch.uint8))
                count += 1
            return super().step(closure)

    module = problem()[0]
    optimizer = SlowFastOptimizer(Counting(module.parameters(), lr=0.1), moments="restore")
    train(module, optimizer, batches=2)
    assert int(optimizer.state[module.w]["count"]) == 2  # one slow pass a batch
    with pytest.raises(RuntimeError, match="expected floating point"):
        module = problem()[0]
        train(module, SlowFastOptimizer(Counting(module.parameters(), lr=0.1), moments="interpolate"))


@pytest.mark.parametrize("zero", [0, 0.0], ids=["int", "float"])
def test_a_state_that_is_a_number_is_carried_or_restored_like_any_other(zero: float) -> None:
    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for parameter in self.param_groups[0]["params"]:
                self.state[parameter]["count"] = self.state[parameter].get("count", zero) + 1
            return super().step(closure)

    for moments, counted in (("carry", 8), ("restore", 2)):  # four passes a batch, of which the slow one is kept
        module = problem()[0]
        optimizer = SlowFastOptimizer(Counting(module.parameters(), lr=0.1), moments=moments)
        train(module, optimizer, batches=2)
        assert optimizer.state[module.w]["count"] == counted and type(optimizer.state[module.w]["count"]) is type(zero)


# Saving.


@pytest.mark.parametrize("moments", list(Moments))
@pytest.mark.parametrize("done", range(9))
def test_a_run_that_is_saved_and_taken_up_anywhere_goes_on_with_the_same_bits(done: int, moments: Moments) -> None:
    """Two batches of two passes of two steps; saved after `done` of the eight attempts, through a file."""

    def go(module: nn.Module, optimizer: SlowFastOptimizer, attempts: int) -> None:
        for _ in range(attempts):
            if not optimizer.batch_is_open:
                optimizer.begin_batch(steps_per_pass=2)
            gradient_step(module, optimizer)

    settings: dict[str, Any] = {"fast_passes": 1, "alpha": 0.6, "moments": moments}
    whole, module = problem()[0], problem()[0]
    go(whole, wrapped_adamw(whole, **settings), 8)
    optimizer = wrapped_adamw(module, **settings)
    go(module, optimizer, done)
    file = io.BytesIO()
    torch.save([module.state_dict(), optimizer.state_dict()], file)
    go(module, optimizer, 8 - done)  # what is saved must not follow
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    module = problem()[0]
    module.load_state_dict(weights)
    resumed = wrapped_adamw(module, **settings)
    resumed.load_state_dict(state)
    go(module, resumed, 8 - done)
    assert torch.equal(module.w, whole.w)


def test_the_trigger_travels_with_the_state_and_must_be_of_the_same_kind() -> None:
    module = problem()[0]
    saved = wrapped_adamw(module, trigger=FixedStep(last_step=1))
    saved.observe(1, 1.0)
    loaded = wrapped_adamw(problem()[0], trigger=FixedStep(last_step=1))
    loaded.load_state_dict(saved.state_dict())
    assert loaded.passes == 1
    with pytest.raises(ValueError, match="of kind 'fixed_step'"):
        wrapped_adamw(module).load_state_dict(saved.state_dict())


def test_the_middle_of_a_batch_of_other_passes_is_refused() -> None:
    module = problem()[0]
    saved = wrapped_adamw(module, fast_passes=2)
    saved.begin_batch()
    with pytest.raises(ValueError, match="set fast_passes=2"):
        wrapped_adamw(module, fast_passes=3).load_state_dict(saved.state_dict())


def test_a_run_of_the_inner_optimizer_can_be_taken_over() -> None:
    module = problem()[0]
    plain = MAKERS["adamw"](list(module.parameters()))
    gradient_step(module, plain)
    optimizer = wrapped_adamw(module)
    optimizer.load_state_dict(plain.state_dict())
    assert torch.equal(optimizer.state[module.w]["exp_avg"], plain.state[module.w]["exp_avg"])


def test_a_deep_copy_in_the_middle_of_a_batch_goes_on_alone() -> None:
    module = problem()[0]
    optimizer = wrapped_adamw(module, fast_passes=1)
    optimizer.begin_batch()
    gradient_step(module, optimizer)
    twin, twin_optimizer = copy.deepcopy((module, optimizer))
    gradient_step(module, optimizer)
    assert not torch.equal(module.w, twin.w) and twin_optimizer.batch_is_open
    gradient_step(twin, twin_optimizer)
    assert torch.equal(module.w, twin.w)


def test_importing_the_package_loads_no_torch_until_the_optimizer_is_asked_for() -> None:
    script = (
        "import sys, sfpo_bench; assert 'torch' not in sys.modules; sfpo_bench.SlowFastOptimizer; "
        "assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_package_says_what_it_does_not_have() -> None:
    import sfpo_bench

    with pytest.raises(AttributeError, match="no attribute 'FastSlow'"):
        _ = sfpo_bench.FastSlow
