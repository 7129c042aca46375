"""TOPR: REINFORCE for good responses, a truncated importance weight for bad ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.objectives.product_ratios import ProductRatio
from sfpo_bench.algorithms.objectives.ratios import Ratio
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Topr(PolicyGradient):
    """-A log pi where A >= 0, -sg(clamp(W, smallest_weight, largest_weight)) A log pi elsewhere (arXiv:2503.14286).

    W is the product of a response's token ratios; `ratio.kind=sequence` uses the geometric mean, as in verl's pull
    request. Tokens with negative advantage at a bound count as clipped.
    """

    kind: str = option("topr", "name of the objective")
    ratio: Ratio = option(ProductRatio(), "probability ratio: product, or sequence (verl)")
    smallest_weight: float = option(0.0, "lower bound of the weight for negative advantages", low=0.0, high=1.0)
    largest_weight: float = option(1.0, "upper bound of the weight for negative advantages", low=1.0)

    paper = "2503.14286"
    changes = "REINFORCE for positive advantages; the response's ratio, at most 1, weights negative ones"

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        negative_BT = inputs.advantages_BT < 0
        ratios_BT = log_ratios_BT.detach().exp()
        tapered_BT = ratios_BT.clamp(self.smallest_weight, self.largest_weight)
        weights_BT = tapered_BT.where(negative_BT, 1.0)
        return -weights_BT * inputs.advantages_BT * inputs.log_probs_BT, negative_BT & (tapered_BT != ratios_BT)
