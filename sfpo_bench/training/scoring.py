"""Log-probs and entropies of response tokens under a causal model, without padding and with each prompt run once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Linear, Module
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from sfpo_bench.attention.interface import packs, run
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.training.layout import PlacedBatch
from sfpo_bench.training.token_statistics import token_statistics


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-prob and entropy (nats) of each response token at the sampling temperature, and the mask of valid entries."""

    log_probs_BT: Tensor
    entropies_BT: Tensor
    mask_BT: Tensor


class Scorer:
    """Scores responses under `model`.

    Prompts and responses run as one packed row without padding. Each prompt runs once, and its responses share its keys
    and values, including their gradients. The head runs over response positions only, with at most `chunk_logits`
    logits at a time. With `recompute` (gradient checkpointing) only each layer's input is kept for the backward pass.

    Packing and the separate head are checked once against the model's own output on a small example. A model that does
    not pass (a soft cap after the head, another kind of attention, a sliding window) runs without them.
    """

    def __init__(
        self, model: PreTrainedModel, temperature: float, chunk_logits: int = 2**25, *, recompute: bool = False
    ) -> None:
        self._model = model
        self._temperature = temperature
        head = model.get_output_embeddings()
        self._head = head if type(head) is Linear else None
        self.vocabulary = int(head.weight.shape[0])
        self._chunk = max(1, chunk_logits // self.vocabulary)
        if not self._head_is_plain():
            self._head = None
        self.packs = self._head is not None and packs(model)
        self._head_leaf: Tensor | None = None
        self._layers = recomputing(model) if recompute else []

    def lead_head(self, leaf_of: Callable[[Tensor], Tensor | None]) -> None:
        """Use the leaf that `leaf_of` returns for the head's weight, if any, so that it receives the gradient."""
        if self._head is not None:
            self._head_leaf = leaf_of(self._head.weight)

    def score(self, batch: PlacedBatch, *, entropy_gradient: bool = False) -> Scores:
        """Scores of the response tokens with a loss, zeros elsewhere; differentiable where the caller enables
        gradients."""
        # N valid response tokens of the [B, T] grid, row by row; everything below works on [N].
        layout = batch.layout
        mask_BT, targets_N, places = layout.mask_BT, layout.targets_N, (layout.rows_N, layout.places_N)
        with training_mode(self._layers if torch.is_grad_enabled() else []):
            hidden_NH = packed_states(self._model, batch) if self.packs else at_predictors(self._own_rows(batch), batch)
        if self._head is not None:
            log_probs_N, entropies_N = token_statistics(
                hidden_NH,
                self._head.weight if self._head_leaf is None else self._head_leaf,
                self._head.bias,
                targets_N,
                self._temperature,
                self._chunk,
                entropy_gradient=entropy_gradient,
            )
        else:
            log_probs_N, entropies_N = self._statistics(hidden_NH, targets_N, entropy_gradient)
        zeros_BT = log_probs_N.new_zeros(mask_BT.shape)
        return Scores(
            zeros_BT.index_put(places, log_probs_N),
            zeros_BT.index_put(places, entropies_N),
            mask_BT,
        )

    def _own_rows(self, batch: PlacedBatch) -> Tensor:
        """Hidden states [B, S, H], or logits where the head is not plain, of unpacked rows with their own prompts.

        Right padding needs no mask in a causal model.
        """
        if self._head is None:
            logits_BSV: Tensor = self._model(input_ids=_sequences_BS(batch), use_cache=False).logits
            return logits_BSV
        return own_row_states(self._model, batch)

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
        if base is self._model or self._head is None:
            return False
        # Many tokens, since a padding token may embed as zeros, for which a soft cap changes nothing.
        ids = torch.linspace(0, self.vocabulary - 1, 16, device=self._model.device).long()[None]
        with torch.no_grad():
            hidden = base(input_ids=ids, use_cache=False).last_hidden_state
            return bool(torch.equal(self._head(hidden), self._model(input_ids=ids, use_cache=False).logits))


def packed_states(model: PreTrainedModel, batch: PlacedBatch) -> Tensor:
    """Hidden states that predict each response token, response by response, [N, H], from one packed row."""
    layout = batch.layout
    hidden_MH: Tensor = run(model.base_model, layout.ids_M, layout.positions_M, layout.packing).last_hidden_state[0]
    return hidden_MH.index_select(0, layout.predictors_N)


def own_row_states(model: PreTrainedModel, batch: PlacedBatch) -> Tensor:
    """Hidden states of unpacked rows, each with its own copy of the prompt, [B, S, H]."""
    hidden_BSH: Tensor = model.base_model(input_ids=_sequences_BS(batch), use_cache=False).last_hidden_state
    return hidden_BSH


def at_predictors(of_tokens_BSH: Tensor, batch: PlacedBatch) -> Tensor:
    """The entries at the positions that predict the response tokens, [N, H]."""
    rows_N, places_N = batch.layout.rows_N, batch.layout.places_N
    # Token t is predicted at the position before it, so the first one at the prompt's last.
    first_B = batch.rows.prompt_tokens_P[batch.rows.owners_B] - 1
    return of_tokens_BSH[rows_N, first_B[rows_N] + places_N]


def _sequences_BS(batch: PlacedBatch) -> Tensor:
    return batch.rows.sequences_BS(batch.layout.sequence_tokens)


def recomputing(model: PreTrainedModel) -> list[Module]:
    """Enable gradient checkpointing and return the layers it applies to.

    Layers recompute in training mode only, which would also enable dropout. `training_mode` therefore sets the mode of
    the layers themselves, not of their submodules, and only while gradients are computed.
    """
    if not model.supports_gradient_checkpointing:
        raise ConfigError(
            f"learner.recompute_layers = true, but {type(model).__name__} cannot compute its layers again in the "
            "backward pass; set learner.recompute_layers=false and lower learner.micro_batch_tokens"
        )
    # Newer versions of transformers call it activation checkpointing.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextmanager
def training_mode(layers: Sequence[Module]) -> Iterator[None]:
    """Put these layers, but not their submodules, into training mode inside the block."""
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
