"""Attention during sampling; the keys and values of a prompt are stored once for all its responses."""

from __future__ import annotations

import torch
from torch import Tensor

from sfpo_bench.attention.grouped import attend_prompts, attend_responses
from sfpo_bench.attention.packing import Packing
from sfpo_bench.attention.slots import Slots

_FIRST_CAPACITY = 16


class Decoding:
    """The KV cache and attention of decoding: the first call runs the packed prompts, each later call one token per
    response.

    Call `begin` after the first call, `advance` before each later one, and `keep` to drop finished responses. The
    capacity for response tokens doubles when it is used up.
    """

    def __init__(self, prompt_tokens_P: Tensor) -> None:
        self._packing = Packing.of_prompts(prompt_tokens_P)
        self._padding_PL = self._packing.prompt_padding_PL
        self._prompt: list[tuple[Tensor, Tensor]] = []
        self._own: list[tuple[Tensor, Tensor]] = []
        self._rows: Slots | None = None
        self._tokens = 0

    def begin(self, owners_B: Tensor) -> None:
        """Set the responses by the index of their prompts, ascending."""
        self._rows = _grid(owners_B, self._packing.prompts.shape[0])

    def advance(self) -> None:
        """Count one more token of every response, before the call that runs it."""
        self._tokens += 1

    def keep(self, chosen_B: Tensor) -> None:
        """Keep only these responses, given by their current indices, and drop prompts without any."""
        assert self._rows is not None
        group = self._rows.shape[1]
        # A flat index is prompt * G + response, so dividing by G gives the prompt.
        places_B = self._rows.places_N[chosen_B]
        kept_P, owners_B = torch.unique(places_B // group, return_inverse=True)
        # G shrinks to the largest number of responses of a prompt; tensors are copied into the smaller grid.
        old, self._rows = places_B, _grid(owners_B, len(kept_P))
        self._prompt = [(keys[kept_P], values[kept_P]) for keys, values in self._prompt]
        if self._padding_PL is not None:
            self._padding_PL = self._padding_PL[kept_P]
        self._own = [
            (self._rows.place(keys.flatten(0, 1)[old]), self._rows.place(values.flatten(0, 1)[old]))
            for keys, values in self._own
        ]

    def attend(self, layer: int, queries_NHD: Tensor, keys_NKD: Tensor, values_NKD: Tensor, scale: float) -> Tensor:
        """The attention output of the tokens of this call, [N, H, D]."""
        if self._rows is None:
            slots = self._packing.prompts
            queries, keys, values = (slots.place(x) for x in (queries_NHD, keys_NKD, values_NKD))
            # [P, L, K, D] of this layer, stored once for any number of responses.
            self._prompt.append((keys, values))
            return slots.pick(attend_prompts(queries, keys, values, scale))
        # The current token is the last one that `advance` counted.
        place = self._tokens - 1
        if len(self._own) == layer:
            self._own.append(self._zero_cache(keys_NKD, values_NKD, _FIRST_CAPACITY))
        elif place == self._own[layer][0].shape[2]:
            keys, values = self._own[layer]
            # With doubling, each token is copied less than twice on average.
            more = self._zero_cache(keys_NKD, values_NKD, place)
            self._own[layer] = torch.cat([keys, more[0]], dim=2), torch.cat([values, more[1]], dim=2)
        keys, values = self._own[layer]
        keys[:, :, place] = self._rows.place(keys_NKD)
        values[:, :, place] = self._rows.place(values_NKD)
        seen = keys[:, :, : self._tokens], values[:, :, : self._tokens]
        # T = 1: one new token per response.
        queries_PGTHD = self._rows.place(queries_NHD)[:, :, None]
        answered = attend_responses(queries_PGTHD, self._prompt[layer], seen, self._padding_PL, scale)
        return self._rows.pick(answered[:, :, 0])

    def _zero_cache(self, keys_NKD: Tensor, values_NKD: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        assert self._rows is not None
        shape = (*self._rows.shape, tokens, *keys_NKD.shape[1:])
        return keys_NKD.new_zeros(shape), values_NKD.new_zeros(shape)


def _grid(owners_B: Tensor, prompts: int) -> Slots:
    """The slots of responses in a grid [P, G], one row per prompt."""
    counts_P = torch.bincount(owners_B, minlength=prompts)
    group = int(counts_P.max())
    # Owners ascend, so a response's number within its prompt is its index minus the count of earlier prompts'
    # responses.
    within_B = torch.arange(len(owners_B), device=owners_B.device) - (counts_P.cumsum(0) - counts_P)[owners_B]
    return Slots(owners_B * group + within_B, (prompts, group))
