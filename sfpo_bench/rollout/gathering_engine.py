"""Generation with a transformers model whose weights are spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sfpo_bench.rollout.transformers_engine import TransformersEngine


class GatheringEngine(TransformersEngine):
    """Samples from the learner's own module, whose weights are whole here from a `load` to the next `rest`: decoding
    then needs no other process, so that each may generate as much as it is given."""

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
        """Gather the present weights; `weights` would be these once more."""
        self._gather()

    def free_memory(self) -> None:
        """Keep this process's share alone."""
        self._release()
