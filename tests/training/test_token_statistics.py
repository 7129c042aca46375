"""Statistics of tokens and their gradients are those that autograd takes from a table of all logits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sfpo_bench.training.token_statistics import token_statistics

TOKENS, HIDDEN, WORDS = 7, 5, 11


def head(dtype: torch.dtype, *, bias: bool) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Hidden states, weight and bias of a head, targets."""
    source = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, HIDDEN, generator=source, dtype=torch.float64) for n in (TOKENS, WORDS))
    shift = 3 * torch.randn(WORDS, generator=source, dtype=torch.float64) if bias else None
    parts = [None if part is None else part.to(dtype).requires_grad_(True) for part in (hidden, weight, shift)]
    assert parts[0] is not None and parts[1] is not None
    return parts[0], parts[1], parts[2], torch.randint(WORDS, (TOKENS,), generator=source)


def written_out(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    log_p = logits.log_softmax(dim=1)
    return log_p.gather(1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(dim=1)


@pytest.mark.parametrize("chunk", [100, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_whole_table(bias: bool, temperature: float, chunk: int) -> None:
    hidden, weight, shift, targets = head(torch.float64, bias=bias)
    leaves = [hidden, weight] if shift is None else [hidden, weight, shift]
    factors = torch.linspace(-1, 2, TOKENS, dtype=torch.float64)
    found, expected = (
        token_statistics(hidden, weight, shift, targets, temperature, chunk, entropy_gradient=True),
        written_out(torch.nn.functional.linear(hidden, weight, shift) / temperature, targets),
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
    slopes = [
        torch.autograd.grad((factors * log_probs).sum() + (factors.flip(0) * entropies).sum(), leaves)
        for log_probs, entropies in (found, expected)
    ]
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(*slopes, strict=True))


def test_a_gradient_of_the_log_probs_alone_is_that_of_the_whole_table() -> None:
    hidden, weight, shift, targets = head(torch.float64, bias=True)
    found, entropies = token_statistics(hidden, weight, shift, targets, 0.6, 3)
    expected, _ = written_out(torch.nn.functional.linear(hidden, weight, shift) / 0.6, targets)
    assert not entropies.requires_grad
    slopes = [torch.autograd.grad(one.square().sum(), [hidden, weight]) for one in (found, expected)]
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(*slopes, strict=True))


def test_logits_far_from_zero_lose_nothing() -> None:
    """A shift of every logit changes neither log-probs nor entropies; exp(1000) has no value."""
    hidden, weight, shift, targets = head(torch.float64, bias=True)
    assert shift is not None
    near, far = (token_statistics(hidden, weight, shift + by, targets, 1.0, 100) for by in (0.0, 1000.0))
    assert all(torch.allclose(one, other, atol=1e-10) for one, other in zip(near, far, strict=True))


def test_a_word_without_probability_adds_nothing() -> None:
    hidden, weight, shift, targets = head(torch.float64, bias=True)
    assert shift is not None
    closed = shift.detach().clone()
    closed[4], targets[targets == 4] = -math.inf, 3
    found = token_statistics(hidden, weight, closed, targets, 0.6, 3, entropy_gradient=True)
    kept = [word for word in range(WORDS) if word != 4]
    fewer = torch.tensor([kept.index(word) for word in targets.tolist()])
    expected = written_out(torch.nn.functional.linear(hidden, weight[kept], closed[kept]) / 0.6, fewer)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
    slopes = [torch.autograd.grad(found_or[0].sum() + found_or[1].sum(), hidden) for found_or in (found, expected)]
    assert torch.allclose(slopes[0][0], slopes[1][0], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_of_a_narrower_head_the_statistics_are_taken_in_fp32(dtype: torch.dtype) -> None:
    hidden, weight, shift, targets = head(dtype, bias=True)
    found = token_statistics(hidden, weight, shift, targets, 0.6, 100)
    expected = written_out(torch.nn.functional.linear(hidden, weight, shift).double() / 0.6, targets)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32 and torch.allclose(one.double(), other, rtol=1e-5, atol=1e-6)
