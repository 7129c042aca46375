"""Registers this package's attention with transformers, which selects it by name without patching models."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sfpo_bench.attention.decoding import Decoding
from sfpo_bench.attention.packing import Packing

NAME = "sfpo_bench"


class Attention(Protocol):
    """Attention over one row of packed tokens, called once per layer."""

    def attend(self, layer: int, queries_NHD: Tensor, keys_NKD: Tensor, values_NKD: Tensor, scale: float) -> Tensor:
        """The attention output of each token, [N, H, D]."""
        ...


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packed: Attention | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' sdpa, or packed attention where the model is called with `packed`: [1, H, N, D] to [1, N, H, D].

    Raises `NotImplementedError` for dropout, a sliding window, a soft cap or sinks.
    """
    if packed is None:
        mixed, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return mixed, None
    unknown = [name for name in ("dropout", "sliding_window", "softcap", "s_aux", "position_bias") if kwargs.get(name)]
    if unknown:
        raise NotImplementedError(f"packed attention does not support {', '.join(unknown)}")
    layer: Any = module  # its attributes depend on the architecture
    scale = layer.head_dim**-0.5 if scaling is None else scaling
    # transformers passes [1, H, N, D], since the packed row is a batch of one.
    queries, keys, values = (x[0].transpose(0, 1) for x in (query, key, value))
    return packed.attend(int(layer.layer_idx), queries, keys, values, scale)[None], None


def run(model: nn.Module, ids_N: Tensor, positions_N: Tensor, packed: Attention, **kwargs: Any) -> Any:
    """Call a model (or its base model) on one row of packed tokens."""
    # transformers passes a four-dimensional mask on unchanged, and `attention` ignores it.
    no_mask = torch.empty(1, 1, 1, 1, dtype=torch.bool, device=ids_N.device)
    return model(
        input_ids=ids_N[None],
        attention_mask=no_mask,
        position_ids=positions_N[None],
        use_cache=False,
        packed=packed,
        **kwargs,
    )


def positions_of(tokens_B: Tensor, first_B: Tensor) -> Tensor:
    """Positions of packed tokens, [N], for sequences of these lengths whose positions start at `first_B`."""
    ends_B = tokens_B.cumsum(0)
    # Per token: the first position of its sequence minus the sequence's offset in the row; adding the index gives the
    # position.
    start_N = torch.repeat_interleave(first_B - (ends_B - tokens_B), tokens_B)
    return start_N + torch.arange(len(start_N), device=start_N.device)


def packs(model: PreTrainedModel) -> bool:
    """Enable packed attention on `model` and test it; return whether the model supports it.

    The test compares hidden states with the model's own, for training and for sampling. A model that fails is left
    unchanged: one whose attention does not use transformers' interface, or has windows, caps or sinks.
    """
    if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()):
        return False
    before = model.config._attn_implementation
    if before == NAME:
        return True
    if before not in ("sdpa", "eager"):
        return False
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation == NAME and _agrees(model):
        return True
    model.set_attn_implementation(before)
    return False


def _agrees(model: PreTrainedModel) -> bool:
    base, device = model.base_model, model.device
    embeddings: Any = model.get_input_embeddings()
    vocabulary = int(embeddings.weight.shape[0])
    # Two prompts of unequal length with two responses and one cover every branch of packing.
    ids = torch.linspace(0, vocabulary - 1, 16, device=device).long()
    prompts, responses = [ids[:5], ids[5:8]], [ids[8:12], ids[12:14], ids[13:16]]
    owners = [0, 0, 1]
    prompt_tokens, response_tokens = (torch.tensor([len(x) for x in xs], device=device) for xs in (prompts, responses))
    owners_B = torch.tensor(owners, device=device)
    first_B = prompt_tokens[owners_B]
    packing = Packing.of(prompt_tokens, response_tokens, owners_B)
    positions_N = torch.cat(
        [positions_of(prompt_tokens, torch.zeros_like(prompt_tokens)), positions_of(response_tokens, first_B)]
    )
    rows = [torch.cat([prompts[p], r]) for p, r in zip(owners, responses, strict=True)]
    with torch.no_grad():
        try:
            own = [base(input_ids=row[None], use_cache=False).last_hidden_state[0] for row in rows]
            own_NH = torch.cat([hidden[-len(r) :] for hidden, r in zip(own, responses, strict=True)])
            packed_NH = run(base, torch.cat(prompts + responses), positions_N, packing).last_hidden_state[0]
            sampled_NH = _sampled(base, prompts, responses, owners_B)
        except (AttributeError, TypeError, ValueError, NotImplementedError):
            return False  # another attention, or a state other than keys and values

    # Relative to the largest hidden state: bfloat16 has 8 bits, and sums are in another order.
    tolerance = 0.1 if own_NH.dtype == torch.bfloat16 else 1e-3
    scale = float(own_NH.float().abs().max())
    difference = (packed_NH[-len(own_NH) :] - own_NH).float().abs().max()
    first_places = response_tokens.cumsum(0) - response_tokens
    one_token = (sampled_NH - own_NH[first_places]).float().abs().max()
    return float(difference.maximum(one_token)) <= tolerance * scale


def _sampled(base: nn.Module, prompts: list[Tensor], responses: list[Tensor], owners_B: Tensor) -> Tensor:
    """Hidden states of each response's first token, computed with `Decoding`."""
    tokens_P = torch.tensor([len(prompt) for prompt in prompts], device=owners_B.device)
    decoding = Decoding(tokens_P)
    run(base, torch.cat(prompts), positions_of(tokens_P, torch.zeros_like(tokens_P)), decoding)
    decoding.begin(owners_B)
    decoding.advance()
    first_B = torch.stack([response[0] for response in responses])
    hidden: Tensor = run(base, first_B, tokens_P[owners_B], decoding).last_hidden_state[0]
    return hidden


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
