"""Scores under a model that may be sharded over ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.training.layout import PlacedBatch
from sfpo_bench.training.ranks import PlacedModel, Ranks
from sfpo_bench.training.scoring import Scorer, Scores


class PlacedScorer:
    """A `Scorer` whose model is placed by `ranks`. The scorer checks the model before it is sharded."""

    def __init__(self, model: PreTrainedModel, temperature: float, ranks: Ranks, *, recompute: bool = False) -> None:
        self._scorer = Scorer(model, temperature, recompute=recompute)
        self.placed: PlacedModel = ranks.place(model)

    @property
    def vocabulary(self) -> int:
        """The number of tokens with a logit."""
        return self._scorer.vocabulary

    def lead_head(self, leaf_of: Callable[[Tensor], Tensor | None]) -> None:
        """See `Scorer.lead_head`."""
        self._scorer.lead_head(leaf_of)

    def score(self, batch: PlacedBatch, *, entropy_gradient: bool = False) -> Scores:
        """Scores of the batch's responses; every rank must call this equally often."""

        def work() -> tuple[Tensor, ...]:
            scores = self._scorer.score(batch, entropy_gradient=entropy_gradient)
            return tuple(getattr(scores, entry.name) for entry in dataclasses.fields(scores))

        return Scores(*self.placed.run(work))
