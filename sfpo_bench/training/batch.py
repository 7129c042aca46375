"""One step's rollouts as tensors for the learner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sfpo_bench.algorithms.protocols import BatchCounts
from sfpo_bench.core.types import Completion


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Prompts [P, L] and responses [B, T] of one step, right-padded with zeros; the tokens are exactly the engine's.

    A batch is on the host, where it is divided into mini-batches and micro-batches; `layout.placed` brings those to the
    device of the model.

    `owners_B` is the row of each response's prompt in `prompts_PL`; equal prompts share a row. Rows of a group
    (`groups_B`) are adjacent. `rows_B` numbers the responses within the step's whole batch, so that a mini-batch finds
    its old log-probs.

    A selection sets `row_weights_B` and `token_weights_BT` (of each token's policy-gradient term); None means that all
    weights are 1. A response of weight 0 is dropped: it counts in denominators and is not run. Response tokens before
    `loss_from_B` have no loss and count in no denominator.

    `advantages_BT` is [B, 1] where all tokens of a response share one advantage. `engine_log_probs_BT` are the
    log-probs under which the engine sampled the tokens. Both are float64 and zero on padding; log-probs are NaN for a
    response that no engine sampled. `scores` are the outputs of trained modules for the response tokens, float64
    [B, T], by module name. `old_log_probs_BT` holds the stored log-probs of replayed and stale responses, NaN in other
    rows and on padding, or is None.
    """

    prompts_PL: Tensor
    prompt_tokens_P: Tensor
    responses_BT: Tensor
    response_tokens_B: Tensor
    owners_B: Tensor
    advantages_BT: Tensor
    rows_B: Tensor
    engine_log_probs_BT: Tensor
    max_response_tokens: int
    loss_from_B: Tensor
    groups_B: Tensor
    row_weights_B: Tensor | None = None
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    old_log_probs_BT: Tensor | None = None
    token_weights_BT: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows_B)

    @property
    def tokens(self) -> int:
        """The number of tokens in the batch, each prompt counted once."""
        return int(self.prompt_tokens_P.sum() + self.response_tokens_B.sum())

    def counts(self) -> BatchCounts:
        """Denominators for a loss over exactly these rows."""
        return BatchCounts(len(self), int(self.loss_tokens_B.sum()), self.max_response_tokens)

    @property
    def loss_tokens_B(self) -> Tensor:
        """The number of response tokens with a loss, [B]."""
        return self.response_tokens_B - self.loss_from_B

    def weighted(self, weights: Tensor) -> TrainBatch:
        """The batch with weights of its responses, [B], or of their tokens, [B, T]; all-zero responses are dropped."""
        if weights.ndim == 1:
            return replace(self, row_weights_B=weights)
        kept_B = ((weights != 0) & self.loss_mask_BT()).any(dim=1)
        return replace(self, row_weights_B=kept_B.to(weights.dtype), token_weights_BT=weights)

    def kept_B(self) -> Tensor:
        """True for the rows that no selection dropped. Where the whole batch was dropped, all rows are True: they run
        forward only, to measure the step's entropy."""
        if self.row_weights_B is None or not bool(self.row_weights_B.any()):
            return torch.ones_like(self.rows_B, dtype=torch.bool)
        return self.row_weights_B != 0

    def signal_B(self, *, needs_every_row: bool) -> Tensor:
        """True for the rows that a gradient is taken of: all that were kept, or those with a loss that is not zero."""
        signal_B = self.kept_B() if self.row_weights_B is None else self.row_weights_B != 0
        if needs_every_row:
            return signal_B
        signal_BT = (self.advantages_BT != 0) & self.loss_mask_BT()
        if self.token_weights_BT is not None:
            signal_BT = signal_BT & (self.token_weights_BT != 0)
        return signal_B & signal_BT.any(dim=1)

    def block_lengths_B(self, block: int) -> Tensor:
        """The mean number of loss tokens per response in each row's block, float64, [B]. A block is `block` consecutive
        rows; the last one may be shorter."""
        parts = self.loss_tokens_B.double().split(block)
        return torch.cat([part.mean().expand(len(part)) for part in parts])

    def select(self, rows: Tensor) -> TrainBatch:
        """The sub-batch of these rows and their prompts, both trimmed to their longest."""
        # Keep only the prompts that the selected rows use, and renumber them.
        used_P, owners_B = torch.unique(self.owners_B[rows], return_inverse=True)
        prompt_tokens_P, response_tokens_B = self.prompt_tokens_P[used_P], self.response_tokens_B[rows]
        width = int(response_tokens_B.max())
        return TrainBatch(
            prompts_PL=self.prompts_PL[used_P, : int(prompt_tokens_P.max())],
            prompt_tokens_P=prompt_tokens_P,
            responses_BT=self.responses_BT[rows, :width],
            response_tokens_B=response_tokens_B,
            owners_B=owners_B,
            advantages_BT=self.advantages_BT[rows, :width],
            rows_B=self.rows_B[rows],
            engine_log_probs_BT=self.engine_log_probs_BT[rows, :width],
            max_response_tokens=self.max_response_tokens,
            loss_from_B=self.loss_from_B[rows],
            groups_B=self.groups_B[rows],
            scores={name: scores_BT[rows, :width] for name, scores_BT in self.scores.items()},
            row_weights_B=None if self.row_weights_B is None else self.row_weights_B[rows],
            old_log_probs_BT=None if self.old_log_probs_BT is None else self.old_log_probs_BT[rows, :width],
            token_weights_BT=None if self.token_weights_BT is None else self.token_weights_BT[rows, :width],
        )

    def group_sizes(self) -> list[int]:
        """The number of rows of each group, in order."""
        sizes: list[int] = torch.unique_consecutive(self.groups_B, return_counts=True)[1].tolist()
        return sizes

    def response_mask_BT(self) -> Tensor:
        """True on response tokens, False on padding."""
        places_T = torch.arange(self.responses_BT.shape[1], device=self.responses_BT.device)
        return places_T < self.response_tokens_B[:, None]

    def loss_mask_BT(self) -> Tensor:
        """True on response tokens with a loss."""
        places_T = torch.arange(self.responses_BT.shape[1], device=self.responses_BT.device)
        return self.response_mask_BT() & (places_T >= self.loss_from_B[:, None])

    def sequences_BS(self, width: int | None = None) -> Tensor:
        """Prompt and response of each row as one right-padded sequence, `width` tokens wide (default: the longest)."""
        prompt_tokens_B = self.prompt_tokens_P[self.owners_B]
        width = int((prompt_tokens_B + self.response_tokens_B).max()) if width is None else width
        places_S = torch.arange(width, device=self.responses_BT.device).expand(len(self), -1)
        prompt_BS = self.prompts_PL[self.owners_B].gather(1, places_S.clamp(max=self.prompts_PL.shape[1] - 1))
        inside_BS = (places_S - prompt_tokens_B[:, None]).clamp(min=0, max=self.responses_BT.shape[1] - 1)
        response_BS = self.responses_BT.gather(1, inside_BS)
        real_BS = places_S < (prompt_tokens_B + self.response_tokens_B)[:, None]
        return torch.where(places_S < prompt_tokens_B[:, None], prompt_BS, response_BS).masked_fill(~real_BS, 0)


def assemble(
    completions: Sequence[Completion],
    advantages: Tensor,
    max_response_tokens: int,
    loss_from: Sequence[int] = (),
    groups: Sequence[int] = (),
) -> TrainBatch:
    """The batch of these completions, one row each, without tokenising again.

    `advantages` is [B], [B, 1] or [B, T]. `loss_from` is each row's first response token with a loss (default 0).
    `groups` is each row's group number (default: its prompt).
    """
    # Equal prompts share a row, also those of different problems.
    prompts: dict[tuple[int, ...], int] = {}
    owners = [prompts.setdefault(completion.prompt_ids, len(prompts)) for completion in completions]
    return TrainBatch(
        prompts_PL=right_pad(list(prompts)),
        prompt_tokens_P=torch.tensor([len(prompt) for prompt in prompts]),
        responses_BT=right_pad([completion.response_ids for completion in completions]),
        response_tokens_B=torch.tensor([len(completion.response_ids) for completion in completions]),
        owners_B=torch.tensor(owners),
        advantages_BT=(advantages if advantages.ndim == 2 else advantages[:, None]),
        rows_B=torch.arange(len(completions)),
        loss_from_B=torch.tensor(loss_from or [0] * len(completions)),
        groups_B=torch.tensor(groups or owners),
        engine_log_probs_BT=right_pad([_engine_log_probs(one) for one in completions], torch.float64),
        max_response_tokens=max_response_tokens,
    )


def _engine_log_probs(completion: Completion) -> Sequence[float]:
    return completion.log_probs if completion.is_sampled else [math.nan] * len(completion.response_ids)


def right_pad(rows: Sequence[Sequence[int]] | Sequence[Sequence[float]], dtype: torch.dtype = torch.int64) -> Tensor:
    """Token ids or log-probs as a tensor [B, T], right-padded with zeros."""
    width = max(len(row) for row in rows)
    return torch.tensor([list(row) + [0] * (width - len(row)) for row in rows], dtype=dtype)


def share_of_rows(batch: TrainBatch, rank: int, count: int) -> Tensor:
    """The indices of the rows that `rank` of `count` computes.

    Shares have about equal numbers of tokens, and responses to one prompt stay together where possible. Every row is in
    exactly one share; a share may be empty.
    """
    if count == 1:
        return torch.arange(len(batch))
    # On the host every rank computes the same bits. With different rounding, two ranks could disagree about a row.
    owners_B, response_tokens_B, prompt_tokens_P = batch.owners_B, batch.response_tokens_B, batch.prompt_tokens_P
    order_B = torch.argsort(owners_B, stable=True)
    siblings_P = torch.bincount(owners_B, minlength=len(prompt_tokens_P))
    work_B = (response_tokens_B + (prompt_tokens_P / siblings_P)[owners_B])[order_B].double()
    # The midpoint of a row's work decides which rank's share of the total it falls into.
    middle_B = work_B.cumsum(0) - work_B / 2
    share_B = (middle_B / work_B.sum() * count).long()
    return order_B[share_B == rank].sort().values


def micro_batches(batch: TrainBatch, token_budget: int, window: int = 1) -> list[TrainBatch]:
    """The rows in micro-batches of at most `token_budget` tokens, each prompt counted once.

    Responses to one prompt stay together where possible, and prompts with similar response lengths are grouped. Each
    micro-batch takes the first of the next `window` rows that fits, until none fits. A row longer than the budget gets
    a micro-batch to itself.
    """
    longest_P = torch.zeros_like(batch.prompt_tokens_P).scatter_reduce(
        0, batch.owners_B, batch.response_tokens_B, reduce="amax"
    )
    # Sort by the longest response of the prompt, then by prompt; one integer holds both keys.
    key_B = longest_P[batch.owners_B] * (len(longest_P) + 1) + batch.owners_B
    pending: list[int] = torch.argsort(key_B, stable=True).tolist()
    owners, tokens = batch.owners_B.tolist(), batch.response_tokens_B.tolist()
    prompt_tokens = batch.prompt_tokens_P.tolist()
    found: list[TrainBatch] = []
    while pending:
        rows: list[int] = []
        prompts: set[int] = set()
        room = token_budget
        while pending:
            # Prompt tokens count only with the prompt's first response in a micro-batch.
            sizes = {
                row: tokens[row] + prompt_tokens[owners[row]] * (owners[row] not in prompts) for row in pending[:window]
            }
            row = next((row for row, size in sizes.items() if size <= room or not rows), None)
            if row is None:
                break
            pending.remove(row)
            rows.append(row)
            prompts.add(owners[row])
            room -= sizes[row]
        found.append(batch.select(torch.tensor(rows)))
    return found
