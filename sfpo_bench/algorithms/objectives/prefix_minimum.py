"""MinPRO's ratio: a token's ratio times the smallest preceding one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.ratios import Ratio
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PrefixMinimum(Ratio):
    """sg(m_t) r_t with the prefix minimum m_t = min_{k<t} r_k, m_1 = 1 (MinPRO, arXiv:2601.22718).

    The minimum is over strictly earlier tokens of the response, without padding, and may exceed 1. With `cispo` the
    whole weight is detached, which is MinPRO's soft form; with `clipped` it is the hard form. *Unverified*: the paper's
    clip bounds; no lower bound (`smallest_weight` 0) is our reading, since with 0.8 the minimum would have almost no
    effect.
    """

    kind: str = option("prefix_minimum", "name of the ratio")

    paper = "2601.22718"
    trust = "?"
    changes = "a token's ratio is multiplied by the smallest preceding ratio"
    unverified = "the paper's clip bounds; ours for the soft form are no lower bound and 1.28"

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        log_ratios_BT = super().log_ratios(inputs)
        # Padding is excluded from the minimum; the first token has none.
        seen_BT = log_ratios_BT.detach().masked_fill(~inputs.mask_BT, math.inf).cummin(dim=1).values
        earlier_BT = seen_BT.roll(1, dims=1)
        earlier_BT[:, :1] = math.inf
        return log_ratios_BT + earlier_BT.masked_fill(earlier_BT == math.inf, 0.0)
