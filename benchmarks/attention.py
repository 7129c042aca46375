"""Packed attention by matrix products beside torch's `scaled_dot_product_attention`, one layer of SmolLM2 on one CPU.

    python benchmarks/attention.py

8 prompts of 46 tokens with 8 responses each; CPU milliseconds of one forward and backward pass, the least of three.
"""

from __future__ import annotations

import time

import torch

from sfpo_bench.attention.packing import Packing

PROMPTS, GROUP, PROMPT_TOKENS, HEADS, KV_HEADS, SIZE = 8, 8, 46, 9, 3, 64


def milliseconds(response_tokens: int, context: int, dtype: torch.dtype) -> float:
    """Of one layer's attention over all tokens of the batch; `context` is up to where scores are written out."""
    owners_B = torch.arange(PROMPTS).repeat_interleave(GROUP)
    packing = Packing.of(
        torch.full((PROMPTS,), PROMPT_TOKENS), torch.full_like(owners_B, response_tokens), owners_B, context
    )
    tokens = PROMPTS * (PROMPT_TOKENS + GROUP * response_tokens)
    inputs = [torch.randn(tokens, n, SIZE, dtype=dtype, requires_grad=True) for n in (HEADS, KV_HEADS, KV_HEADS)]
    found = []
    for _ in range(4):
        started = time.process_time()
        packing.attend(0, *inputs, SIZE**-0.5).sum().backward()
        found.append(time.process_time() - started)
    return 1000 * min(found[1:])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("| response tokens | format | products | scaled_dot_product_attention |\n|--:|:--|--:|--:|")
    for response_tokens in (12, 64, 256):
        for dtype in (torch.bfloat16, torch.float32):
            products, kernel = (milliseconds(response_tokens, context, dtype) for context in (10**6, 0))
            print(f"| {response_tokens} | {str(dtype)[6:]} | {products:.1f} | {kernel:.1f} |", flush=True)
