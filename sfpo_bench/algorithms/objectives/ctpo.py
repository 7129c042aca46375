"""CTPO: prefix ratios with clip bounds that widen with the prefix length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.objectives.product_ratios import PrefixProduct
from sfpo_bench.algorithms.objectives.ratios import Ratio
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Ctpo(PolicyGradient):
    """-min(r_t A, clip(r_t) A), log r_t clipped to [-clip_low t^p, clip_high t^p], t from 1 (arXiv:2605.07331).

    Where A < 0 the loss is also limited to |A| exp(clip_dual t^p), a dual clip that widens too. p = 0.5 follows the
    standard deviation of a sum of t log-ratios; p = 0 gives constant bounds.
    """

    kind: str = option("ctpo", "name of the objective")
    ratio: Ratio = option(PrefixProduct(), "probability ratio: prefix_product")
    clip_low: float = option(0.025, "log-ratios below - clip_low t^p are clipped", above=0.0)
    clip_high: float = option(0.05, "log-ratios above clip_high t^p are clipped", above=0.0)
    clip_dual: float = option(0.05, "log-ratios above clip_dual t^p are clipped where A < 0", above=0.0)
    power: float = option(0.5, "p: growth of the bounds with a token's position t; 0: constant", low=0.0, high=1.0)

    paper = "2605.07331"
    changes = "clip bounds in log space that widen with a token's position"

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        positions_BT = inputs.mask_BT.cumsum(dim=1).clamp(min=1).to(log_ratios_BT.dtype)
        widths_BT, negative_BT = positions_BT**self.power, inputs.advantages_BT < 0
        # Both clips combined in log space: a ratio that overflows would have a gradient of 0 * inf.
        above_BT = log_ratios_BT.minimum(self.clip_high * widths_BT)
        inside_BT = log_ratios_BT.clamp(-self.clip_low * widths_BT, self.clip_dual * widths_BT)
        bounded_BT = inside_BT.where(negative_BT, above_BT)
        return -bounded_BT.exp() * inputs.advantages_BT, bounded_BT != log_ratios_BT
