"""Packed attention is the model's own attention, whichever way its scores are computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sfpo_bench.attention.decoding import Decoding
from sfpo_bench.attention.packing import Packing

HEADS, KV_HEADS, SIZE = 4, 2, 8
PROMPTS = torch.tensor([5, 2, 3])
RESPONSES = torch.tensor([4, 0, 1, 3, 6])
OWNERS = torch.tensor([0, 0, 1, 2, 2])


def heads(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    tokens = int(PROMPTS.sum() + RESPONSES.sum())
    return tuple(  # type: ignore[return-value]  # it makes three of them
        torch.randn(tokens, count, SIZE, generator=source, dtype=torch.float64, requires_grad=True)
        for count in (HEADS, KV_HEADS, KV_HEADS)
    )


def by_the_formula(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """One token and one head at a time."""
    starts = PROMPTS.cumsum(0) - PROMPTS
    seen = [list(range(int(s), int(s) + t + 1)) for s, p in zip(starts, PROMPTS, strict=True) for t in range(int(p))]
    place = int(PROMPTS.sum())
    for owner, length in zip(OWNERS.tolist(), RESPONSES.tolist(), strict=True):
        prompt = list(range(int(starts[owner]), int(starts[owner] + PROMPTS[owner])))
        seen += [prompt + list(range(place, place + t + 1)) for t in range(length)]
        place += length
    rows = []
    for token, others in enumerate(seen):
        for head in range(HEADS):
            shared = head * KV_HEADS // HEADS
            scores = scale * keys[others, shared] @ queries[token, head]
            rows.append(scores.softmax(0) @ values[others, shared])
    return torch.stack(rows).view(len(seen), HEADS, SIZE)


@pytest.mark.parametrize("context", [1024, 0], ids=["products", "sdpa"])
def test_packed_attention_and_its_gradients_are_those_of_the_formula(context: int) -> None:
    found = []
    for attend in (by_the_formula, None):
        inputs = heads()
        if attend is None:
            mixed = Packing.of(PROMPTS, RESPONSES, OWNERS, context).attend(0, *inputs, 0.3)
        else:
            mixed = attend(*inputs, 0.3)
        (mixed * torch.arange(mixed.numel()).view_as(mixed).cos()).sum().backward()
        found.append([mixed, *(x.grad for x in inputs)])
    for a, b in zip(*found, strict=True):
        assert a is not None and b is not None and torch.allclose(a, b, atol=1e-12)


def test_sampling_token_by_token_sees_what_the_packed_row_sees() -> None:
    """Responses of unequal length that leave on the way, some prompts with them."""
    queries, keys, values = (x.detach() for x in heads())
    expected = Packing.of(PROMPTS, RESPONSES, OWNERS).attend(0, queries, keys, values, 0.3)
    first = int(PROMPTS.sum())
    decoding = Decoding(PROMPTS)
    found = decoding.attend(0, queries[:first], keys[:first], values[:first], 0.3)
    assert torch.allclose(found, expected[:first], atol=1e-12)
    starts = first + RESPONSES.cumsum(0) - RESPONSES
    live = torch.arange(len(OWNERS))
    decoding.begin(OWNERS)
    for token in range(int(RESPONSES.max())):
        kept = RESPONSES[live] > token
        if not kept.all():
            decoding.keep(kept.nonzero()[:, 0])
            live = live[kept]
        rows = starts[live] + token
        decoding.advance()
        found = decoding.attend(0, queries[rows], keys[rows], values[rows], 0.3)
        assert torch.allclose(found, expected[rows], atol=1e-12)


def test_the_room_for_response_tokens_grows_with_what_is_in_it() -> None:
    source = torch.Generator().manual_seed(1)
    prompt, length = torch.tensor([3]), 70  # past two doublings
    q, k, v = (torch.randn(3 + length, n, SIZE, generator=source) for n in (HEADS, KV_HEADS, KV_HEADS))
    expected = Packing.of(prompt, torch.tensor([length]), torch.tensor([0])).attend(0, q, k, v, 0.3)
    decoding = Decoding(prompt)
    decoding.attend(0, q[:3], k[:3], v[:3], 0.3)
    decoding.begin(torch.tensor([0]))
    for place in range(3, 3 + length):
        decoding.advance()
        found = decoding.attend(0, q[place : place + 1], k[place : place + 1], v[place : place + 1], 0.3)
        assert torch.allclose(found, expected[place : place + 1], atol=1e-5)
