"""DPPO's mask by the binary KL divergence of the sampled token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class BinaryKL(Mask):
    """Masks tokens with KL > delta that moved in the direction of their advantage (arXiv:2602.04879).

    KL = mu log(mu / pi) + (1 - mu) log((1 - mu) / (1 - pi)) for the sampled token. The direction is that of `tv`: up
    where A > 0, else down. With `cispo` and weights from 0 to 20 this is DPPO-KL.
    """

    kind: str = option("binary_kl", "name of the mask")
    delta: float = option(0.05, "largest binary KL divergence of a token; 0.05 in third parties' code", low=0.0)

    paper = "2602.04879"
    changes = "tokens with large binary KL divergence in the direction of their advantage are masked"

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        now_BT, old_BT = inputs.log_probs_BT.detach(), inputs.old_log_probs_BT
        forward_BT = (now_BT > old_BT).where(inputs.advantages_BT > 0, now_BT < old_BT)
        return ~forward_BT | (binary_kl(old_BT, now_BT) <= self.delta)


def binary_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(Bernoulli(p) || Bernoulli(q)); infinite where q is 1 and p is not."""
    other_p = -log_p.expm1()
    others = other_p * (other_p.log() - (-log_q.expm1()).log())
    # Where p is 1 the second term is 0 log 0 = 0.
    return log_p.exp() * (log_p - log_q) + others.masked_fill(other_p <= 0, 0.0)
