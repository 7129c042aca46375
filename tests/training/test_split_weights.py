"""fp32 weights in two halves are the same weights, bit for bit."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor, nn

from sfpo_bench.training.master_weights import MasterWeights
from sfpo_bench.training.split_weights import join, low_bits, round_to_bfloat16


def split_and_joined(weights: Tensor) -> tuple[Tensor, Tensor]:
    rounded = torch.empty(weights.shape, dtype=torch.bfloat16)
    round_to_bfloat16(weights, rounded)
    joined = torch.full_like(weights, 7.0)
    low = torch.empty(weights.shape, dtype=torch.int16)
    low_bits(weights, low)
    join(rounded, low, joined)
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


class Tied(nn.Module):
    """An embedding that is the head too, and a layer between."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.layer = nn.Embedding(50, 16), nn.Linear(16, 16)
        self.to(dtype)

    def loss(self, tokens: Tensor, head: Tensor) -> Tensor:
        logits: Tensor = self.layer(self.embedding(tokens)) @ head.T
        return logits.float().square().mean()


def adamw(weights: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=1e-3, fused=True)


def trained(dtype: torch.dtype, *, split: bool, lead_head: bool) -> tuple[Tied, MasterWeights]:
    """A module and its masters after three steps of two micro-batches each, with tokens in both, in one and in none."""
    module = Tied(dtype)
    masters = MasterWeights(module, adamw)
    leaf = masters.leaf(module.embedding.weight) if lead_head else None
    for step in range(3):
        masters.zero_gradients()
        with masters.split() if split else contextlib.nullcontext():
            for tokens in (torch.tensor([1, 1, 2, 40]), torch.tensor([3, 1, step])):
                module.loss(tokens, module.embedding.weight if leaf is None else leaf).backward()
                masters.collect_gradients()
            masters.clip_gradients(0.1)
            masters.step()
    return module, masters


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_step_of_split_masters_is_that_of_whole_ones(dtype: torch.dtype) -> None:
    _, expected = trained(dtype, split=False, lead_head=False)
    _, found = trained(dtype, split=True, lead_head=False)
    assert all(torch.equal(one, found.masters[name]) for name, one in expected.masters.items())
    state = found.optimizer_tensors()
    assert all(torch.equal(one, state[name]) for name, one in expected.optimizer_tensors().items())


def test_the_leaf_of_a_tied_head_sums_to_the_same_gradient_and_sooner() -> None:
    module, plain = Tied(torch.bfloat16), Tied(torch.bfloat16).double()
    masters = MasterWeights(module, adamw)
    leaf = masters.leaf(module.embedding.weight)
    assert leaf is not None and leaf.data_ptr() == module.embedding.weight.data_ptr()
    tokens = torch.tensor([1, 1, 2, 40])
    plain.loss(tokens, plain.embedding.weight).backward()
    with masters.split():
        module.loss(tokens, leaf).backward()
        found, expected = masters.masters["embedding.weight"].grad, plain.embedding.weight.grad
        assert found is not None and expected is not None and leaf.grad is None
        assert torch.allclose(found.double(), expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))
        assert not torch.equal(found[1], found[2]) and bool((found[49] != 0).any()), "of the head every row has one"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masters_that_are_the_module_take_no_gradient_over(dtype: torch.dtype) -> None:
    module = Tied(dtype)
    masters = MasterWeights(module, adamw)
    assert masters.leaf(module.embedding.weight) is None and not module.embedding.sparse


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_split_masters_come_back_and_hold_their_gradients_meanwhile(dtype: torch.dtype) -> None:
    module, masters = trained(dtype, split=True, lead_head=True)
    before = {name: master.detach().clone() for name, master in masters.masters.items()}
    with masters.split():
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        masters.collect_gradients()
        shared = [m.grad is not None and m.grad.data_ptr() == m.data_ptr() for m in masters.masters.values()]
        assert shared == [dtype is torch.bfloat16] * len(shared)
    assert all(torch.equal(before[name], master) for name, master in masters.masters.items())
    if dtype is torch.bfloat16:
        assert any(not torch.equal(master, master.bfloat16().float()) for master in before.values())


def test_masters_come_back_after_an_error_too() -> None:
    module = nn.Linear(4, 4).bfloat16()
    masters = MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=0.1))
    before = {name: master.detach().clone() for name, master in masters.masters.items()}
    with pytest.raises(RuntimeError, match="out of memory"), masters.split():
        raise RuntimeError("out of memory")
    assert all(torch.equal(before[name], master) for name, master in masters.masters.items())
