"""The mask of a packed row allows what attention on grids computes; FlexAttention computes the same through it."""

from __future__ import annotations

import shutil

import pytest
import torch
import torch._dynamo
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfpo_bench.attention import packing as packing_module
from sfpo_bench.attention.blocks import SharedPromptMask, _kernel, dense_attention, suits, works
from sfpo_bench.attention.packing import Packing

# On a CPU torch computes it without compiling it, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without")
HEADS, KV_HEADS, SIZE = 4, 2, 16
ROWS = st.lists(st.tuples(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=4)), min_size=1, max_size=4)
Rows = list[tuple[int, list[int]]]


def lengths(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of the prompts, tokens of the responses, and the prompt of each response."""
    owners = [number for number, (_, responses) in enumerate(rows) for _ in responses]
    flat = [tokens for _, responses in rows for tokens in responses]
    return torch.tensor([prompt for prompt, _ in rows]), torch.tensor(flat, dtype=torch.int64), torch.tensor(owners)


def tokens_of(count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values."""
    source = torch.Generator().manual_seed(3)
    queries, keys, values = (
        torch.randn(count, heads, SIZE, generator=source, dtype=dtype) for heads in (HEADS, KV_HEADS, KV_HEADS)
    )
    return queries, keys, values


@given(ROWS)
def test_a_token_attends_to_its_prompt_and_its_own_response_up_to_itself(rows: Rows) -> None:
    prompts, responses, owners = lengths(rows)
    mask = SharedPromptMask.of_prompts(prompts).with_responses(responses, owners.long())
    seen: list[set[int]] = []
    starts = [sum(prompt for prompt, _ in rows[:number]) for number in range(len(rows))]
    for start, (prompt, _) in zip(starts, rows, strict=True):
        seen += [set(range(start, start + place + 1)) for place in range(prompt)]
    for start, (prompt, own) in zip(starts, rows, strict=True):
        for tokens in own:
            first = len(seen)
            seen += [set(range(start, start + prompt)) | set(range(first, first + t + 1)) for t in range(tokens)]
    places = torch.arange(len(seen))
    allowed = mask.allows(places[:, None], places[None])
    assert [set(row.nonzero()[:, 0].tolist()) for row in allowed] == seen


@pytest.mark.parametrize("rows", [[(5, [4, 0]), (2, [1]), (3, [3, 6])], [(130, [140, 3]), (7, [129])], [(4, [])]])
def test_flex_attention_through_the_mask_is_attention_on_grids(rows: Rows) -> None:
    prompts, responses, owners = lengths(rows)
    made = Packing.of(prompts, responses, owners) if len(owners) else Packing.of_prompts(prompts)
    inputs = tokens_of(int(prompts.sum() + responses.sum()), torch.float32)
    with torch.no_grad():
        assert torch.allclose(made.mask.attend(*inputs, 0.3), made.attend(0, *inputs, 0.3), atol=2e-6)


def test_gradients_through_the_mask_are_those_of_attention_on_grids() -> None:
    prompts, responses, owners = lengths([(5, [4, 0]), (2, [1]), (3, [3, 6])])
    made = Packing.of(prompts, responses, owners)
    found = []
    for on_grids in (True, False):
        queries, keys, values = inputs = [x.requires_grad_() for x in tokens_of(24, torch.float64)]
        mixed = (
            made.attend(0, queries, keys, values, 1.0)
            if on_grids
            else dense_attention(made.mask, queries, keys, values)
        )
        (mixed * torch.arange(mixed.numel()).view_as(mixed).cos()).sum().backward()
        found.append([mixed, *(x.grad for x in inputs)])
    for a, b in zip(*found, strict=True):
        assert a is not None and b is not None and torch.allclose(a, b, atol=1e-12)


def test_blocks_are_made_once_and_leave_out_what_nothing_attends_to() -> None:
    made = Packing.of(torch.tensor([300]), torch.tensor([400, 400]), torch.tensor([0, 0]))
    blocks = made.mask.blocks()
    assert made.mask.blocks() is blocks
    # 9 x 9 blocks of 128 tokens, 45 of them causal. Blocks 3 and 4 hold tokens of the first response alone, which the
    # rows of blocks 6 to 8, of the second response alone, do not see.
    full = blocks.full_kv_num_blocks
    assert full is not None and int(blocks.kv_num_blocks.sum() + full.sum()) == 45 - 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
def test_the_compiled_kernel_serves_rows_of_every_length_after_two_compilations() -> None:
    source = torch.Generator().manual_seed(0)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for _ in range(6):
        prompts, responses = (torch.randint(1, 90, (count,), generator=source) for count in (3, 7))
        made = Packing.of(prompts, responses, torch.tensor([0, 0, 0, 1, 1, 2, 2]))
        queries, keys, values = tokens_of(int(prompts.sum() + responses.sum()), torch.float32)
        with torch.no_grad():
            compiled = _kernel(compiled=True)(
                *(x.transpose(0, 1)[None] for x in (queries, keys, values)),
                block_mask=made.mask.blocks(), scale=0.3, enable_gqa=True,
            )[0].transpose(0, 1)  # fmt: skip
            assert torch.allclose(compiled, made.attend(0, queries, keys, values, 0.3), atol=3e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


def test_a_packed_row_uses_the_mask_where_the_kernel_works(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert not suits(cpu) and not works(cpu, torch.float32, HEADS, KV_HEADS, SIZE)
    made = Packing.of(torch.tensor([3]), torch.tensor([2]), torch.tensor([0]))
    inputs = tokens_of(5, torch.float32)
    with torch.no_grad():
        on_grids = made.attend(0, *inputs, 0.3)
        monkeypatch.setattr(packing_module, "works", lambda *_: True)
        by_blocks = made.attend(0, *inputs, 0.3)
    assert torch.equal(by_blocks, made.mask.attend(*inputs, 0.3))
    assert torch.allclose(by_blocks, on_grids, atol=2e-6)
