"""AReaL's form of M2PO: masks the largest log-ratios of a mini-batch until the rest meets a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class SecondMoment(Mask):
    """Masks the tokens with the largest (log r)^2 until the mini-batch's mean over the rest meets the budget.

    This is the mask form of M2PO (arXiv:2510.01161) in AReaL. Tokens with equal (log r)^2 are kept or masked together.
    """

    kind: str = option("second_moment", "name of the mask")
    budget: float = option(0.04, "largest mean of (log r)^2 over the tokens that are kept", low=0.0)

    uses_statistics = True

    paper = "2510.01161"
    changes = "the mini-batch's largest log-ratios are masked until the rest's second moment meets a budget"

    def statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        return {"largest": largest_kept(_squares(log_ratios_BT)[mini_batch.mask_BT], self.budget)}

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        return _squares(log_ratios_BT) <= inputs.statistics["largest"]


def largest_kept(values_N: Tensor, budget: float) -> Tensor:
    """The largest value such that the mean of all values up to it is at most `budget`; -1 if none. Values are >= 0."""
    import torch

    sorted_N = values_N.sort().values
    means_N = sorted_N.cumsum(dim=0) / torch.arange(1, len(sorted_N) + 1, device=sorted_N.device)
    # Among equal values, use the mean at the last one.
    last_N = torch.cat([sorted_N[1:] > sorted_N[:-1], sorted_N.new_ones(1, dtype=torch.bool)])
    meeting = sorted_N[last_N & (means_N <= budget)] if len(sorted_N) else sorted_N
    return torch.cat([sorted_N.new_full((1,), -1.0), meeting]).max()


def _squares(log_ratios_BT: Tensor) -> Tensor:
    # One format for sorting, summing and comparing, so that a token at the bound is treated equally everywhere.
    return log_ratios_BT.double().square()
