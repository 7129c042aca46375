"""CISPO: the clipped ratio is a detached weight, so no token loses its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Cispo(PolicyGradient):
    """-sg(clamp(r_t, smallest_weight, largest_weight)) A log pi on each token (arXiv:2506.13585, Eq. 4).

    The bounds apply to the weight itself and are not distances from 1. TRL uses only an upper bound of 5, verl bounds
    of 1 - clip_low and 1 + clip_high. Tokens at a bound count as clipped.
    """

    kind: str = option("cispo", "name of the objective")
    smallest_weight: float = option(0.0, "lower bound of the weight; 0: none (TRL)", low=0.0, high=1.0)
    largest_weight: float = option(5.0, "upper bound of the weight", low=1.0)

    paper = "2506.13585"
    changes = "the clipped ratio weights a token's gradient instead of cutting it off"

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        ratios_BT = log_ratios_BT.detach().exp()
        weights_BT = ratios_BT.clamp(self.smallest_weight, self.largest_weight)
        return -weights_BT * inputs.advantages_BT * inputs.log_probs_BT, weights_BT != ratios_BT
