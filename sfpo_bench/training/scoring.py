"""Log-probs and entropies of response tokens under a causal model: nothing padded, each prompt run once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Linear, Module
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from sfpo_bench.attention.interface import packs, positions_of, run
from sfpo_bench.attention.packing import Packing
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.token_statistics import token_statistics


@dataclass(frozen=True, slots=True)
class Scores:
    """Of each response token: log-prob and entropy (nats) at the sampling temperature, and which entries are real."""

    log_probs_BT: Tensor
    entropies_BT: Tensor
    mask_BT: Tensor


class Scorer:
    """Scores responses under `model`.

    Prompts and responses run as one packed row without padding, each prompt once: its keys and values are shared by its
    responses, gradients included. The head runs over response positions only and at most `chunk_logits` logits exist
    at a time. With `recompute` the backward pass computes each layer again from its input, which is all that is kept.

    Both shortcuts are checked against the model's own numbers on a small example, once. A model for which one does not
    hold (a soft cap after the head, attention of another kind, a sliding window) is run without it.
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
        """Let the gradient of the head's weight go to the leaf that `leaf_of` has for it, if it has one."""
        if self._head is not None:
            self._head_leaf = leaf_of(self._head.weight)

    def score(self, batch: TrainBatch, *, entropy_gradient: bool = False) -> Scores:
        """Scores of the batch's response tokens that bear a loss, zeros elsewhere; gradients flow where the caller has
        them enabled."""
        mask_BT = batch.loss_mask_BT()
        # N real response tokens of the [B, T] grid, row by row; everything below works on [N].
        rows_N, places_N = mask_BT.nonzero(as_tuple=True)
        targets_N = batch.responses_BT[rows_N, places_N]
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
            zeros_BT.index_put((rows_N, places_N), log_probs_N),
            zeros_BT.index_put((rows_N, places_N), entropies_N),
            mask_BT,
        )

    def _own_rows(self, batch: TrainBatch) -> Tensor:
        """Hidden states, or logits where the head is not plain, every row with its own copy of the prompt, [B, S, H].
        Right padding needs no mask under causality."""
        if self._head is None:
            logits_BSV: Tensor = self._model(input_ids=batch.sequences_BS(), use_cache=False).logits
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
        # Many tokens, since some (padding) embed as zeros, of which every soft cap is zero too.
        ids = torch.linspace(0, self.vocabulary - 1, 16, device=self._model.device).long()[None]
        with torch.no_grad():
            hidden = base(input_ids=ids, use_cache=False).last_hidden_state
            return bool(torch.equal(self._head(hidden), self._model(input_ids=ids, use_cache=False).logits))


def packed_states(model: PreTrainedModel, batch: TrainBatch) -> Tensor:
    """Hidden states that predict each response token, response by response, [N, H], of one packed row. A response's
    last token predicts nothing and is not run."""
    # Packing wants responses grouped by prompt; a stable order keeps a group's own order.
    order_B = torch.argsort(batch.owners_B, stable=True)
    owners_B, run_B = batch.owners_B[order_B], batch.response_tokens_B[order_B] - 1
    prompt_ids_N = batch.prompts_PL[_real(batch.prompt_tokens_P)]
    response_ids_N = batch.responses_BT[order_B][:, : max(1, int(run_B.max()))][_real(run_B)]
    # Responses go on counting positions where their prompt ended.
    first_B = batch.prompt_tokens_P[owners_B]
    positions_N = torch.cat(
        [
            positions_of(batch.prompt_tokens_P, torch.zeros_like(batch.prompt_tokens_P)),
            positions_of(run_B, first_B),
        ]
    )
    packing = Packing.of(batch.prompt_tokens_P, run_B, owners_B)
    ids_N = torch.cat([prompt_ids_N, response_ids_N])
    hidden_NH: Tensor = run(model.base_model, ids_N, positions_N, packing).last_hidden_state[0]
    return hidden_NH.index_select(0, _predictors(batch, order_B, run_B))


def own_row_states(model: PreTrainedModel, batch: TrainBatch) -> Tensor:
    """Hidden states of every row with its own copy of the prompt, [B, S, H]."""
    hidden_BSH: Tensor = model.base_model(input_ids=batch.sequences_BS(), use_cache=False).last_hidden_state
    return hidden_BSH


def at_predictors(of_tokens_BSH: Tensor, batch: TrainBatch) -> Tensor:
    """Of what stands at each token of a row's sequence, that from which each response token is predicted, [N, H]."""
    rows_N, places_N = batch.loss_mask_BT().nonzero(as_tuple=True)
    # Token t is predicted at the position before it.
    return of_tokens_BSH[rows_N, _first_positions(batch)[rows_N] + places_N]


def _predictors(batch: TrainBatch, order_B: Tensor, run_B: Tensor) -> Tensor:
    """Where in the packed row the hidden state stands that predicts each response token, row by row, [N]: behind its
    prompt for a first token, behind the token before it for the others."""
    # Place of each prompt's last token, which predicts the first token of all its responses.
    last_P = batch.prompt_tokens_P.cumsum(0) - 1
    packed_B = torch.empty_like(run_B)
    # Place of each response's first token, in the order of the batch.
    packed_B[order_B] = int(last_P[-1]) + 1 + run_B.cumsum(0) - run_B
    places_T = torch.arange(batch.responses_BT.shape[1], device=run_B.device)
    places_BT = packed_B[:, None] + places_T - 1
    places_BT[:, 0] = last_P[batch.owners_B]
    return places_BT[batch.loss_mask_BT()]


def _real(tokens_B: Tensor) -> Tensor:
    """[B, longest, at least 1], true where a run of so many tokens has one."""
    return torch.arange(max(1, int(tokens_B.max())), device=tokens_B.device) < tokens_B[:, None]


def _first_positions(batch: TrainBatch) -> Tensor:
    """Where, in a row's sequence, the token stands whose logits predict the first response token, [B]."""
    return batch.prompt_tokens_P[batch.owners_B] - 1


def recomputing(model: PreTrainedModel) -> list[Module]:
    """The layers that transformers can compute again in the backward pass, told to do so.

    They do so in training mode only, which would also switch dropout on: `training_mode` sets it on the layers
    themselves, not on what is inside them, and only while a gradient is taken.
    """
    if not model.supports_gradient_checkpointing:
        raise ConfigError(
            f"learner.recompute_layers = true, but {type(model).__name__} cannot compute its layers again in the "
            "backward pass; set learner.recompute_layers=false and lower learner.micro_batch_tokens"
        )
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextmanager
def training_mode(layers: Sequence[Module]) -> Iterator[None]:
    """Inside the block these layers, and nothing inside them, are in training mode."""
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
