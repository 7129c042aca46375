"""One step's rollouts as the learner sees them: right-padded token ids, lengths and advantages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfpo_bench.algorithms.protocols import BatchCounts
from sfpo_bench.types import Completion


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Prompt and response of each row as one right-padded sequence, exactly the engine's tokens.

    `rows_B` numbers the rows within the step's whole batch, so that a mini-batch finds its old log-probs. Right
    padding needs no attention mask: a causal model's real tokens never see what follows them.
    """

    ids_BL: Tensor
    prompt_tokens_B: Tensor
    response_tokens_B: Tensor
    advantages_B: Tensor
    rows_B: Tensor
    max_response_tokens: int

    def __len__(self) -> int:
        return len(self.rows_B)

    @property
    def lengths_B(self) -> Tensor:
        """Tokens of prompt and response together."""
        return self.prompt_tokens_B + self.response_tokens_B

    def counts(self) -> BatchCounts:
        """Denominators for a loss over exactly these rows."""
        return BatchCounts(len(self), int(self.response_tokens_B.sum()), self.max_response_tokens)

    def select(self, rows: Tensor) -> TrainBatch:
        """The rows at these places, cut to their own longest sequence."""
        lengths = self.lengths_B[rows]
        return TrainBatch(
            ids_BL=self.ids_BL[rows, : int(lengths.max()) if len(rows) else 0],
            prompt_tokens_B=self.prompt_tokens_B[rows],
            response_tokens_B=self.response_tokens_B[rows],
            advantages_B=self.advantages_B[rows],
            rows_B=self.rows_B[rows],
            max_response_tokens=self.max_response_tokens,
        )

    def response_mask_BT(self) -> Tensor:
        """True on real response tokens, [B, T] with T the longest response of these rows."""
        width = int(self.response_tokens_B.max()) if len(self) else 0
        return torch.arange(width, device=self.ids_BL.device) < self.response_tokens_B[:, None]


def assemble(
    completions: Sequence[Completion], advantages_B: Tensor, max_response_tokens: int, device: torch.device
) -> TrainBatch:
    """A batch of these completions, row by row; nothing is tokenised again."""
    sequences = [completion.prompt_ids + completion.response_ids for completion in completions]
    width = max(len(sequence) for sequence in sequences)
    ids_BL = torch.tensor([list(sequence) + [0] * (width - len(sequence)) for sequence in sequences])
    return TrainBatch(
        ids_BL=ids_BL.to(device),
        prompt_tokens_B=torch.tensor([len(completion.prompt_ids) for completion in completions]).to(device),
        response_tokens_B=torch.tensor([len(completion.response_ids) for completion in completions]).to(device),
        advantages_B=advantages_B.to(device),
        rows_B=torch.arange(len(completions), device=device),
        max_response_tokens=max_response_tokens,
    )


def micro_batches(batch: TrainBatch, token_budget: int) -> list[TrainBatch]:
    """The rows in micro-batches of at most `token_budget` padded tokens, shortest first; a longer row stands alone."""
    order = torch.argsort(batch.lengths_B, stable=True)
    lengths = batch.lengths_B[order].tolist()
    parts: list[TrainBatch] = []
    start = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or lengths[end] * (end + 1 - start) > token_budget:
            parts.append(batch.select(order[start:end]))
            start = end
    return parts
