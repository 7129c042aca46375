"""Generation with a transformers model whose weights are sharded over ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sfpo_bench.rollout.transformers_engine import TransformersEngine


class GatheringEngine(TransformersEngine):
    """Samples from the learner's module, with all weights gathered between `load` and `free_memory`.

    Decoding then needs no communication, so each rank may generate a different number of responses.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        end_ids: frozenset[int],
        batch_responses: int,
        gather: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        self._gather = gather
        self._release = release
        gather()
        super().__init__(model, tokenizer, end_ids, batch_responses)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Gather the current weights; `weights` is ignored, since the module already has them."""
        self._gather()

    def free_memory(self) -> None:
        """Reshard the weights."""
        self._release()
