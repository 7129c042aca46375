"""An optimizer's state after a reposition: what its bias correction divides by is the weight that its averages hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam, Adamax, AdamW, Optimizer

from sfpo_bench.algorithms.moments import pull_back
from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.integrations.slow_fast_optimizer import SlowFastOptimizer
from sfpo_bench.training.master_weights import MasterWeights

SLOPE = torch.tensor([2.0, -0.5, 1e-3], dtype=torch.float64)
RATE = 0.1
BETAS = [(0.9, 0.999), (0.0, 0.99), (0.5, 0.5), (0.99, 0.9), (0.9, 0.0)]

Make = Callable[[list[Tensor]], Optimizer]


class PlainAdam(Optimizer):
    """Adam whose count is a plain number."""

    def __init__(self, params: Iterable[Tensor], count: float) -> None:
        super().__init__(params, {"lr": RATE, "betas": (0.9, 0.99)})
        self._zero = count

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # closures are of no use here
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["step"] = state.get("step", self._zero) + 1
                for slot, beta, new in (("exp_avg", 0.9, parameter.grad), ("exp_avg_sq", 0.99, parameter.grad**2)):
                    state[slot] = beta * state.get(slot, torch.zeros_like(parameter)) + (1 - beta) * new
                mean, square = (state["exp_avg"] / (1 - 0.9 ** state["step"]), state["exp_avg_sq"])
                parameter -= RATE * mean / (square / (1 - 0.99 ** state["step"])).sqrt()


def adamw(betas: tuple[float, float]) -> Make:
    return lambda weights: AdamW(weights, lr=RATE, betas=betas, eps=0.0, weight_decay=0.0, fused=True)


def by_master_weights(make: Make, fast: int, alpha: float, batches: int) -> Tensor:
    """SFPO's displacement on a constant slope."""
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    masters = MasterWeights(torch.nn.ParameterList([weight]), make)

    def step() -> None:
        masters.zero_gradients()
        weight.grad = SLOPE.clone()
        masters.step()

    for _ in range(batches):
        masters.snapshot(Moments.interpolate)
        for _ in range(fast):
            step()
        masters.reposition(alpha, Moments.interpolate)
        step()
    return weight.detach()


def by_wrapped_optimizer(make: Make, fast: int, alpha: float, batches: int) -> Tensor:
    """The same through the optimizer for other trainers."""
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = SlowFastOptimizer(make([weight]), fast_passes=fast, alpha=alpha, moments=Moments.interpolate)
    for _ in range(batches):
        optimizer.begin_batch()
        for _ in range(optimizer.passes):
            weight.grad = SLOPE.clone()
            optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("through", [by_master_weights, by_wrapped_optimizer])
@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize(("fast", "alpha"), [(3, 0.8), (1, 0.5), (7, 0.1), (2, 0.999), (3, 1.0)])
def test_on_a_constant_slope_every_step_of_adam_is_the_learning_rate(
    through: Callable[..., Tensor], betas: tuple[float, float], fast: int, alpha: float
) -> None:
    """Averages of equal numbers are these numbers, so m / sqrt(v) is the slope's sign: each batch moves alpha K + 1
    rates. With an interpolated count its first slow step was 2 % off."""
    batches = 3
    expected = -RATE * batches * (alpha * fast + 1) * SLOPE.sign()
    assert torch.allclose(through(adamw(betas), fast, alpha, batches), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: Adam(weights, lr=RATE, eps=0.0, amsgrad=True),
        lambda weights: Adamax(weights, lr=RATE, eps=0.0),
        lambda weights: PlainAdam(weights, 0),
        lambda weights: PlainAdam(weights, 0.0),
    ],
    ids=["amsgrad", "adamax", "whole count", "count as a number"],
)
def test_so_it_is_of_adams_kin(make: Make) -> None:
    expected = -RATE * 2 * (0.8 * 3 + 1) * SLOPE.sign()
    assert torch.allclose(by_wrapped_optimizer(make, 3, 0.8, 2), expected, rtol=1e-12, atol=0)


def adam_state(gradients: list[Tensor], betas: tuple[float, float]) -> dict[str, Tensor]:
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = Adam([weight], betas=betas)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return {slot: value.clone() for slot, value in optimizer.state[weight].items()}


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.8)])
@pytest.mark.parametrize("steps_before", [0, 1, 40, 9000])
def test_an_interpolated_mean_is_the_weighted_mean_of_all_gradients(
    betas: tuple[float, float], steps_before: int
) -> None:
    """Every gradient's weight in both states, interpolated; over the sum of these weights."""
    draw = torch.Generator().manual_seed(0)
    gradients = list(torch.randn(steps_before + 3, 3, generator=draw, dtype=torch.float64))
    alpha = 0.8
    before, now = adam_state(gradients[:steps_before], betas), adam_state(gradients, betas)
    pull_back(now, before, alpha, {"betas": betas})
    for slot, beta, power in (("exp_avg", betas[0], 1), ("exp_avg_sq", betas[1], 2)):
        ages = torch.arange(len(gradients) - 1, -1, -1, dtype=torch.float64)
        weights = alpha * beta**ages + (1 - alpha) * torch.where(ages >= 3, beta ** (ages - 3).clamp(min=0), 0.0)
        mean = (weights[:, None] * torch.stack(gradients) ** power).sum(dim=0) / weights.sum()
        assert torch.allclose(now[slot] / (1 - beta ** float(now["step"])), mean, rtol=1e-11, atol=1e-14)


def test_the_first_average_is_scaled_by_next_to_nothing() -> None:
    """The count is the one at which it holds its weight, in units of 2^-12 steps, and no whole number."""
    gradients = list(torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    betas = (0.9, 0.999)
    now = adam_state(gradients, betas)
    plain = 0.8 * now["exp_avg"]
    pull_back(now, {}, 0.8, {"betas": betas})
    assert torch.allclose(now["exp_avg"], plain, rtol=2**-12, atol=0)
    assert 0.9 ** float(now["step"]) == pytest.approx(0.2 + 0.8 * 0.9**3, rel=1e-4)


def test_between_put_back_and_carried_there_is_no_jump() -> None:
    gradients = list(torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    before, after = adam_state(gradients[:2], (0.9, 0.99)), adam_state(gradients, (0.9, 0.99))
    for kept, limit in ((1e-9, before), (0.0, before), (1 - 1e-9, after), (1.0, after)):
        state = {slot: value.clone() for slot, value in after.items()}
        pull_back(state, before, kept, {"betas": (0.9, 0.99)})
        for slot, value in state.items():
            assert torch.equal(value, limit[slot]) or kept not in (0.0, 1.0), slot
            assert torch.allclose(value, limit[slot], rtol=1e-6), slot


@pytest.mark.parametrize("zero", [0, 0.0])
def test_a_count_that_is_a_plain_number_is_put_back_with_its_averages(zero: float) -> None:
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = SlowFastOptimizer(PlainAdam([weight], zero), fast_passes=2, moments=Moments.restore)
    for _ in range(3):
        optimizer.begin_batch()
        for _ in range(3):
            weight.grad = SLOPE.clone()
            optimizer.step()
    assert optimizer.state[weight]["step"] == 3  # one slow pass a batch


def test_a_count_without_averages_is_what_was_taken() -> None:
    """Adagrad's count lowers its rate; steps that were taken are no less for an interpolation."""
    state: dict[str, Any] = {"step": torch.tensor(5.0), "sum": torch.tensor([4.0])}
    pull_back(state, {"step": torch.tensor(2.0), "sum": torch.tensor([1.0])}, 0.5, {"lr_decay": 0.1})
    assert float(state["step"]) == 5.0 and float(state["sum"]) == 2.5


def test_an_average_without_memory_stays_the_last_gradient_when_nothing_was_before() -> None:
    """With both betas 0 its weight is 1 after any step and 0 before the first: a part of it, at that weight, is it."""
    state = {"step": torch.tensor(3.0), "exp_avg": SLOPE.clone(), "exp_avg_sq": SLOPE**2}
    pull_back(state, {}, 0.25, {"betas": (0.0, 0.0)})
    assert torch.allclose(state["exp_avg"], SLOPE) and torch.allclose(state["exp_avg_sq"], SLOPE**2)
    assert float(state["step"]) == 3.0
