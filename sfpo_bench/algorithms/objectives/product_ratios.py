"""Products of token ratios, over the whole response or over a prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.ratios import Ratio, values_of, with_own_gradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class ProductRatio(Ratio):
    """The response's ratio on each token: log W = sg(sum_k log r_k) + log pi_t - sg(log pi_t).

    It is the importance weight of a response (arXiv:2503.14286, arXiv:2602.10693); GSPO's ratio is its T-th root.
    """

    kind: str = option("product", "name of the ratio")

    paper = "2503.14286, 2602.10693"
    changes = "all tokens of a response share one ratio, the product of the token ratios"

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        sum_B1 = values_of(super().log_ratios(inputs), inputs).sum(dim=1, keepdim=True)
        return with_own_gradient(sum_B1, inputs)


@dataclass
class PrefixProduct(Ratio):
    """The prefix ratio up to a token: sg(sum_{k<=t} log r_k) + log pi_t - sg(log pi_t) (CTPO, arXiv:2605.07331)."""

    kind: str = option("prefix_product", "name of the ratio")

    paper = "2605.07331"
    changes = "a token's ratio is the product of the ratios up to it"

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        sums_BT = values_of(super().log_ratios(inputs), inputs).cumsum(dim=1)
        return with_own_gradient(sums_BT, inputs)
