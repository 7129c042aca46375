"""Decode state of the unfinished responses: packed, or padded for models that do not support packing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from inspect import signature
from typing import Self

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from sfpo_bench.attention.decoding import Decoding
from sfpo_bench.attention.interface import positions_of, run
from sfpo_bench.rollout.protocol import Request


class LiveRows(ABC):
    """The responses being decoded.

    `logits_BV` are for the next token, `rows_B` are indices among all `total` responses of the chunk, `positions_B` are
    the positions of the last tokens, and `alive_B` is False for responses that have ended.
    """

    def __init__(self, logits_BV: Tensor, positions_B: Tensor) -> None:
        self.logits_BV, self.positions_B = logits_BV, positions_B
        self.total = len(positions_B)
        self.rows_B = torch.arange(self.total, device=positions_B.device)
        self.alive_B = torch.ones_like(self.rows_B, dtype=torch.bool)

    def scatter(self, values_B: Tensor, fill: float) -> Tensor:
        """`values_B` scattered to all responses, with `fill` for dropped ones."""
        return values_B.new_full((self.total,), fill).index_copy_(0, self.rows_B, values_B)

    def drop_finished(self) -> None:
        """Drop finished rows once they are half of the batch; until then they are decoded and ignored."""
        # Every drop copies the KV cache; with halving all copies together stay below twice the first cache.
        if int(self.alive_B.sum()) * 2 <= len(self.alive_B):
            chosen = self.alive_B.nonzero()[:, 0]
            self.rows_B, self.positions_B = self.rows_B[chosen], self.positions_B[chosen]
            self.alive_B = self.alive_B[chosen]
            self._keep(chosen)

    def advance(self, model: PreTrainedModel, tokens_B: Tensor) -> None:
        """Run the model on the chosen tokens, which gives the next logits."""
        self.positions_B = self.positions_B + 1
        self.logits_BV = self._next_logits(model, tokens_B)

    @abstractmethod
    def _keep(self, chosen_B: Tensor) -> None: ...

    @abstractmethod
    def _next_logits(self, model: PreTrainedModel, tokens_B: Tensor) -> Tensor: ...


class PackedRows(LiveRows):
    """Packed rows: a prompt's keys and values are stored once, without padding, and a new token copies no cache."""

    _decoding: Decoding

    @classmethod
    def prefill(cls, model: PreTrainedModel, requests: Sequence[Request]) -> Self:
        """Run every prompt once."""
        device = model.device
        tokens_P = torch.tensor([len(request.prompt_ids) for request in requests], device=device)
        ids_N = torch.tensor([token for request in requests for token in request.prompt_ids], device=device)
        owners_B = owners(requests, device)
        decoding = Decoding(tokens_P)
        positions_N = positions_of(tokens_P, torch.zeros_like(tokens_P))
        # The head runs on the last token of each prompt only.
        logits_PV = run(model, ids_N, positions_N, decoding, logits_to_keep=tokens_P.cumsum(0) - 1).logits[0]
        decoding.begin(owners_B)
        # All responses of a prompt start with the same logits.
        rows = cls(logits_PV[owners_B], tokens_P[owners_B] - 1)
        rows._decoding = decoding
        return rows

    def _keep(self, chosen_B: Tensor) -> None:
        self._decoding.keep(chosen_B)

    def _next_logits(self, model: PreTrainedModel, tokens_B: Tensor) -> Tensor:
        self._decoding.advance()
        logits_BV: Tensor = run(model, tokens_B, self.positions_B, self._decoding).logits[0]
        return logits_BV


class PaddedRows(LiveRows):
    """Left-padded rows: every response has its own copy of the prompt's keys and values."""

    _cache: DynamicCache
    _held: dict[str, DynamicCache]
    _mask_BL: Tensor | None

    @classmethod
    def prefill(cls, model: PreTrainedModel, requests: Sequence[Request], pad_id: int) -> Self:
        """Run every prompt once, then copy its cache for each sample."""
        ids_PL, mask_PL = left_pad([request.prompt_ids for request in requests], pad_id, model.device)
        padded = not bool(mask_PL.all())
        # Positions count valid tokens only, so left padding does not shift them.
        positions_PL = (mask_PL.cumsum(dim=1) - 1).clamp_(min=0)
        cache = DynamicCache(config=model.config)
        held = _holding(model, cache)
        logits_PV = model(
            input_ids=ids_PL,
            attention_mask=mask_PL if padded else None,
            position_ids=positions_PL,
            use_cache=True,
            logits_to_keep=1,
            **held,
        ).logits[:, -1]
        owners_B = owners(requests, model.device)
        cache.batch_select_indices(owners_B)
        rows = cls(logits_PV[owners_B], positions_PL[owners_B, -1])
        rows._cache, rows._held = cache, held
        rows._mask_BL = mask_PL[owners_B] if padded else None
        return rows

    def _keep(self, chosen_B: Tensor) -> None:
        self._cache.batch_select_indices(chosen_B)
        if self._mask_BL is not None:
            self._mask_BL = self._mask_BL[chosen_B]

    def _next_logits(self, model: PreTrainedModel, tokens_B: Tensor) -> Tensor:
        if self._mask_BL is not None:
            self._mask_BL = torch.cat([self._mask_BL, self._mask_BL.new_ones(len(tokens_B), 1)], dim=1)
        logits_BV: Tensor = model(
            input_ids=tokens_B[:, None],
            attention_mask=self._mask_BL,
            position_ids=self.positions_B[:, None],
            use_cache=True,
            logits_to_keep=1,
            **self._held,
        ).logits[:, -1]
        return logits_BV


def _holding(model: PreTrainedModel, cache: DynamicCache) -> dict[str, DynamicCache]:
    """The argument with the keys and values; versions of transformers name it otherwise."""
    return {"cache" if "cache" in signature(model.forward).parameters else "past_key_values": cache}


def owners(requests: Sequence[Request], device: torch.device) -> Tensor:
    """The index of each response's request, [B]."""
    counts = torch.tensor([len(request.samples) for request in requests], device=device)
    return torch.repeat_interleave(torch.arange(len(requests), device=device), counts)


def left_pad(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Left-padded token ids and mask (1 on valid tokens), both [P, L]."""
    length = max(len(row) for row in rows)
    ids_PL = torch.tensor([[pad_id] * (length - len(row)) + list(row) for row in rows], device=device)
    mask_PL = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids_PL, mask_PL
