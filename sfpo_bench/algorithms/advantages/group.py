"""GRPO's advantages: rewards minus the group mean, divided by the group's standard deviation or not (Dr. GRPO)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Advantage, Rewarded
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class AdvantageScale(StrEnum):
    """The divisor of centred rewards: the group's standard deviation, or none (Dr. GRPO)."""

    std = "std"
    none = "none"


@dataclass
class GroupAdvantage(Facts, Advantage):
    """A = (r - mean_G r) / (std_G r + eps) of each response in its group (arXiv:2402.03300, section 4.1.2)."""

    kind: str = option("group", "name of the advantage")
    scale: AdvantageScale = option(AdvantageScale.std, "divide centred rewards by the group's std, or by none")
    eps: float = option(1e-6, "added to the standard deviation", above=0.0)

    paper = "2402.03300, 2503.20783"
    changes = "rewards minus the mean of their group"

    applies_kept = True

    def check(self, key: str, group: int) -> None:
        require_groups(key, group)

    def advantages(self, rewarded: Rewarded) -> Tensor:
        if rewarded.kept_PG is not None:
            return kept_advantages(rewarded.rewards_PG, rewarded.kept_PG, self.scale, self.eps)
        return group_advantages(rewarded.rewards_PG, self.scale, self.eps)


def require_groups(key: str, group: int) -> None:
    """Raise `ConfigError` for groups of one response."""
    if group < 2:
        raise ConfigError(
            f"rollout.group = {group} with {key} relative to a group: every advantage would be zero; set rollout.group "
            "to at least 2"
        )


def group_advantages(rewards_PG: Tensor, scale: AdvantageScale = AdvantageScale.std, eps: float = 1e-6) -> Tensor:
    """Group-relative advantages A = (r - mean_G r) / (std_G r + eps), shape [P, G].

    `std` is the sample standard deviation (G - 1 in the denominator), as in verl and TRL. With `AdvantageScale.none` A
    = r - mean_G r (arXiv:2503.20783). A zero-variance group gets exact zeros, and so does every group with G = 1.
    """
    # The mean of equal numbers can have a rounding error, which 1/eps would amplify.
    silent_P1 = (rewards_PG == rewards_PG[:, :1]).all(dim=1, keepdim=True)
    centred_PG = (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)).masked_fill(silent_P1, 0.0)
    if scale is AdvantageScale.none or rewards_PG.shape[1] == 1:
        return centred_PG
    return centred_PG / (rewards_PG.std(dim=1, keepdim=True) + eps)


def kept_advantages(rewards_PG: Tensor, kept_PG: Tensor, scale: AdvantageScale, eps: float) -> Tensor:
    """`group_advantages` over the kept responses of each group only, 0 for the others, [P, G]."""
    advantages_PG = rewards_PG.new_zeros(rewards_PG.shape)
    for advantages_G, rewards_G, kept_G in zip(advantages_PG, rewards_PG, kept_PG, strict=True):
        if kept_G.any():
            advantages_G[kept_G] = group_advantages(rewards_G[kept_G][None], scale, eps)[0]
    return advantages_PG
