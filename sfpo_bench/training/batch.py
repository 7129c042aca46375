"""One step's rollouts as the learner sees them: each prompt once, its responses beside each other, advantages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sfpo_bench.algorithms.protocols import BatchCounts
from sfpo_bench.core.types import Completion
from sfpo_bench.training.ranks import Ranks, turns


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Prompts [P, L] and responses [B, T], both right-padded with zeros: exactly the engine's tokens.

    `owners_B` says which prompt a response answers; responses to equal prompts share one row of `prompts_PL`.
    `row_weights_B` are a selection's, 0 for a response that is dropped: it counts in denominators and is not run.
    They are absent where all weigh 1. `token_weights_BT`, where there are any, are a selection's of the policy-gradient
    term of each token. Response tokens before `loss_from_B` bear no loss and count in no denominator.
    `rows_B` numbers the responses within the step's whole batch, so that a mini-batch finds its old log-probs.
    `engine_log_probs_BT` are those the engine sampled the tokens with, in float64 as `advantages_BT`, zero on padding,
    NaN for a response that no engine sampled. `advantages_BT` is [B, 1] where all tokens of a response share theirs.
    Rows of one of `groups_B` stand beside each other. `scores` are those that trained modules gave the response tokens,
    float64 [B, T], by name. `old_log_probs_BT` are those that responses of earlier steps bring, NaN in other rows and
    on padding; absent where no response brings any.
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
        """Tokens of this batch, each prompt counted once."""
        return int(self.prompt_tokens_P.sum() + self.response_tokens_B.sum())

    def counts(self) -> BatchCounts:
        """Denominators for a loss over exactly these rows."""
        return BatchCounts(len(self), int(self.loss_tokens_B.sum()), self.max_response_tokens)

    @property
    def loss_tokens_B(self) -> Tensor:
        """Response tokens that bear a loss."""
        return self.response_tokens_B - self.loss_from_B

    def weighted(self, weights: Tensor) -> TrainBatch:
        """The batch with weights of its responses, [B], or of their tokens, [B, T]; one without a weight is dropped."""
        if weights.ndim == 1:
            return replace(self, row_weights_B=weights)
        kept_B = ((weights != 0) & self.loss_mask_BT()).any(dim=1)
        return replace(self, row_weights_B=kept_B.to(weights.dtype), token_weights_BT=weights)

    def kept_B(self) -> Tensor:
        """True for rows that are run: those that no selection dropped; of a batch that is dropped whole all of them,
        forward only, since the entropy of the step is measured on them."""
        if self.row_weights_B is None or not bool(self.row_weights_B.any()):
            return torch.ones_like(self.rows_B, dtype=torch.bool)
        return self.row_weights_B != 0

    def block_lengths_B(self, block: int) -> Tensor:
        """The mean response length, in float64, of each row's block: runs of `block` rows in order, the last one may be
        shorter. Tokens that bear no loss do not count."""
        parts = self.loss_tokens_B.double().split(block)
        return torch.cat([part.mean().expand(len(part)) for part in parts])

    def select(self, rows: Tensor) -> TrainBatch:
        """The responses at these places with their prompts, both cut to their own longest."""
        # Prompts without a chosen response go; the others are numbered anew.
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
        """How many rows each group has, in order."""
        sizes: list[int] = torch.unique_consecutive(self.groups_B, return_counts=True)[1].tolist()
        return sizes

    def response_mask_BT(self) -> Tensor:
        """True on real response tokens."""
        places_T = torch.arange(self.responses_BT.shape[1], device=self.responses_BT.device)
        return places_T < self.response_tokens_B[:, None]

    def loss_mask_BT(self) -> Tensor:
        """True on response tokens that bear a loss."""
        places_T = torch.arange(self.responses_BT.shape[1], device=self.responses_BT.device)
        return self.response_mask_BT() & (places_T >= self.loss_from_B[:, None])

    def sequences_BS(self) -> Tensor:
        """Prompt and response of each row as one right-padded sequence."""
        prompt_tokens_B = self.prompt_tokens_P[self.owners_B]
        width = int((prompt_tokens_B + self.response_tokens_B).max())
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
    device: torch.device,
    loss_from: Sequence[int] = (),
    groups: Sequence[int] = (),
) -> TrainBatch:
    """A batch of these completions, row by row; nothing is tokenised again. `advantages` is [B], [B, 1] or [B, T];
    `loss_from` is each row's first response token with a loss, 0 where it is not given; `groups` the number of each
    row's group, that of its prompt where it is not given."""
    # Equal prompts share a row, whichever problems they came from.
    prompts: dict[tuple[int, ...], int] = {}
    owners = [prompts.setdefault(completion.prompt_ids, len(prompts)) for completion in completions]
    return TrainBatch(
        prompts_PL=right_pad(list(prompts)).to(device),
        prompt_tokens_P=torch.tensor([len(prompt) for prompt in prompts]).to(device),
        responses_BT=right_pad([completion.response_ids for completion in completions]).to(device),
        response_tokens_B=torch.tensor([len(completion.response_ids) for completion in completions]).to(device),
        owners_B=torch.tensor(owners).to(device),
        advantages_BT=(advantages if advantages.ndim == 2 else advantages[:, None]).to(device),
        rows_B=torch.arange(len(completions), device=device),
        loss_from_B=torch.tensor(loss_from or [0] * len(completions)).to(device),
        groups_B=torch.tensor(groups or owners).to(device),
        engine_log_probs_BT=right_pad([_engine_log_probs(one) for one in completions], torch.float64).to(device),
        max_response_tokens=max_response_tokens,
    )


def _engine_log_probs(completion: Completion) -> Sequence[float]:
    return completion.log_probs if completion.is_sampled else [math.nan] * len(completion.response_ids)


def right_pad(rows: Sequence[Sequence[int]] | Sequence[Sequence[float]], dtype: torch.dtype = torch.int64) -> Tensor:
    """Token ids or log-probs [B, T], zeros behind each row's end."""
    width = max(len(row) for row in rows)
    return torch.tensor([list(row) + [0] * (width - len(row)) for row in rows], dtype=dtype)


def share_of_rows(batch: TrainBatch, rank: int, count: int) -> Tensor:
    """The places in `batch` of the rows that `rank` of `count` computes: about as many tokens as the others' shares,
    responses to one prompt together where they can be. Every row is in one share; a share may be empty."""
    if count == 1:
        return torch.arange(len(batch), device=batch.rows_B.device)
    # On the processor, where every rank comes to the same bits: on a row that two ranks cut apart all would disagree.
    owners_B, response_tokens_B = batch.owners_B.cpu(), batch.response_tokens_B.cpu()
    prompt_tokens_P = batch.prompt_tokens_P.cpu()
    order_B = torch.argsort(owners_B, stable=True)
    siblings_P = torch.bincount(owners_B, minlength=len(prompt_tokens_P))
    work_B = (response_tokens_B + (prompt_tokens_P / siblings_P)[owners_B])[order_B].double()
    # A row belongs to the rank in whose share of the total work its middle lies.
    middle_B = work_B.cumsum(0) - work_B / 2
    share_B = (middle_B / work_B.sum() * count).long()
    return order_B[share_B == rank].sort().values.to(batch.rows_B.device)


def micro_batches(batch: TrainBatch, token_budget: int, window: int = 1) -> list[TrainBatch]:
    """The rows in micro-batches of at most `token_budget` tokens, each prompt counted once.

    Responses to one prompt stay together where they can, and prompts of like response lengths come together. A
    micro-batch is filled with the first of the next `window` rows that fits, until none does. A row that is longer than
    the budget stands alone.
    """
    longest_P = torch.zeros_like(batch.prompt_tokens_P).scatter_reduce(
        0, batch.owners_B, batch.response_tokens_B, reduce="amax"
    )
    # Sort by the longest response of the prompt, then by prompt: one number holds both keys.
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
            # The prompt's own tokens count with its first response in a micro-batch alone.
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
        found.append(batch.select(torch.tensor(rows, device=batch.rows_B.device)))
    return found


def micro_batches_of_rank(
    batch: TrainBatch, token_budget: int, window: int, ranks: Ranks
) -> Iterator[tuple[TrainBatch, bool]]:
    """This rank's micro-batches of `batch`, and stand-ins while others have more; with each, whether it counts."""
    rows = share_of_rows(batch, ranks.rank, ranks.count)
    mine = micro_batches(batch.select(rows), token_budget, window) if len(rows) else []
    return turns(mine, lambda: batch.select(torch.zeros_like(batch.rows_B[:1])), ranks)
