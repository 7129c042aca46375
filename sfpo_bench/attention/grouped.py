"""Attention of responses to one prompt: to the prompt, which they share, and each to itself.

Shape suffixes: P prompts, G responses of a prompt, L prompt tokens, T response tokens, S response tokens that may be
looked at, K key-value heads, R query heads of each of them, D numbers of a head. Grids are padded; what stands in
padding is never looked at by a token and is thrown away by the caller.

Scores of a short context are written out as matrix products over all responses of a prompt at once; longer ones, and
those on a GPU, go through torch's `scaled_dot_product_attention`, whose kernels never hold them. On a CPU the products
are faster.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# Tokens of context up to which products are the faster way on a CPU: `python benchmarks/attention.py`.
_PRODUCT_CONTEXT = {torch.bfloat16: 160, torch.float16: 160}
_PRODUCT_CONTEXT_ELSE = 64


def attend_prompts(
    queries_PLHD: Tensor, keys_PLKD: Tensor, values_PLKD: Tensor, scale: float, context: int | None = None
) -> Tensor:
    """Causal attention of each prompt to itself, [P, L, H, D]. Padding behind a prompt needs no mask."""
    length, kv_heads = keys_PLKD.shape[1:3]
    if not _by_products(queries_PLHD, length, length, context):
        return _sdpa(queries_PLHD, keys_PLKD, values_PLKD, scale, None)
    queries_PKRLD = _by_kv_head(queries_PLHD, kv_heads)
    # The R query heads of one key-value head become rows of one product: [P, K, R*L, D] @ [P, K, D, L].
    flat_PKND = (queries_PKRLD * scale).flatten(2, 3)
    scores_PKNL = flat_PKND @ keys_PLKD.permute(0, 2, 3, 1)
    scores_PKRLL = scores_PKNL.view(*queries_PKRLD.shape[:-1], length)
    # In place: nothing reads the scores before the mask, and the backward pass of softmax needs only its output.
    scores_PKRLL = scores_PKRLL.masked_fill_(_future(length, length, scores_PKNL.device), -math.inf)
    weights_PKNL = scores_PKRLL.softmax(dim=-1).view(scores_PKNL.shape)
    mixed_PKND = weights_PKNL @ values_PLKD.transpose(1, 2)
    # [P, K, R, L, D] back to tokens first, heads H = K*R in the order of the queries.
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

    `prompt_PLKD` and `own_PGSKD` are keys and values; the T queries are the last of S tokens. `prompt_padding_PL` is
    true where a prompt has ended.
    """
    prompts, group, tokens = queries_PGTHD.shape[:3]
    (length, kv_heads), seen = prompt_PLKD[0].shape[1:3], own_PGSKD[0].shape[2]
    if not _by_products(queries_PGTHD, tokens, length + seen, context):
        return _sdpa_responses(queries_PGTHD, prompt_PLKD, own_PGSKD, prompt_padding_PL, scale)
    repeats = queries_PGTHD.shape[3] // kv_heads
    split = queries_PGTHD.reshape(prompts, group, tokens, kv_heads, repeats, -1)
    # [P, G, T, K, R, D] -> [P, K, G, R*T, D]: for the prompt, all responses of it are rows of one product.
    queries_PKGND = (split * scale).permute(0, 3, 1, 4, 2, 5).flatten(3, 4)
    flat_PKMD = queries_PKGND.flatten(2, 3)
    to_prompt = flat_PKMD @ prompt_PLKD[0].permute(0, 2, 3, 1)
    if prompt_padding_PL is not None:
        # [P, K, G*R*T, L]; a shorter prompt of the grid has no keys behind its end.
        to_prompt = to_prompt.masked_fill_(prompt_padding_PL[:, None, None], -math.inf)
    # Its own tokens are looked at by a response alone: [P, K, G, R*T, D] @ [P, K, G, D, S].
    to_own = queries_PKGND @ own_PGSKD[0].permute(0, 3, 1, 4, 2)
    # One query is the newest token: nothing of S lies in its future.
    if tokens > 1:
        shape = (prompts, kv_heads, group, repeats, tokens, seen)
        to_own = to_own.view(shape).masked_fill_(_future(tokens, seen, to_own.device), -math.inf).flatten(3, 4)
    scores = torch.cat([to_prompt.view(*queries_PKGND.shape[:-1], length), to_own], dim=-1)
    # One softmax over prompt and response: splitting it would need both normalizers.
    weights = scores.softmax(dim=-1)
    mixed = weights[..., :length].flatten(2, 3) @ prompt_PLKD[1].transpose(1, 2)
    # [P, G, S, K, D] -> [P, K, G, S, D] for the values of the responses.
    mixed = mixed.view(queries_PKGND.shape) + weights[..., length:] @ own_PGSKD[1].transpose(2, 3).transpose(1, 2)
    mixed_PGTHD: Tensor = mixed.unflatten(3, (repeats, tokens)).permute(0, 2, 4, 1, 3, 5).flatten(3, 4)
    return mixed_PGTHD


def _by_products(queries: Tensor, tokens: int, context: int, limit: int | None) -> bool:
    """Whether scores are written out: on a CPU, for one token at a time and for contexts of up to `limit` tokens."""
    if limit is None:
        # In sampling the scores of one token are a single row: products win at any length.
        limit = context if tokens == 1 else _PRODUCT_CONTEXT.get(queries.dtype, _PRODUCT_CONTEXT_ELSE)
    return queries.device.type == "cpu" and context <= limit


def _by_kv_head(heads_PLHD: Tensor, kv_heads: int) -> Tensor:
    """[P, K, R, L, D]: heads that share keys and values together."""
    grouped: Tensor = heads_PLHD.unflatten(2, (kv_heads, -1)).permute(0, 2, 3, 1, 4)
    return grouped


def _future(tokens: int, seen: int, device: torch.device) -> Tensor:
    """[T, S], true where a token stands behind the one that looks; the T tokens are the last of S."""
    return torch.ones(tokens, seen, dtype=torch.bool, device=device).triu_(1 + seen - tokens)


def _sdpa(queries_BTHD: Tensor, keys_BSKD: Tensor, values_BSKD: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """torch's attention, causal where there is no mask. On a GPU heads are repeated first: with a mask its kernels want
    as many of them as the queries have."""
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
        # torch's kernel knows no shared prompt: its keys and values are copied for each response, [P*G, L+S, K, D].
        torch.cat([prompt[:, None].expand(-1, group, -1, -1, -1), own], dim=2).flatten(0, 1)
        for prompt, own in zip(prompt_PLKD, own_PGSKD, strict=True)
    )
    device = queries_PGTHD.device
    mask = torch.cat(
        [torch.ones(tokens, length, dtype=torch.bool, device=device), ~_future(tokens, seen, device)], dim=1
    ).expand(prompts, 1, 1, -1, -1)
    if prompt_padding_PL is not None:
        # [P, L+S]: false over the response, whose own padding no token looks at.
        ended = torch.nn.functional.pad(prompt_padding_PL, (0, seen))
        mask = mask & ~ended[:, None, None, None]
    mask = mask.expand(-1, group, -1, -1, -1).flatten(0, 1)
    return _sdpa(queries_PGTHD.flatten(0, 1), keys, values, scale, mask).view(queries_PGTHD.shape)
