"""Log-probs and entropies of response tokens under a causal model: each prompt run once, logits only at responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel

from sfpo_bench.training.batch import TrainBatch


@dataclass(frozen=True, slots=True)
class Scores:
    """Of each response token: log-prob and entropy (nats) at the sampling temperature, and which entries are real."""

    log_probs_BT: Tensor
    entropies_BT: Tensor
    mask_BT: Tensor


class Scorer:
    """Scores responses under `model`.

    Each prompt is run once and its keys and values are shared by its responses, gradients included. At most
    `chunk_logits` logits exist at a time: the head runs over the response positions in chunks, which a backward pass
    computes again, so memory does not grow with vocabulary times tokens.

    Both shortcuts are checked against the model's own logits on a small example, once. A model for which one does not
    hold (a soft cap after the head, state that is no key-value cache, a sliding window) is run without it.
    """

    def __init__(self, model: PreTrainedModel, temperature: float, chunk_logits: int = 2**25) -> None:
        self._model = model
        self._temperature = temperature
        self._head = model.get_output_embeddings()
        self._vocabulary = int(self._head.weight.shape[0])
        self._chunk = max(1, chunk_logits // self._vocabulary)
        self._plain_head = self._head_is_plain()
        self.shares_prompts = self._plain_head and self._prompts_can_be_shared()

    def score(self, batch: TrainBatch, *, entropy_gradient: bool = False) -> Scores:
        """Scores of the batch's responses, padded with zeros; gradients flow where the caller has them enabled."""
        mask_BT = batch.response_mask_BT()
        rows_N, places_N = mask_BT.nonzero(as_tuple=True)
        targets_N = batch.responses_BT[rows_N, places_N]
        if self._plain_head:
            hidden_BTH = self._shared_hidden(batch) if self.shares_prompts else self._hidden(batch)
            log_probs_N, entropies_N = self._chunked(hidden_BTH[rows_N, places_N], targets_N, entropy_gradient)
        else:
            logits_BSV = self._model(input_ids=batch.sequences_BS(), use_cache=False).logits
            positions_N = _first_positions(batch)[rows_N] + places_N
            log_probs_N, entropies_N = self._statistics(logits_BSV[rows_N, positions_N], targets_N, entropy_gradient)
        zeros_BT = log_probs_N.new_zeros(mask_BT.shape)
        return Scores(
            zeros_BT.index_put((rows_N, places_N), log_probs_N),
            zeros_BT.index_put((rows_N, places_N), entropies_N),
            mask_BT,
        )

    def _shared_hidden(self, batch: TrainBatch) -> Tensor:
        """Hidden states that predict each response token, [B, T, H], every prompt run once.

        Padding behind a prompt is hidden from its responses by the mask; positions count real tokens only.
        """
        cache = DynamicCache(config=self._model.config)
        base, device = self._model.base_model, batch.responses_BT.device
        prompt_PLH: Tensor = base(input_ids=batch.prompts_PL, past_key_values=cache, use_cache=True).last_hidden_state
        last_PH = prompt_PLH[torch.arange(len(batch.prompt_tokens_P), device=device), batch.prompt_tokens_P - 1]
        first_B1H = last_PH.index_select(0, batch.owners_B)[:, None]
        width = batch.responses_BT.shape[1] - 1
        if width == 0:
            return first_B1H
        layers: Sequence[Any] = cache.layers  # Untyped: a layer's class depends on the architecture.
        for layer in layers:
            layer.keys = layer.keys.index_select(0, batch.owners_B)
            layer.values = layer.values.index_select(0, batch.owners_B)
        prompt_tokens_B = batch.prompt_tokens_P[batch.owners_B]
        rest_BTH: Tensor = base(
            input_ids=batch.responses_BT[:, :-1],
            attention_mask=_attention_mask(batch, prompt_tokens_B, width),
            position_ids=prompt_tokens_B[:, None] + torch.arange(width, device=device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return torch.cat([first_B1H, rest_BTH], dim=1)

    def _hidden(self, batch: TrainBatch) -> Tensor:
        """The same, every row run with its own copy of the prompt. Right padding needs no mask under causality."""
        hidden_BSH: Tensor = self._model.base_model(input_ids=batch.sequences_BS(), use_cache=False).last_hidden_state
        places_T = torch.arange(batch.responses_BT.shape[1], device=hidden_BSH.device)
        positions_BT = (_first_positions(batch)[:, None] + places_T).clamp(max=hidden_BSH.shape[1] - 1)
        return hidden_BSH.gather(1, positions_BT[..., None].expand(-1, -1, hidden_BSH.shape[-1]))

    def _chunked(self, hidden_NH: Tensor, targets_N: Tensor, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        if len(targets_N) <= self._chunk:
            return self._statistics(self._head(hidden_NH), targets_N, entropy_gradient)
        parts = [
            checkpoint(self._from_hidden, hidden, targets, entropy_gradient, use_reentrant=False)
            for hidden, targets in zip(hidden_NH.split(self._chunk), targets_N.split(self._chunk), strict=True)
        ]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _from_hidden(self, hidden_NH: Tensor, targets_N: Tensor, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        return self._statistics(self._head(hidden_NH), targets_N, entropy_gradient)

    def _statistics(self, logits_NV: Tensor, targets_N: Tensor, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        logits_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
        if self._temperature != 1.0:
            logits_NV = logits_NV / self._temperature
        normalizer_N = logits_NV.logsumexp(dim=-1)
        log_probs_N = logits_NV.gather(1, targets_N[:, None])[:, 0] - normalizer_N
        with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
            centred_NV = logits_NV - normalizer_N[:, None]
            entropies_N = -(centred_NV.exp() * centred_NV).sum(dim=-1)
        return log_probs_N, entropies_N

    def _head_is_plain(self) -> bool:
        base = self._model.base_model
        if base is self._model:
            return False
        # Many tokens, since some (padding) embed as zeros, of which every soft cap is zero too.
        ids = torch.linspace(0, self._vocabulary - 1, 16, device=self._model.device).long()[None]
        with torch.no_grad():
            hidden = base(input_ids=ids, use_cache=False).last_hidden_state
            return bool(torch.equal(self._head(hidden), self._model(input_ids=ids, use_cache=False).logits))

    def _prompts_can_be_shared(self) -> bool:
        # A window counts places, padding included, which on so small an example would not show.
        if "sliding_attention" in (getattr(self._model.config, "layer_types", None) or ()):
            return False
        example = _example(self._vocabulary, self._model.device)
        mask_BT = example.response_mask_BT()
        with torch.no_grad():
            try:
                shared_BTH = self._shared_hidden(example)
            except (AttributeError, TypeError, ValueError, NotImplementedError):
                return False  # This architecture keeps something else than keys and values.
            own_BTH = self._hidden(example)
        tolerance = 0.1 if own_BTH.dtype == torch.bfloat16 else 1e-3
        scale = float(own_BTH.float().abs().max())
        difference = float((shared_BTH - own_BTH)[mask_BT].float().abs().max())
        return difference <= tolerance * scale


def _attention_mask(batch: TrainBatch, prompt_tokens_B: Tensor, width: int) -> Tensor | None:
    """1 where a response may look: its prompt without the padding, and what was answered so far. None: everywhere."""
    length = batch.prompts_PL.shape[1]
    if bool((batch.prompt_tokens_P == length).all()):
        return None
    places_L = torch.arange(length, device=prompt_tokens_B.device)
    prompt_BL = places_L < prompt_tokens_B[:, None]
    return torch.cat([prompt_BL, prompt_BL.new_ones(len(batch), width)], dim=1).long()


def _first_positions(batch: TrainBatch) -> Tensor:
    """Where, in a row's sequence, the token stands whose logits predict the first response token, [B]."""
    return batch.prompt_tokens_P[batch.owners_B] - 1


def _example(vocabulary: int, device: torch.device) -> TrainBatch:
    """Two prompts of unlike lengths with two responses each, over the whole vocabulary."""
    ids = torch.linspace(0, vocabulary - 1, 24, device=device).long()
    return TrainBatch(
        prompts_PL=torch.stack([ids[:6], torch.cat([ids[6:9], ids.new_zeros(3)])]),
        prompt_tokens_P=torch.tensor([6, 3], device=device),
        responses_BT=torch.stack([ids[9:13], ids[13:17], ids[17:21], ids[20:24]]),
        response_tokens_B=torch.tensor([4, 2, 3, 4], device=device),
        owners_B=torch.tensor([0, 0, 1, 1], device=device),
        advantages_B=torch.zeros(4, device=device),
        rows_B=torch.arange(4, device=device),
        engine_log_probs_BT=torch.zeros(4, 4, device=device),
        max_response_tokens=4,
    )
