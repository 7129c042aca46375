"""MinPRO's ratio: a token's own times the smallest of those before it."""

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
    """Of a token and the least likely before it: sg(m_t) r_t, m_t = min_{k<t} r_k, m_1 = 1 (MinPRO, arXiv:2601.22718).

    The minimum is over strictly earlier tokens of the same response, padding left out, and may exceed 1. Under `cispo`
    the whole weight is detached, MinPRO's soft form; under `clipped` it is the hard one. *Unverified*: the paper's clip
    bounds; no floor (`smallest_weight` 0) is our reading, since one of 0.8 leaves the minimum next to nothing to do.
    """

    kind: str = option("prefix_minimum", "name of the ratio")

    paper = "2601.22718"
    trust = "?"
    changes = "a token's ratio is multiplied by the smallest of those before it"
    unverified = "the clip bounds of the paper; ours for the soft form are no floor and 1.28"

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        log_ratios_BT = super().log_ratios(inputs)
        # Padding never is the minimum; before the first token there is none.
        seen_BT = log_ratios_BT.detach().masked_fill(~inputs.mask_BT, math.inf).cummin(dim=1).values
        earlier_BT = seen_BT.roll(1, dims=1)
        earlier_BT[:, :1] = math.inf
        return log_ratios_BT + earlier_BT.masked_fill(earlier_BT == math.inf, 0.0)
