"""Under a GradScaler the weights are those of a plain scaler around the inner optimizer, with every attempt counted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from sfpo_bench import SlowFastOptimizer
from tests.training.test_master_weights import problem

FAST, ALPHA = 2, 0.6
SCALE = 1000.0  # not a power of two: unscaling rounds


def scaler() -> GradScaler:
    return GradScaler("cpu", init_scale=SCALE, growth_interval=2)


def scaled_backward(module: nn.Module, scaler: GradScaler, *, overflows: bool) -> None:
    module.zero_grad()
    scaler.scale(module() * (math.inf if overflows else 1.0)).backward()


def by_hand(overflows: list[bool], *, clip: bool) -> Tensor:
    """Batches of K + 1 attempts through a plain scaler, pulled back by hand after attempt K."""
    module = problem(torch.float32)[0]
    optimizer, amp = torch.optim.AdamW(module.parameters(), lr=0.05), scaler()
    anchor = module.w.detach().clone()
    for attempt, overflow in enumerate(overflows):
        if attempt % (FAST + 1) == 0:
            anchor = module.w.detach().clone()
        scaled_backward(module, amp, overflows=overflow)
        if clip:
            amp.unscale_(optimizer)
            nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        amp.step(optimizer)
        amp.update()
        if attempt % (FAST + 1) == FAST - 1:
            with torch.no_grad():
                torch.lerp(anchor, module.w, ALPHA, out=module.w)
    return module.w.detach()


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("overflowing", [(), (0,), (1,), (2,), (0, 1), (1, 2, 3), (0, 1, 2, 3, 4, 5)], ids=str)
def test_the_weights_are_those_of_a_scaler_around_the_inner_optimizer(
    overflowing: tuple[int, ...], fused: bool, clip: bool
) -> None:
    overflows = [attempt in overflowing for attempt in range(2 * (FAST + 1))]
    module = problem(torch.float32)[0]
    inner = torch.optim.AdamW(module.parameters(), lr=0.05, fused=fused)
    optimizer, amp = SlowFastOptimizer(inner, fast_passes=FAST, alpha=ALPHA), scaler()
    for overflow in overflows:
        if not optimizer.batch_is_open:
            optimizer.begin_batch()
        scaled_backward(module, amp, overflows=overflow)
        if clip:
            amp.unscale_(optimizer)
            nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        amp.step(optimizer)
        amp.update()
    expected = by_hand(overflows, clip=clip)
    assert not optimizer.batch_is_open and torch.isfinite(module.w).all()
    assert torch.allclose(module.w, expected, rtol=1e-6) if fused else torch.equal(module.w, expected)


def test_a_scaler_that_is_off_changes_nothing() -> None:
    module, plain = problem(torch.float32)[0], problem(torch.float32)[0]
    for module_, amp in ((module, GradScaler("cpu", enabled=False)), (plain, None)):
        optimizer = SlowFastOptimizer(torch.optim.SGD(module_.parameters(), lr=0.05))
        optimizer.begin_batch()
        for _ in range(optimizer.passes):
            optimizer.zero_grad()
            (module_() if amp is None else amp.scale(module_())).backward()
            optimizer.step() if amp is None else amp.step(optimizer)
    assert torch.equal(module.w, plain.w)
