"""Statistics of one pass over a batch, summed on the device and read once."""

from __future__ import annotations

import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives import k3
from sfpo_bench.core.types import StageStats
from sfpo_bench.training.layout import PlacedBatch
from sfpo_bench.training.ranks import Ranks
from sfpo_bench.training.scoring import Scores


class PassTotals:
    """Sums over the tokens and optimizer steps of one pass; those over tokens stay on the device until `stats`."""

    def __init__(self, device: torch.device) -> None:
        self.tokens = self.steps = self.skipped = 0
        self.loss = self.norm = 0.0
        # Clipped tokens, and the sums of ratios, of k3 and of entropies, in float64.
        self._sums_4 = torch.zeros(4, dtype=torch.float64, device=device)
        self._ratio_max = torch.zeros((), dtype=torch.float64, device=device)

    def add_tokens(self, micro: PlacedBatch, scores: Scores, old_BT: Tensor, clipped: Tensor) -> None:
        with torch.no_grad():
            places = (micro.layout.rows_N, micro.layout.places_N)
            ratios_N = (scores.log_probs_BT - old_BT).exp()[places]
            self.tokens += len(ratios_N)
            kl_N = k3(old_BT, scores.log_probs_BT)[places]
            entropy = scores.entropies_BT.double().sum()
            self._sums_4 += torch.stack([clipped.double(), ratios_N.double().sum(), kl_N.double().sum(), entropy])
            self._ratio_max = self._ratio_max.maximum(ratios_N.max().double())

    def add_step(self, loss: float, norm: float, *, taken: bool) -> None:
        self.loss += loss
        self.norm += norm
        self.steps += taken
        self.skipped += not taken

    def stats(self, stage: str, seconds: float, ranks: Ranks) -> StageStats:
        """The statistics of the pass over all ranks' tokens; losses and norms are already global."""
        attempted = self.steps + self.skipped
        *found, ratio_max = torch.cat([self._sums_4, self._ratio_max[None]]).tolist()
        tokens, clipped, ratio, kl, entropy = ranks.sums([self.tokens, *found])
        return StageStats(
            stage=stage,
            loss=self.loss / attempted,
            clip_fraction=clipped / tokens,
            ratio_mean=ratio / tokens,
            ratio_max=ranks.largest(ratio_max),
            kl_to_start=kl / tokens,
            gradient_norm=self.norm / attempted,
            entropy=entropy / tokens,
            optimizer_steps=self.steps,
            skipped_optimizer_steps=self.skipped,
            seconds=seconds,
        )
