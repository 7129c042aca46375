"""Attention of responses to their shared prompt and to themselves.

Shape suffixes: P prompts, G responses per prompt, L prompt tokens, T response tokens (queries), S response tokens with
keys, K key-value heads, R query heads per key-value head, D head size. Grids are padded; no token attends to padding,
and the caller discards the output there.

For short contexts on a CPU, scores are explicit matrix products over all responses of a prompt, which is faster there.
Longer contexts, and all on a GPU, use torch's `scaled_dot_product_attention`, whose kernels do not store the scores.
Packed rows on a GPU use `sfpo_bench/attention/blocks.py` instead, where that works.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# Context length up to which matrix products are faster on a CPU; measured by `python benchmarks/attention.py`.
_PRODUCT_CONTEXT = {torch.bfloat16: 160, torch.float16: 160}
_PRODUCT_CONTEXT_ELSE = 64


def attend_prompts(
    queries_PLHD: Tensor, keys_PLKD: Tensor, values_PLKD: Tensor, scale: float, context: int | None = None
) -> Tensor:
    """Causal attention of each prompt to itself, [P, L, H, D]. Right padding needs no mask."""
    length, kv_heads = keys_PLKD.shape[1:3]
    if not _by_products(queries_PLHD, length, length, context):
        return _sdpa(queries_PLHD, keys_PLKD, values_PLKD, scale, None)
    queries_PKRLD = _by_kv_head(queries_PLHD, kv_heads)
    # The R query heads of a key-value head are rows of one product: [P, K, R*L, D] @ [P, K, D, L].
    flat_PKND = (queries_PKRLD * scale).flatten(2, 3)
    scores_PKNL = flat_PKND @ keys_PLKD.permute(0, 2, 3, 1)
    scores_PKRLL = scores_PKNL.view(*queries_PKRLD.shape[:-1], length)
    # In place: nothing else reads the unmasked scores, and the backward pass of softmax needs only its output.
    scores_PKRLL = scores_PKRLL.masked_fill_(_future(length, length, scores_PKNL.device), -math.inf)
    weights_PKNL = scores_PKRLL.softmax(dim=-1).view(scores_PKNL.shape)
    mixed_PKND = weights_PKNL @ values_PLKD.transpose(1, 2)
    # [P, K, R, L, D] -> [P, L, H, D], with heads H = K*R in query order.
    mixed_PLHD: Tensor = mixed_PKND.view(queries_PKRLD.shape).permute(0, 3, 1, 2, 4).flatten(2, 3)
    return mixed_PLHD


def attend_responses(
    queries_PGTHD: Tensor,
    prompt_PLKD: tuple[Tensor, Tensor],
    own_PGSKD: tuple[Tensor, Tensor],
    prompt_padding_PL: Tensor | None,
    scale: float,
    context: int | None = None,
) -> Tensor:
    """Attention of each response to its prompt and, causally, to itself, [P, G, T, H, D].

    `prompt_PLKD` and `own_PGSKD` are pairs of keys and values. The T queries are the last of S tokens.
    `prompt_padding_PL` is True on padding.
    """
    prompts, group, tokens = queries_PGTHD.shape[:3]
    (length, kv_heads), seen = prompt_PLKD[0].shape[1:3], own_PGSKD[0].shape[2]
    if not _by_products(queries_PGTHD, tokens, length + seen, context):
        return _sdpa_responses(queries_PGTHD, prompt_PLKD, own_PGSKD, prompt_padding_PL, scale)
    repeats = queries_PGTHD.shape[3] // kv_heads
    split = queries_PGTHD.reshape(prompts, group, tokens, kv_heads, repeats, -1)
    # [P, G, T, K, R, D] -> [P, K, G, R*T, D]: all responses to a prompt are rows of one product with it.
    queries_PKGND = (split * scale).permute(0, 3, 1, 4, 2, 5).flatten(3, 4)
    flat_PKMD = queries_PKGND.flatten(2, 3)
    to_prompt = flat_PKMD @ prompt_PLKD[0].permute(0, 2, 3, 1)
    if prompt_padding_PL is not None:
        # [P, K, G*R*T, L]; mask the padding of shorter prompts.
        to_prompt = to_prompt.masked_fill_(prompt_padding_PL[:, None, None], -math.inf)
    # Each response attends to its own tokens: [P, K, G, R*T, D] @ [P, K, G, D, S].
    to_own = queries_PKGND @ own_PGSKD[0].permute(0, 3, 1, 4, 2)
    # A single query is the newest token, which needs no causal mask.
    if tokens > 1:
        shape = (prompts, kv_heads, group, repeats, tokens, seen)
        to_own = to_own.view(shape).masked_fill_(_future(tokens, seen, to_own.device), -math.inf).flatten(3, 4)
    scores = torch.cat([to_prompt.view(*queries_PKGND.shape[:-1], length), to_own], dim=-1)
    # One softmax over prompt and response tokens, so no normalizers need to be combined.
    weights = scores.softmax(dim=-1)
    mixed = weights[..., :length].flatten(2, 3) @ prompt_PLKD[1].transpose(1, 2)
    # [P, G, S, K, D] -> [P, K, G, S, D] for the values of the responses.
    mixed = mixed.view(queries_PKGND.shape) + weights[..., length:] @ own_PGSKD[1].transpose(2, 3).transpose(1, 2)
    mixed_PGTHD: Tensor = mixed.unflatten(3, (repeats, tokens)).permute(0, 2, 4, 1, 3, 5).flatten(3, 4)
    return mixed_PGTHD


def _by_products(queries: Tensor, tokens: int, context: int, limit: int | None) -> bool:
    """True where attention uses matrix products: on a CPU, for single queries or contexts of up to `limit` tokens."""
    if limit is None:
        # The scores of a single query are one row; matrix products are faster at any length.
        limit = context if tokens == 1 else _PRODUCT_CONTEXT.get(queries.dtype, _PRODUCT_CONTEXT_ELSE)
    return queries.device.type == "cpu" and context <= limit


def _by_kv_head(heads_PLHD: Tensor, kv_heads: int) -> Tensor:
    """The heads grouped by key-value head, [P, K, R, L, D]."""
    grouped: Tensor = heads_PLHD.unflatten(2, (kv_heads, -1)).permute(0, 2, 3, 1, 4)
    return grouped


def _future(tokens: int, seen: int, device: torch.device) -> Tensor:
    """The causal mask [T, S], True where the key is later than the query; the T queries are the last of S tokens."""
    return torch.ones(tokens, seen, dtype=torch.bool, device=device).triu_(1 + seen - tokens)


def _sdpa(queries_BTHD: Tensor, keys_BSKD: Tensor, values_BSKD: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """torch's attention; causal without a mask.

    On a GPU key-value heads are repeated, since torch's kernels with a mask need as many of them as query heads.
    """
    queries, keys, values = (x.transpose(1, 2) for x in (queries_BTHD, keys_BSKD, values_BSKD))
    shared = queries.device.type == "cpu"
    if not shared:
        keys, values = (x.repeat_interleave(queries.shape[1] // x.shape[1], dim=1) for x in (keys, values))
    mixed = scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=shared
    )
    return mixed.transpose(1, 2)


def _sdpa_responses(
    queries_PGTHD: Tensor,
    prompt_PLKD: tuple[Tensor, Tensor],
    own_PGSKD: tuple[Tensor, Tensor],
    prompt_padding_PL: Tensor | None,
    scale: float,
) -> Tensor:
    prompts, group, tokens = queries_PGTHD.shape[:3]
    length, seen = prompt_PLKD[0].shape[1], own_PGSKD[0].shape[2]
    keys, values = (
        # torch's kernel does not support a shared prompt, so its keys and values are copied per response:
        # [P*G, L+S, K, D].
        torch.cat([prompt[:, None].expand(-1, group, -1, -1, -1), own], dim=2).flatten(0, 1)
        for prompt, own in zip(prompt_PLKD, own_PGSKD, strict=True)
    )
    device = queries_PGTHD.device
    mask = torch.cat(
        [torch.ones(tokens, length, dtype=torch.bool, device=device), ~_future(tokens, seen, device)], dim=1
    ).expand(prompts, 1, 1, -1, -1)
    if prompt_padding_PL is not None:
        # [P, L+S]: False over the responses, whose right padding the causal mask covers.
        ended = torch.nn.functional.pad(prompt_padding_PL, (0, seen))
        mask = mask & ~ended[:, None, None, None]
    mask = mask.expand(-1, group, -1, -1, -1).flatten(0, 1)
    return _sdpa(queries_PGTHD.flatten(0, 1), keys, values, scale, mask).view(queries_PGTHD.shape)
