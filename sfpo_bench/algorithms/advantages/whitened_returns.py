"""REINFORCE++: token returns whitened over the whole batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.advantages.group import AdvantageScale, group_advantages, require_groups
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Advantage, Rewarded
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class WhitenedReturns(Facts, Advantage):
    """A_t = (R_t - mean) / sqrt(var + 1e-8) over the valid tokens of the step's batch (REINFORCE++, arXiv:2501.03262).

    The reward is on a response's last token, so R_t = gamma^(T - t) r. `group_baseline` first subtracts the group mean
    from r, without dividing by its std (the paper's baseline variant). The variance divides by the number of tokens
    minus one, as in verl. Without any variance all advantages are exactly zero.
    """

    kind: str = option("whitened_returns", "name of the advantage")
    gamma: float = option(1.0, "discount per token", above=0.0, high=1.0)
    group_baseline: bool = option(False, "first subtract the group mean from rewards")

    paper = "2501.03262"
    changes = "token returns, whitened over the whole batch, replace group statistics"

    def check(self, key: str, group: int) -> None:
        if self.group_baseline:
            require_groups(f"{key}.group_baseline", group)

    def advantages(self, rewarded: Rewarded) -> Tensor:
        rewards_PG = rewarded.rewards_PG
        if self.group_baseline:
            rewards_PG = group_advantages(rewards_PG, AdvantageScale.none)
        mask_BT = rewarded.mask_BT
        # The number of tokens after each one; negative on padding, which is masked below.
        left_BT = mask_BT.sum(dim=1, keepdim=True) - mask_BT.cumsum(dim=1)
        returns_BT = rewards_PG.reshape(-1, 1) * self.gamma**left_BT
        return whitened(returns_BT, mask_BT)


def whitened(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-8) over the valid tokens, zero on padding; all zeros when all values are equal."""
    values_N = values_BT[mask_BT]
    if bool((values_N == values_N[:1]).all()):
        return values_BT.new_zeros(mask_BT.shape)
    whitened_BT = (values_BT - values_N.mean()) * (values_N.var() + 1e-8).rsqrt()
    return whitened_BT.masked_fill(~mask_BT, 0.0)
