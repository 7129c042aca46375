"""Scores of a step's whole batch at some weights, gathered from micro-batches and ranks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfpo_bench.algorithms.correction import Mismatch, loss_weights, mismatch
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.ranks import Ranks
from sfpo_bench.training.scoring import Scores


class StepScores:
    """Log-probs and entropy of the step's whole batch at some weights: those it started from, or later ones.

    Each rank keeps what it computed in tables whose other rows are zero, [B, T]; `share` adds the tables up.
    """

    def __init__(
        self, batch: TrainBatch, log_prob_format: torch.dtype, ranks: Ranks, *, with_entropies: bool = False
    ) -> None:
        self._batch = batch
        self._format = log_prob_format
        self._ranks = ranks
        self._shared = False
        self._shape = (len(batch), int(batch.response_tokens_B.max()))
        self._old_BT: Tensor | None = None
        self._reference_BT: Tensor | None = None
        self._with_entropies = with_entropies
        self._entropies_BT: Tensor | None = None
        # Rows that this rank has scored; after `share`, those that any rank has.
        self._known_B = torch.zeros(len(batch), dtype=torch.bool, device=batch.rows_B.device)
        self._entropy_sum = 0.0
        self._tokens = 0

    def blank(self, *, with_entropies: bool = False) -> StepScores:
        """Tables of the same batch with nothing in them; of each token's entropy too if asked for."""
        return StepScores(self._batch, self._format, self._ranks, with_entropies=with_entropies)

    def scores(self, rows: TrainBatch) -> Scores:
        """Log-probs and entropies of these rows, known on all ranks."""
        assert self._entropies_BT is not None
        mask_BT = rows.loss_mask_BT()
        return Scores(self._of(self._old_BT, rows), self._entropies_BT[rows.rows_B, : mask_BT.shape[1]], mask_BT)

    def has(self, micro: TrainBatch) -> bool:
        return bool(self._known_B[micro.rows_B].all())

    def keep(self, micro: TrainBatch, scores: Scores) -> None:
        self._old_BT = self._put(self._old_BT, micro, scores.log_probs_BT)
        if self._with_entropies:
            self._entropies_BT = self._put(self._entropies_BT, micro, scores.entropies_BT)
        self._known_B[micro.rows_B] = True
        self._entropy_sum += float(scores.entropies_BT.detach().double().sum())
        self._tokens += int(scores.mask_BT.sum())

    def keep_reference(self, micro: TrainBatch, scores: Scores) -> None:
        self._reference_BT = self._put(self._reference_BT, micro, scores.log_probs_BT)

    def share(self) -> None:
        """All ranks know what each of them found."""
        if not self._shared:
            self._old_BT = self._added(self._old_BT)
            if self._with_entropies:
                self._entropies_BT = self._added(self._entropies_BT)
            # all-reduce has no sum of booleans.
            known_B = self._known_B.int()
            self._ranks.add(known_B)
            self._known_B = known_B > 0
            self._entropy_sum, tokens = self._ranks.sums([self._entropy_sum, self._tokens])
            self._tokens = int(tokens)
        self._shared = True

    def share_reference(self) -> None:
        """The same for the reference's log-probs."""
        self._reference_BT = self._added(self._reference_BT)

    def _added(self, table_BT: Tensor | None) -> Tensor:
        """The sum over ranks, whose tables are zero where another one's is not."""
        if table_BT is None:
            table_BT = self._batch.engine_log_probs_BT.new_zeros(self._shape, dtype=self._format)
        self._ranks.add(table_BT)
        return table_BT

    def old(self, micro: TrainBatch) -> Tensor:
        """What the ratios of these rows are to: what a response brings, else what was scored."""
        scored_BT, brought_BT = self._of(self._old_BT, micro), micro.old_log_probs_BT
        return scored_BT if brought_BT is None else brought_BT.to(scored_BT.dtype).where(~brought_BT.isnan(), scored_BT)

    def reference(self, micro: TrainBatch) -> Tensor:
        return self._of(self._reference_BT, micro)

    def _of(self, table_BT: Tensor | None, micro: TrainBatch) -> Tensor:
        assert table_BT is not None
        return table_BT[micro.rows_B, : micro.responses_BT.shape[1]]

    def mean_entropy(self) -> float:
        return self._entropy_sum / self._tokens if self._tokens else math.nan

    def mismatch(self) -> Mismatch:
        """Trainer against engine, over the tokens of every response whose log-probs are known and of this step."""
        known_BT = self._batch.loss_mask_BT() & self._known_B[:, None] & ~self._batch.engine_log_probs_BT.isnan()
        if self._batch.old_log_probs_BT is not None:
            known_BT = known_BT & self._batch.old_log_probs_BT.isnan()
        return mismatch(self._log_ratios_BT()[known_BT])

    def weights(self, settings: LearnerSettings) -> Tensor:
        """The correction's weight of each token, of the responses whose log-probs are known: those that are run."""
        log_ratios_BT, mask_BT, known_B = self._log_ratios_BT(), self._batch.loss_mask_BT(), self._known_B
        weights_BT = torch.zeros_like(log_ratios_BT)
        weights_BT[known_B] = loss_weights(
            log_ratios_BT[known_B], mask_BT[known_B], settings.engine_correction, settings.engine_correction_cap
        )
        return weights_BT.to(self._format)

    def _log_ratios_BT(self) -> Tensor:
        """Of the trainer's to the engine's; 0 of tokens that no engine sampled: they need no correction."""
        engine_BT = self._batch.engine_log_probs_BT
        if self._old_BT is None:
            return engine_BT.new_zeros(self._shape)
        # A response that no engine sampled has nothing to be corrected.
        log_ratios_BT = (self._old_BT - engine_BT).masked_fill(engine_BT.isnan(), 0.0)
        brought_BT = self._batch.old_log_probs_BT
        # The ratio of a response of an earlier step is to its engine: there is nothing left to correct.
        return log_ratios_BT if brought_BT is None else log_ratios_BT.where(brought_BT.isnan(), 0.0)

    def _put(self, table_BT: Tensor | None, micro: TrainBatch, values_BT: Tensor) -> Tensor:
        values_BT = values_BT.detach()
        if table_BT is None:
            table_BT = values_BT.new_zeros(self._shape)
        # A micro-batch is as wide as its own longest response.
        table_BT[micro.rows_B, : values_BT.shape[1]] = values_BT
        return table_BT
