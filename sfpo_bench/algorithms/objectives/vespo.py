"""VESPO: a smooth function of the response's importance weight."""

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
class Vespo(PolicyGradient):
    """-sg(phi(W)) A log pi, phi(W) = e^lambda W^k e^(-lambda W) (arXiv:2602.10693).

    W is the product of the response's token ratios. phi is 1 at W = 1, has its maximum at W = k / lambda, and goes to 0
    on both sides. No token counts as clipped.
    """

    kind: str = option("vespo", "name of the objective")
    ratio: Ratio = option(ProductRatio(), "probability ratio: product")
    positive_power: float = option(2.0, "k where the advantage is at least 0", low=0.0)
    positive_decay: float = option(3.0, "lambda where the advantage is at least 0", above=0.0)
    negative_power: float = option(3.0, "k where the advantage is below 0", low=0.0)
    negative_decay: float = option(2.0, "lambda where the advantage is below 0", above=0.0)

    paper = "2602.10693"
    changes = "a smooth function of the response's ratio weights its gradient"

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        log_w_BT, negative_BT = log_ratios_BT.detach(), inputs.advantages_BT < 0
        positive_phi_BT, negative_phi_BT = (
            # In log space, so that a W that overflows has weight 0.
            (power * log_w_BT - decay * log_w_BT.expm1()).exp()
            for power, decay in (
                (self.positive_power, self.positive_decay),
                (self.negative_power, self.negative_decay),
            )
        )
        weights_BT = negative_phi_BT.where(negative_BT, positive_phi_BT)
        token_BT = -weights_BT * inputs.advantages_BT * inputs.log_probs_BT
        return token_BT, inputs.mask_BT.new_zeros(inputs.mask_BT.shape)
