"""fp32 weights in two halves are the same weights, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sfpo_bench.training.master_weights import MasterWeights
from sfpo_bench.training.split_weights import join, low_bits, round_to_bfloat16


def split_and_joined(weights: Tensor) -> tuple[Tensor, Tensor]:
    rounded = torch.empty(weights.shape, dtype=torch.bfloat16)
    round_to_bfloat16(weights, rounded)
    joined = torch.full_like(weights, 7.0)
    join(rounded, low_bits(weights), joined)
    return rounded, joined


def test_every_finite_weight_comes_back_with_its_bits() -> None:
    """A million bit patterns, and every low half beside some high ones: zeros, denormals, ties, the largest."""
    patterns = torch.randint(-(2**31), 2**31, (2**20,), generator=torch.Generator().manual_seed(0))
    halves = torch.arange(2**16)[:, None] + torch.tensor([0, 0x3F80_0000, 0x3F81_0000, -0x4080_0000, -0x8000_0000])
    weights = torch.cat([patterns, halves.flatten()]).int().view(torch.float32)
    weights = weights[weights.isfinite()]
    rounded, joined = split_and_joined(weights)
    assert torch.equal(joined.view(torch.int32), weights.view(torch.int32))
    exact = weights.double()
    plain = weights.bfloat16().double()
    inside = rounded.isfinite()
    assert bool(((rounded.double() - exact).abs() == (plain - exact).abs())[inside].all()), "nearest"
    differs = rounded.double() != plain
    assert bool((rounded.double().abs() > plain.abs())[differs].all()), "halves go away from zero"
    assert 0 < int(differs.sum()) < len(weights) / 2**14


def test_infinities_are_kept() -> None:
    weights = torch.tensor([float("inf"), -float("inf")])
    rounded, joined = split_and_joined(weights)
    assert torch.equal(joined, weights) and torch.equal(rounded.float(), weights)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_masters_at_rest_come_back_and_hold_nothing_meanwhile(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = nn.Linear(64, 48).to(dtype)
    masters = MasterWeights(module, lambda weights: torch.optim.AdamW(weights, lr=1e-3))
    for _ in range(3):  # weights that bf16 cannot hold
        masters.zero_gradients()
        module(torch.randn(8, 64).to(dtype)).float().square().mean().backward()
        masters.collect_gradients()
        masters.step()
    before = {name: master.detach().clone() for name, master in masters.masters.items()}
    with masters.at_rest():
        held = sum(master.untyped_storage().nbytes() for master in masters.masters.values())
        assert held == (0 if dtype is torch.bfloat16 else sum(4 * one.numel() for one in before.values()))
    assert all(torch.equal(before[name], master) for name, master in masters.masters.items())
    if dtype is torch.bfloat16:
        assert any(not torch.equal(master, master.bfloat16().float()) for master in before.values())


def test_masters_come_back_after_an_error_too() -> None:
    module = nn.Linear(4, 4).bfloat16()
    masters = MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=0.1))
    before = {name: master.detach().clone() for name, master in masters.masters.items()}
    with pytest.raises(RuntimeError, match="out of memory"), masters.at_rest():
        raise RuntimeError("out of memory")
    assert all(torch.equal(before[name], master) for name, master in masters.masters.items())
