"""M2PO: clip bounds from the second moment of the mini-batch's log-ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.clipped import bounded_surrogate
from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class M2po(PolicyGradient):
    """-min(r A, clip(r) A), with clip to [min(lowest, e^-tau), max(highest, e^tau)] (arXiv:2510.01161).

    Tokens with A > 0 and r > 1, or A < 0 and r < 1, are harmful. If their mean (log r)^2 in the mini-batch exceeds the
    budget, tau is the cap on their |log r| that meets it; otherwise nothing is clipped.
    """

    kind: str = option("m2po", "name of the objective")
    budget: float = option(0.04, "largest mean of (log r)^2 over harmful tokens without clipping", low=0.0)
    lowest: float = option(0.7, "ratios above it are never clipped from below", low=0.0, high=1.0)
    highest: float = option(1.5, "ratios below it are never clipped from above", low=1.0)

    surrogate_uses_statistics = True

    paper = "2510.01161"
    changes = "clips only where the mini-batch's harmful log ratios have a second moment over a budget"

    def surrogate_statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        harmful_BT = (mini_batch.advantages_BT * log_ratios_BT > 0) & mini_batch.mask_BT
        return {"tau": cap_of(log_ratios_BT[harmful_BT].abs().double(), self.budget)}

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        tau = inputs.statistics["tau"]
        lowest, highest = min(self.lowest, float((-tau).exp())), max(self.highest, float(tau.exp()))
        return bounded_surrogate(log_ratios_BT, inputs.advantages_BT, lowest, highest)


def cap_of(sizes_N: Tensor, budget: float) -> Tensor:
    """The tau at which the mean of min(size, tau)^2 is `budget`; infinite where the mean of size^2 is within it."""
    import torch

    count, squares_N = len(sizes_N), sizes_N.sort().values.square()
    below_N = squares_N.cumsum(dim=0) - squares_N
    # With k sizes below tau: the sum of their squares + (N - k) tau^2 = N budget.
    caps_N = (count * budget - below_N) / torch.arange(count, 0, -1, device=sizes_N.device)
    right_N = caps_N < squares_N  # the next size is above tau; the first such k is the solution
    return caps_N[right_N][0].clamp(min=0.0).sqrt() if bool(right_N.any()) else sizes_N.new_tensor(math.inf)
