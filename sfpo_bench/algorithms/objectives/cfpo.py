"""CFPO: a quadratic penalty on the ratio replaces the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Cfpo(PolicyGradient):
    """-(r_t A - |A| (r_t - 1)^2 / (2 epsilon)) on each token, the gradient through r in both terms (arXiv:2601.22801).

    Its optimum is r = 1 + sign(A) epsilon, where a clip would start; beyond it the gradient reverses. No token counts
    as clipped.
    """

    kind: str = option("cfpo", "name of the objective")
    epsilon: float = option(0.2, "distance of the optimal ratio from 1", above=0.0)

    paper = "2601.22801"
    changes = "ratios are pulled to 1 + sign(A) epsilon, and no token loses its gradient"

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        advantages_BT, ratios_BT = inputs.advantages_BT, log_ratios_BT.exp()
        pull_BT = advantages_BT.abs() * (ratios_BT - 1).square() / (2 * self.epsilon)
        return pull_BT - ratios_BT * advantages_BT, inputs.mask_BT.new_zeros(inputs.mask_BT.shape)
