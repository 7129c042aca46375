"""DPPO's mask by the change of the sampled token's probability in the direction of its advantage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class TotalVariation(Mask):
    """Masks tokens with A > 0 and pi - mu > delta, or A <= 0 and pi - mu < -delta (arXiv:2602.04879).

    pi - mu is the change of the sampled token's probability since the step's start, the binary total variation. delta
    >= 1 keeps every token. With `cispo` and weights from 0 to 20 this is DPPO-TV.
    """

    kind: str = option("tv", "name of the mask")
    delta: float = option(0.15, "largest change of a token's probability; 0.15 dense models, 0.2 MoE", low=0.0)

    paper = "2602.04879"
    changes = "tokens whose probability has moved far in the direction of their advantage are masked"

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        change_BT = probability_change(inputs)
        return (change_BT <= self.delta).where(inputs.advantages_BT > 0, change_BT >= -self.delta)


def probability_change(inputs: LossInputs) -> Tensor:
    """pi - mu of each sampled token, detached; mu is at the step's initial weights."""
    return inputs.log_probs_BT.detach().exp() - inputs.old_log_probs_BT.exp()
