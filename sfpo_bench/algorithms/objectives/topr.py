"""TOPR: good responses as in REINFORCE, bad ones by a weight that tapers off."""

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

    W is the product of a response's ratios; `ratio.kind=sequence` takes its length's root, as verl's request does.
    Tokens of negative advantage whose weight is bounded are counted as clipped.
    """

    kind: str = option("topr", "name of the objective")
    ratio: Ratio = option(ProductRatio(), "what is compared with the policy that sampled; product, or sequence (verl)")
    smallest_weight: float = option(0.0, "smaller weights of negative advantages become it", low=0.0, high=1.0)
    largest_weight: float = option(1.0, "larger weights of negative advantages become it", low=1.0)

    paper = "2503.14286"
    changes = "positive advantages train as in REINFORCE, negative ones by the response's ratio, at most 1"

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        negative_BT = inputs.advantages_BT < 0
        ratios_BT = log_ratios_BT.detach().exp()
        tapered_BT = ratios_BT.clamp(self.smallest_weight, self.largest_weight)
        weights_BT = tapered_BT.where(negative_BT, 1.0)
        return -weights_BT * inputs.advantages_BT * inputs.log_probs_BT, negative_BT & (tapered_BT != ratios_BT)
