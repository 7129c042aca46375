"""One value per response token, from a model that may be sharded over ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from sfpo_bench.attention.interface import packs
from sfpo_bench.training.layout import PlacedBatch
from sfpo_bench.training.ranks import PlacedModel, Ranks
from sfpo_bench.training.scoring import at_predictors, own_row_states, packed_states, recomputing, training_mode


class ValueScorer:
    """Scores response tokens with a model whose output head is one unit wide.

    A token's score is computed from the hidden state that predicts it, so it depends on the prompt and the preceding
    tokens only. Rows run packed where the model supports it, as the policy's do (`scoring.Scorer`). The head computes
    in fp32 or fp64, since bfloat16 values have only three digits.
    """

    def __init__(self, model: PreTrainedModel, ranks: Ranks, *, recompute: bool = False) -> None:
        self._model = model
        self._head = model.get_output_embeddings()
        self._packs = packs(model)  # checked before the model is sharded
        self._layers = recomputing(model) if recompute else []
        self.placed: PlacedModel = ranks.place(model)

    def score(self, batch: PlacedBatch) -> Tensor:
        """The value of each response token, [B, T], zero on padding; every rank must call this equally often."""
        [scores_BT] = self.placed.run(lambda: (self._score(batch),))
        return scores_BT

    def _score(self, batch: PlacedBatch) -> Tensor:
        with training_mode(self._layers if torch.is_grad_enabled() else []):
            if self._packs:
                hidden_NH = packed_states(self._model, batch)
            else:
                hidden_NH = at_predictors(own_row_states(self._model, batch), batch)
        wide = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        scores_N = linear(hidden_NH.to(wide), self._head.weight.to(wide), self._head.bias.to(wide))[:, 0]
        layout = batch.layout
        return scores_N.new_zeros(layout.mask_BT.shape).index_put((layout.rows_N, layout.places_N), scores_N)
