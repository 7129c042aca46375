"""GRPO-Guard's ratio adapted to text: log-ratios standardized per position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.ratios import Ratio, values_of
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PositionStandardized(Ratio):
    """exp(z), z = (log r - c_t) max(s, floor) / max(s_t, floor), over the whole mini-batch (after arXiv:2510.22319).

    c_t and s_t are the mean and sample standard deviation of log r at position t, s is the pooled deviation; all are
    detached. A position with one response uses the pooled deviation. Where all positions have mean 0 and equal
    deviations this is the token ratio; at r = 1 both floors cancel. *Unverified*: the paper treats diffusion steps,
    whose log-ratios drift and spread in closed form; this form for text is ours.
    """

    kind: str = option("position_standardized", "name of the ratio")
    floor: float = option(0.01, "lower bound of deviations, which bounds the scale", above=0.0)

    paper = "2510.22319"
    trust = "?"
    changes = "log-ratios are standardized per position before they are clipped"
    extra_passes = "1 forward before each optimizer step"
    unverified = "the form for text, which is ours; the paper's is for diffusion"

    uses_statistics = True

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        log_ratios_BT = values_of(super().log_ratios(mini_batch), mini_batch).double()
        count_T = mini_batch.mask_BT.sum(dim=0)
        centre_T = log_ratios_BT.sum(dim=0) / count_T.clamp(min=1)
        squares_T = ((log_ratios_BT - centre_T).square() * mini_batch.mask_BT).sum(dim=0)
        freedom_T = (count_T - 1).clamp(min=0)
        pooled = (squares_T.sum() / freedom_T.sum().clamp(min=1)).sqrt()
        spread_T = (squares_T / freedom_T.clamp(min=1)).sqrt().where(freedom_T > 0, pooled)
        scale_T = pooled.clamp(min=self.floor) / spread_T.clamp(min=self.floor)
        return {"centre_T": centre_T, "scale_T": scale_T}

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        log_ratios_BT = super().log_ratios(inputs)
        # These rows may be shorter than the longest of the mini-batch.
        centre_T, scale_T = (
            inputs.statistics[name][: log_ratios_BT.shape[1]].to(log_ratios_BT.dtype)
            for name in ("centre_T", "scale_T")
        )
        return (log_ratios_BT - centre_T) * scale_T
