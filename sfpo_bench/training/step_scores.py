"""Scores of a step's whole batch, gathered from micro-batches and ranks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfpo_bench.algorithms.correction import Mismatch, loss_weights, mismatch
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.layout import PlacedBatch
from sfpo_bench.training.ranks import Ranks
from sfpo_bench.training.scoring import Scores


class StepScores:
    """Log-probs and entropy of the step's whole batch, at the step's initial weights or at later ones.

    Each rank fills its rows of [B, T] tables that are zero elsewhere; `share` all-reduces them.
    """

    def __init__(
        self,
        batch: TrainBatch,
        device: torch.device,
        log_prob_format: torch.dtype,
        ranks: Ranks,
        *,
        with_entropies: bool = False,
    ) -> None:
        self._batch = batch
        self._device = device
        self._format = log_prob_format
        self._ranks = ranks
        self._shared = False
        self._shape = (len(batch), int(batch.response_tokens_B.max()))
        self._old_BT: Tensor | None = None
        self._reference_BT: Tensor | None = None
        self._with_entropies = with_entropies
        self._entropies_BT: Tensor | None = None
        # Rows scored by this rank; after `share`, by any rank.
        self._known_B = torch.zeros(len(batch), dtype=torch.bool)
        self._entropy_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._tokens = 0

    def blank(self, *, with_entropies: bool = False) -> StepScores:
        """Empty tables for the same batch, with per-token entropies where `with_entropies`."""
        return StepScores(self._batch, self._device, self._format, self._ranks, with_entropies=with_entropies)

    def scores(self, micro: PlacedBatch) -> Scores:
        """Log-probs and entropies of these rows; call after `share`."""
        return Scores(self._of(self._old_BT, micro), self._of(self._entropies_BT, micro), micro.layout.mask_BT)

    def has(self, micro: PlacedBatch) -> bool:
        return bool(self._known_B[micro.host.rows_B].all())

    def keep(self, micro: PlacedBatch, scores: Scores) -> None:
        self._old_BT = self._put(self._old_BT, micro, scores.log_probs_BT)
        if self._with_entropies:
            self._entropies_BT = self._put(self._entropies_BT, micro, scores.entropies_BT)
        self._known_B[micro.host.rows_B] = True
        self._entropy_sum += scores.entropies_BT.detach().double().sum()
        self._tokens += len(micro.layout.rows_N)

    def keep_reference(self, micro: PlacedBatch, scores: Scores) -> None:
        self._reference_BT = self._put(self._reference_BT, micro, scores.log_probs_BT)

    def share(self) -> None:
        """All-reduce the tables, so that every rank has all rows."""
        if not self._shared:
            self._old_BT = self._added(self._old_BT)
            if self._with_entropies:
                self._entropies_BT = self._added(self._entropies_BT)
            # all-reduce has no sum of booleans.
            known_B = self._known_B.int()
            self._ranks.add(known_B)
            self._known_B = known_B > 0
            entropy_sum, tokens = self._ranks.sums([float(self._entropy_sum), self._tokens])
            self._entropy_sum, self._tokens = torch.tensor(entropy_sum, dtype=torch.float64), int(tokens)
        self._shared = True

    def share_reference(self) -> None:
        """All-reduce the reference's log-probs."""
        self._reference_BT = self._added(self._reference_BT)

    def _added(self, table_BT: Tensor | None) -> Tensor:
        """The all-reduced table; each row is nonzero on one rank only."""
        if table_BT is None:
            table_BT = torch.zeros(self._shape, dtype=self._format, device=self._device)
        self._ranks.add(table_BT)
        return table_BT

    def old(self, micro: PlacedBatch) -> Tensor:
        """The denominators of the ratios: stored log-probs of replayed or stale responses, else the scored ones."""
        scored_BT, brought_BT = self._of(self._old_BT, micro), micro.rows.old_log_probs_BT
        return scored_BT if brought_BT is None else brought_BT.to(scored_BT.dtype).where(~brought_BT.isnan(), scored_BT)

    def reference(self, micro: PlacedBatch) -> Tensor:
        return self._of(self._reference_BT, micro)

    def _of(self, table_BT: Tensor | None, micro: PlacedBatch) -> Tensor:
        assert table_BT is not None
        return table_BT[micro.rows.rows_B, : micro.rows.responses_BT.shape[1]]

    def mean_entropy(self) -> float:
        return float(self._entropy_sum) / self._tokens if self._tokens else math.nan

    def mismatch(self) -> Mismatch:
        """The mismatch of trainer and engine over the tokens of this step's scored responses, without replayed ones."""
        known_BT = self._batch.loss_mask_BT() & self._known_B[:, None] & ~self._batch.engine_log_probs_BT.isnan()
        if self._batch.old_log_probs_BT is not None:
            known_BT = known_BT & self._batch.old_log_probs_BT.isnan()
        return mismatch(self._log_ratios_BT()[known_BT])

    def weights(self, settings: LearnerSettings) -> Tensor:
        """The engine correction's weight of each token of the scored responses, zero elsewhere."""
        log_ratios_BT, mask_BT, known_B = self._log_ratios_BT(), self._batch.loss_mask_BT(), self._known_B
        weights_BT = torch.zeros_like(log_ratios_BT)
        weights_BT[known_B] = loss_weights(
            log_ratios_BT[known_B], mask_BT[known_B], settings.engine_correction, settings.engine_correction_cap
        )
        return weights_BT.to(self._device, self._format)

    def _log_ratios_BT(self) -> Tensor:
        """Log-ratios of trainer to engine on the host, [B, T]; 0 where there is nothing to correct."""
        engine_BT = self._batch.engine_log_probs_BT
        if self._old_BT is None:
            return engine_BT.new_zeros(self._shape)
        # No engine sampled these tokens.
        log_ratios_BT = (self._old_BT.cpu() - engine_BT).masked_fill(engine_BT.isnan(), 0.0)
        brought_BT = self._batch.old_log_probs_BT
        # The ratio of a replayed response is already to the engine that sampled it.
        return log_ratios_BT if brought_BT is None else log_ratios_BT.where(brought_BT.isnan(), 0.0)

    def _put(self, table_BT: Tensor | None, micro: PlacedBatch, values_BT: Tensor) -> Tensor:
        values_BT = values_BT.detach()
        if table_BT is None:
            table_BT = values_BT.new_zeros(self._shape)
        # A micro-batch is only as wide as its longest response.
        table_BT[micro.rows.rows_B, : values_BT.shape[1]] = values_BT
        return table_BT
