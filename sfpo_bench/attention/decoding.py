"""Attention while responses are sampled: the keys and values of a prompt are held once for all its responses."""

from __future__ import annotations

import torch
from torch import Tensor

from sfpo_bench.attention.grouped import attend_prompts, attend_responses
from sfpo_bench.attention.packing import Packing
from sfpo_bench.attention.slots import Slots

_FIRST_CAPACITY = 16


class Decoding:
    """The first call of the model runs the packed prompts; every later one a token of each live response.

    `begin` gives every prompt its responses; `advance` goes before each later call; `keep` drops finished responses.
    Room for response tokens is doubled when it is used up.
    """

    def __init__(self, prompt_tokens_P: Tensor) -> None:
        self._packing = Packing.of_prompts(prompt_tokens_P)
        self._padding_PL = self._packing.prompt_padding_PL
        self._prompt: list[tuple[Tensor, Tensor]] = []
        self._own: list[tuple[Tensor, Tensor]] = []
        self._rows: Slots | None = None
        self._tokens = 0

    def begin(self, owners_B: Tensor) -> None:
        """The responses, by the prompt each belongs to; ascending."""
        self._rows = _grid(owners_B, self._packing.prompts.shape[0])

    def advance(self) -> None:
        """One more token of every response is about to be run."""
        self._tokens += 1

    def keep(self, chosen_B: Tensor) -> None:
        """Only these of the live responses remain, by their present places; prompts without one are dropped."""
        assert self._rows is not None
        group = self._rows.shape[1]
        # A flat place is prompt * G + response, so that dividing by G gives the prompt.
        places_B = self._rows.places_N[chosen_B]
        kept_P, owners_B = torch.unique(places_B // group, return_inverse=True)
        # G shrinks to the most responses that one prompt still has; tensors are copied into the smaller grid.
        old, self._rows = places_B, _grid(owners_B, len(kept_P))
        self._prompt = [(keys[kept_P], values[kept_P]) for keys, values in self._prompt]
        if self._padding_PL is not None:
            self._padding_PL = self._padding_PL[kept_P]
        self._own = [
            (self._rows.place(keys.flatten(0, 1)[old]), self._rows.place(values.flatten(0, 1)[old]))
            for keys, values in self._own
        ]

    def attend(self, layer: int, queries_NHD: Tensor, keys_NKD: Tensor, values_NKD: Tensor, scale: float) -> Tensor:
        """Attention of the tokens being run to what they may look at, [N, H, D]."""
        if self._rows is None:
            slots = self._packing.prompts
            queries, keys, values = (slots.place(x) for x in (queries_NHD, keys_NKD, values_NKD))
            # [P, L, K, D] of this layer: held once, whatever the number of responses.
            self._prompt.append((keys, values))
            return slots.pick(attend_prompts(queries, keys, values, scale))
        # The token being run is the last of those counted by `advance`.
        place = self._tokens - 1
        if len(self._own) == layer:
            self._own.append(self._room(keys_NKD, values_NKD, _FIRST_CAPACITY))
        elif place == self._own[layer][0].shape[2]:
            keys, values = self._own[layer]
            # Doubling keeps the copies below two of each token in total.
            more = self._room(keys_NKD, values_NKD, place)
            self._own[layer] = torch.cat([keys, more[0]], dim=2), torch.cat([values, more[1]], dim=2)
        keys, values = self._own[layer]
        keys[:, :, place] = self._rows.place(keys_NKD)
        values[:, :, place] = self._rows.place(values_NKD)
        seen = keys[:, :, : self._tokens], values[:, :, : self._tokens]
        # T = 1: one new token of each response.
        queries_PGTHD = self._rows.place(queries_NHD)[:, :, None]
        answered = attend_responses(queries_PGTHD, self._prompt[layer], seen, self._padding_PL, scale)
        return self._rows.pick(answered[:, :, 0])

    def _room(self, keys_NKD: Tensor, values_NKD: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        assert self._rows is not None
        shape = (*self._rows.shape, tokens, *keys_NKD.shape[1:])
        return keys_NKD.new_zeros(shape), values_NKD.new_zeros(shape)


def _grid(owners_B: Tensor, prompts: int) -> Slots:
    """Places of responses in a grid [P, G], those of a prompt beside each other."""
    counts_P = torch.bincount(owners_B, minlength=prompts)
    group = int(counts_P.max())
    # Owners ascend, so a response's number within its prompt is its index less those of earlier prompts.
    within_B = torch.arange(len(owners_B), device=owners_B.device) - (counts_P.cumsum(0) - counts_P)[owners_B]
    return Slots(owners_B * group + within_B, (prompts, group))
