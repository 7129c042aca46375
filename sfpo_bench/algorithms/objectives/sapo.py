"""SAPO: a smooth gate on the ratio replaces the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Sapo(PolicyGradient):
    """-(4 / tau) sigmoid(tau (r_t - 1)) A on each token (arXiv:2511.20347).

    The gate's slope is 1 at r = 1 and decreases to zero on both sides; tau -> 0 gives r A plus a constant. No token
    counts as clipped.
    """

    kind: str = option("sapo", "name of the objective")
    positive_temperature: float = option(1.0, "tau where the advantage is above 0", above=0.0)
    negative_temperature: float = option(1.05, "tau elsewhere; a larger value is a sharper gate", above=0.0)

    paper = "2511.20347"
    changes = "the gradient decreases smoothly as the ratio moves away from 1"

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        advantages_BT = inputs.advantages_BT
        positive = advantages_BT.new_tensor(self.positive_temperature)
        tau_BT = positive.where(advantages_BT > 0, self.negative_temperature)
        gates_BT = (tau_BT * (log_ratios_BT.exp() - 1)).sigmoid() * (4 / tau_BT)
        return -gates_BT * advantages_BT, inputs.mask_BT.new_zeros(inputs.mask_BT.shape)
