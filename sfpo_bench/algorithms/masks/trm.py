"""Trust-region masking: keeps or masks whole responses by their largest or mean divergence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class Divergence(StrEnum):
    """The statistic of a response's token KLs that is compared with the threshold."""

    max = "max"
    mean = "mean"


@dataclass
class TrustRegion(Mask):
    """Keeps responses whose largest (or mean) KL_t is at most the threshold (arXiv:2512.23075).

    *Unverified*: KL_t over the whole vocabulary is estimated from the sampled token by r - 1 - log r >= 0, whose mean
    over samples from mu is KL(mu || pi).
    """

    kind: str = option("trm", "name of the mask")
    measure: Divergence = option(Divergence.max, "max or mean over the tokens of a response")
    threshold: float = option(0.05, "largest KL of a response that is kept; 0.05 in a third party's sweep", low=0.0)

    paper = "2512.23075"
    trust = "?"
    unverified = "that KL_t is estimated by r - 1 - log r of the sampled token is our reading"
    changes = "responses with a large maximum or mean KL are masked"

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        log_r_BT = (inputs.log_probs_BT.detach() - inputs.old_log_probs_BT).masked_fill(~inputs.mask_BT, 0.0)
        kl_BT = log_r_BT.expm1() - log_r_BT
        if self.measure is Divergence.max:
            found_B1 = kl_BT.max(dim=1, keepdim=True).values
        else:
            found_B1 = kl_BT.sum(dim=1, keepdim=True) / inputs.mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return (found_B1 <= self.threshold).expand_as(kl_BT)
