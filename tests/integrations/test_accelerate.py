"""Prepared by accelerate, under gradient accumulation and a schedule, it moves the weights as without accelerate."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sfpo_bench import SlowFastOptimizer
from tests.training.test_master_weights import Quadratic, problem

accelerate = pytest.importorskip(
    "accelerate", reason="accelerate comes with TRL, in an environment of its own: make test-trl"
)
MICRO_BATCHES = 2


def made() -> tuple[Quadratic, SlowFastOptimizer, Any]:
    module = problem(torch.float32)[0]
    optimizer = SlowFastOptimizer(torch.optim.AdamW(module.parameters(), lr=0.05), fast_passes=2, alpha=0.6)
    return module, optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=5)


def test_the_weights_are_those_of_a_loop_without_accelerate() -> None:
    plain, optimizer, schedule = made()
    for _ in range(2):
        optimizer.begin_batch()
        for _ in range(optimizer.passes):
            optimizer.zero_grad()
            for _ in range(MICRO_BATCHES):
                (plain() / MICRO_BATCHES).backward()
            optimizer.step()
            schedule.step()
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=MICRO_BATCHES)
    module, own, schedule = made()
    prepared, optimizer, schedule = accelerator.prepare(module, own, schedule)
    for _ in range(2):
        own.begin_batch()
        for _ in range(own.passes * MICRO_BATCHES):
            with accelerator.accumulate(prepared):
                accelerator.backward(prepared())
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    assert torch.equal(module.w, plain.w)
    assert optimizer.param_groups is own.inner.param_groups


def test_accelerate_saves_and_loads_the_middle_of_a_batch(tmp_path: Any) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    module, own, _ = made()
    prepared, optimizer = accelerator.prepare(module, own)

    def attempts(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            accelerator.backward(prepared())
            optimizer.step()

    own.begin_batch()
    attempts(1)
    accelerator.save_state(tmp_path)
    attempts(2)
    expected = module.w.detach().clone()
    accelerator.load_state(tmp_path)
    assert own.batch_is_open
    attempts(2)
    assert torch.equal(module.w, expected)
