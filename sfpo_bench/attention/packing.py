"""Packs prompts and responses of unequal lengths into one row of tokens, each prompt once and without padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfpo_bench.attention.blocks import SharedPromptMask, works
from sfpo_bench.attention.grouped import attend_prompts, attend_responses
from sfpo_bench.attention.slots import Slots


@dataclass(frozen=True, slots=True)
class Packing:
    """The layout of a packed row: all prompts, then all responses grouped by prompt.

    Attention uses `mask` where FlexAttention works; elsewhere grids, [P, L] of prompts and [P, G, T] of responses, with
    G the largest number of responses to a prompt. The rest of the model sees only the N packed tokens. `context` is the
    length up to which attention on grids uses matrix products; None chooses the faster way.
    """

    prompts: Slots
    responses: Slots | None
    prompt_padding_PL: Tensor | None
    mask: SharedPromptMask
    context: int | None = None

    @classmethod
    def of(
        cls, prompt_tokens_P: Tensor, response_tokens_B: Tensor, owners_B: Tensor, context: int | None = None
    ) -> Packing:
        """The packing of prompts and responses of these lengths.

        `owners_B` is the prompt of each response, ascending. A response may have no tokens.
        """
        alone, prompts = cls.of_prompts(prompt_tokens_P, context), len(prompt_tokens_P)
        counts_P = torch.bincount(owners_B, minlength=prompts)
        first_P = counts_P.cumsum(0) - counts_P
        # A response's index in the flattened grid [P * G] is prompt * G + its number within the prompt.
        place_B = owners_B * int(counts_P.max()) + torch.arange(len(owners_B), device=owners_B.device)
        place_B = place_B - first_P[owners_B]
        real_BT = _real(response_tokens_B)
        rows_N, tokens_N = real_BT.nonzero(as_tuple=True)
        group, width = int(counts_P.max()), real_BT.shape[1]
        # Flat indices into [P, G, T]; None when no response has a token.
        grid = Slots(place_B[rows_N] * width + tokens_N, (prompts, group, width)) if len(rows_N) else None
        mask = alone.mask.with_responses(response_tokens_B, owners_B)
        return cls(alone.prompts, grid, alone.prompt_padding_PL, mask, context)

    @classmethod
    def of_prompts(cls, prompt_tokens_P: Tensor, context: int | None = None) -> Packing:
        """The packing of prompts of these lengths, without responses."""
        real_PL = _real(prompt_tokens_P)
        places_N = real_PL.flatten().nonzero()[:, 0]
        padding_PL = None if bool(real_PL.all()) else ~real_PL
        mask = SharedPromptMask.of_prompts(prompt_tokens_P)
        return cls(Slots(places_N, tuple(real_PL.shape)), None, padding_PL, mask, context)

    def attend(self, layer: int, queries_NHD: Tensor, keys_NKD: Tensor, values_NKD: Tensor, scale: float) -> Tensor:
        """The attention output of every packed token, [N, H, D]; equal in form for all layers."""
        heads, kv_heads, size = queries_NHD.shape[1], *keys_NKD.shape[1:]
        if works(queries_NHD.device, queries_NHD.dtype, heads, kv_heads, size):
            return self.mask.attend(queries_NHD, keys_NKD, values_NKD, scale)
        # The first `split` of the N packed tokens are prompts, the rest responses.
        split = len(self.prompts.places_N)
        queries, keys, values = (self.prompts.place(x[:split]) for x in (queries_NHD, keys_NKD, values_NKD))
        mixed = self.prompts.pick(attend_prompts(queries, keys, values, scale, self.context))
        if self.responses is None:
            return mixed
        own_queries, own_keys, own_values = (
            self.responses.place(x[split:]) for x in (queries_NHD, keys_NKD, values_NKD)
        )
        answered = attend_responses(
            own_queries, (keys, values), (own_keys, own_values), self.prompt_padding_PL, scale, self.context
        )
        return torch.cat([mixed, self.responses.pick(answered)])


def _real(tokens_B: Tensor) -> Tensor:
    """The mask [B, longest] of valid tokens for sequences of these lengths."""
    return torch.arange(int(tokens_B.max()), device=tokens_B.device) < tokens_B[:, None]
