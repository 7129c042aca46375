"""Prompts and responses of unequal lengths as one row of tokens, each prompt once and nothing padded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfpo_bench.attention.grouped import attend_prompts, attend_responses
from sfpo_bench.attention.slots import Slots


@dataclass(frozen=True, slots=True)
class Packing:
    """How a packed row is made up: all prompts one after another, then the responses, those of a prompt together.

    Attention looks at grids: [P, L] of prompts and [P, G, T] of responses, G the most of one prompt. Everything else in
    a model sees the N packed tokens alone. `context` is the length up to which scores are written out; None: where that
    is faster.
    """

    prompts: Slots
    responses: Slots | None
    prompt_padding_PL: Tensor | None
    context: int | None = None

    @classmethod
    def of(
        cls, prompt_tokens_P: Tensor, response_tokens_B: Tensor, owners_B: Tensor, context: int | None = None
    ) -> Packing:
        """The packing of prompts and responses of these lengths. `owners_B`, ascending, is the prompt of a response; a
        response may have no token."""
        alone, prompts = cls.of_prompts(prompt_tokens_P, context), len(prompt_tokens_P)
        counts_P = torch.bincount(owners_B, minlength=prompts)
        first_P = counts_P.cumsum(0) - counts_P
        # Row of a response in the flattened grid [P * G]: prompt * G + its number within the prompt.
        place_B = owners_B * int(counts_P.max()) + torch.arange(len(owners_B), device=owners_B.device)
        place_B = place_B - first_P[owners_B]
        real_BT = _real(response_tokens_B)
        rows_N, tokens_N = real_BT.nonzero(as_tuple=True)
        group, width = int(counts_P.max()), real_BT.shape[1]
        # Flat places in [P, G, T]; None when no response has a token to run.
        grid = Slots(place_B[rows_N] * width + tokens_N, (prompts, group, width)) if len(rows_N) else None
        return cls(alone.prompts, grid, alone.prompt_padding_PL, context)

    @classmethod
    def of_prompts(cls, prompt_tokens_P: Tensor, context: int | None = None) -> Packing:
        """The packing of prompts of these lengths, without responses."""
        real_PL = _real(prompt_tokens_P)
        places_N = real_PL.flatten().nonzero()[:, 0]
        return cls(Slots(places_N, tuple(real_PL.shape)), None, None if bool(real_PL.all()) else ~real_PL, context)

    def attend(self, layer: int, queries_NHD: Tensor, keys_NKD: Tensor, values_NKD: Tensor, scale: float) -> Tensor:
        """Attention of every packed token to what it may look at, [N, H, D]. The same in every layer."""
        # The first `split` of the N packed tokens are prompts, the others responses.
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
    """[B, longest], true where a run of so many tokens has one."""
    return torch.arange(int(tokens_B.max()), device=tokens_B.device) < tokens_B[:, None]
