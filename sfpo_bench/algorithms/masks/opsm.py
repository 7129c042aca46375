"""DeepSeek's off-policy sequence mask: masks bad responses that have become unlikely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class OffPolicySequence(Mask):
    """Keeps A >= 0, and responses whose mean log mu - log pi is at most the threshold (DeepSeek-V3.2, as in TRL)."""

    kind: str = option("opsm", "name of the mask")
    threshold: float = option(0.5, "largest mean of log mu - log pi; unpublished, 0.5 in TRL's example", low=0.0)

    paper = "2512.02556"
    changes = "responses with negative advantage that have become unlikely are masked"

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        fall_BT = (inputs.old_log_probs_BT - inputs.log_probs_BT.detach()).masked_fill(~inputs.mask_BT, 0.0)
        mean_B1 = fall_BT.sum(dim=1, keepdim=True) / inputs.mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return ((inputs.advantages_BT >= 0) | (mean_B1 <= self.threshold)).expand_as(fall_BT)
