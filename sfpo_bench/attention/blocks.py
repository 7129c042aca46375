"""Attention over a packed row by FlexAttention, which computes only the blocks that a mask needs, without padding.

Shape suffixes: M tokens of the packed row, H query heads, K key-value heads, D head size. On a GPU the kernel is
compiled; a prompt's keys and values are neither copied per response nor padded. On a CPU torch computes the same from
the whole mask, without a backward pass, which serves tests.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

_OF_PROMPT = -1


@dataclass(frozen=True, slots=True, eq=False)
class SharedPromptMask:
    """Which tokens of a packed row a token attends to: its prompt and its own response, up to itself.

    `prompts_M` is the prompt of each token and `responses_M` its response, -1 for tokens of prompts. All prompts come
    before all responses.
    """

    prompts_M: Tensor
    responses_M: Tensor
    made: dict[str, BlockMask] = field(default_factory=dict, repr=False)  # by kind of device, once asked for

    @classmethod
    def of_prompts(cls, prompt_tokens_P: Tensor) -> SharedPromptMask:
        """The mask of a row of prompts of these lengths."""
        prompts_M = _repeated(prompt_tokens_P)
        return cls(prompts_M, torch.full_like(prompts_M, _OF_PROMPT))

    def with_responses(self, response_tokens_B: Tensor, owners_B: Tensor) -> SharedPromptMask:
        """The mask of this row followed by responses of these lengths; `owners_B` is the prompt of each."""
        responses_M = _repeated(response_tokens_B)
        return SharedPromptMask(
            torch.cat([self.prompts_M, owners_B[responses_M]]), torch.cat([self.responses_M, responses_M])
        )

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        """True where the token at place `query` of the row attends to the one at `key`."""
        return _allows(self.prompts_M, self.responses_M, query, key)

    def blocks(self) -> BlockMask:
        """The blocks of the mask that have anything in them; made once for all layers."""
        device = self.prompts_M.device.type
        if device not in self.made:
            from torch.nn.attention.flex_attention import create_block_mask

            prompts_M, responses_M, tokens = self.prompts_M, self.responses_M, len(self.prompts_M)

            def allows(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
                return _allows(prompts_M, responses_M, query, key)

            # Compiled, the mask is never whole in memory.
            compiled = device == "cuda"
            self.made[device] = create_block_mask(allows, None, None, tokens, tokens, device=device, _compile=compiled)
        return self.made[device]

    def attend(self, queries_MHD: Tensor, keys_MKD: Tensor, values_MKD: Tensor, scale: float) -> Tensor:
        """The attention output of every token, [M, H, D]."""
        queries, keys, values = (x.transpose(0, 1)[None] for x in (queries_MHD, keys_MKD, values_MKD))
        kernel = _kernel(compiled=queries.device.type == "cuda")
        shared = queries.shape[1] != keys.shape[1]
        mixed: Tensor = kernel(queries, keys, values, block_mask=self.blocks(), scale=scale, enable_gqa=shared)
        return mixed[0].transpose(0, 1)


def suits(device: torch.device | str) -> bool:
    """Whether a device could use the compiled kernel: a GPU with Triton."""
    if torch.device(device).type != "cuda":
        return False
    from torch.utils._triton import has_triton

    return bool(has_triton())


@cache
def works(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, size: int) -> bool:
    """Whether the compiled kernel runs here and agrees with torch's attention, with its gradients; tried once.

    Where it does not, a warning says why.
    """
    if not suits(device) or dtype not in (torch.bfloat16, torch.float16, torch.float32):
        return False
    try:
        difference = _difference(device, dtype, heads, kv_heads, size)
    except Exception as error:  # whatever a compiler raises
        warnings.warn(f"FlexAttention does not run here ({error}); attention uses padded grids", stacklevel=2)
        return False
    # Of numbers near 1, in another order of summing.
    if difference > (1e-2 if dtype is torch.float32 else 1e-1):
        warnings.warn(
            f"FlexAttention differs from torch's attention by {difference:.2g}; attention uses padded grids",
            stacklevel=2,
        )
        return False
    return True


def dense_attention(mask: SharedPromptMask, queries_MHD: Tensor, keys_MKD: Tensor, values_MKD: Tensor) -> Tensor:
    """The output of `SharedPromptMask.attend` at scale 1 from the whole mask [M, M], by torch's attention."""
    places = torch.arange(len(mask.prompts_M), device=mask.prompts_M.device)
    allowed_MM = mask.allows(places[:, None], places[None])
    repeats = queries_MHD.shape[1] // keys_MKD.shape[1]
    queries, keys, values = (x.transpose(0, 1)[None] for x in (queries_MHD, keys_MKD, values_MKD))
    keys, values = (x.repeat_interleave(repeats, dim=1) for x in (keys, values))
    return scaled_dot_product_attention(queries, keys, values, attn_mask=allowed_MM, scale=1.0)[0].transpose(0, 1)


def _difference(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, size: int) -> float:
    """The largest difference of outputs and gradients on two prompts with three responses, longer than a block."""
    tokens = [150, 20], [130, 1, 40], [0, 0, 1]
    prompts, responses, owners = (torch.tensor(x, device=device) for x in tokens)
    mask = SharedPromptMask.of_prompts(prompts).with_responses(responses, owners)
    source = torch.Generator().manual_seed(0)
    drawn = [
        torch.randn(len(mask.prompts_M), count, size, generator=source) / size**0.25
        for count in (heads, kv_heads, kv_heads)
    ]
    found = []
    for by_blocks in (True, False):
        inputs = [x.to(device, dtype).requires_grad_() for x in drawn]
        queries, keys, values = inputs
        with torch.enable_grad():
            output = (
                mask.attend(queries, keys, values, 1.0) if by_blocks else dense_attention(mask, queries, keys, values)
            )
            output.float().square().mean(dim=-1).sum().backward()
        found.append([output, *(x.grad for x in inputs)])
    pairs = zip(*found, strict=True)
    return max(float((a.detach().float() - b.detach().float()).abs().max()) for a, b in pairs)


def _repeated(tokens_X: Tensor) -> Tensor:
    """The index of the sequence that each token belongs to, for sequences of these lengths."""
    return torch.arange(len(tokens_X), device=tokens_X.device).repeat_interleave(tokens_X)


def _allows(prompts_M: Tensor, responses_M: Tensor, query: Tensor, key: Tensor) -> Tensor:
    own = responses_M[key] == responses_M[query]
    of_prompt = responses_M[key] == _OF_PROMPT
    return (key <= query) & (prompts_M[key] == prompts_M[query]) & (own | of_prompt)


@cache
def _kernel(*, compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if compiled else flex_attention
