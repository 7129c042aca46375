"""Log-probs and entropies of response tokens under a causal model, with logits only where a response is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from sfpo_bench.training.batch import TrainBatch


@dataclass(frozen=True, slots=True)
class Scores:
    """Of each response token: log-prob and entropy (nats) at the sampling temperature, and which entries are real."""

    log_probs_BT: Tensor
    entropies_BT: Tensor
    mask_BT: Tensor


class Scorer:
    """Scores responses under `model`. At most `chunk_logits` logits exist at a time: the head runs over the response
    positions in chunks, which a backward pass computes again, so memory does not grow with vocabulary times tokens.

    A model whose logits are more than its output embedding applied to its last hidden state (a soft cap, a scale) is
    recognised by a comparison on a few tokens and scored through its own forward pass.
    """

    def __init__(self, model: PreTrainedModel, temperature: float, chunk_logits: int = 2**25) -> None:
        self._model = model
        self._temperature = temperature
        self._head = model.get_output_embeddings()
        self._vocabulary = int(self._head.weight.shape[0])
        self._chunk = max(1, chunk_logits // self._vocabulary)
        self._plain_head = self._head_is_plain()

    def score(self, batch: TrainBatch, *, entropy_gradient: bool = False) -> Scores:
        """Scores of the batch's responses, padded with zeros; gradients flow where the caller has them enabled."""
        mask_BT = batch.response_mask_BT()
        rows_N, places_N = mask_BT.nonzero(as_tuple=True)
        # The logits at a position predict the token after it.
        positions_N = batch.prompt_tokens_B[rows_N] + places_N - 1
        targets_N = batch.ids_BL[rows_N, positions_N + 1]
        if self._plain_head:
            hidden_BLH = self._model.base_model(input_ids=batch.ids_BL, use_cache=False).last_hidden_state
            log_probs_N, entropies_N = self._chunked(hidden_BLH[rows_N, positions_N], targets_N, entropy_gradient)
        else:
            logits_BLV = self._model(input_ids=batch.ids_BL, use_cache=False).logits
            log_probs_N, entropies_N = self._statistics(logits_BLV[rows_N, positions_N], targets_N, entropy_gradient)
        zeros_BT = log_probs_N.new_zeros(mask_BT.shape)
        return Scores(
            zeros_BT.index_put((rows_N, places_N), log_probs_N),
            zeros_BT.index_put((rows_N, places_N), entropies_N),
            mask_BT,
        )

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
        base: nn.Module = self._model.base_model
        if base is self._model:
            return False
        # Many tokens, since some (padding) embed as zeros, of which every soft cap is zero too.
        ids = torch.linspace(0, self._vocabulary - 1, 16, device=self._model.device).long()[None]
        with torch.no_grad():
            hidden = base(input_ids=ids, use_cache=False).last_hidden_state
            return bool(torch.equal(self._head(hidden), self._model(input_ids=ids, use_cache=False).logits))
