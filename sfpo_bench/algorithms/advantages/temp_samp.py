"""TempSamp-R1's advantages, which limit the influence of the reference solution in a group."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class Treatment(StrEnum):
    """How the reference solution's influence is limited.

    shaping  compress all rewards above tau and stretch those below
    cap      limit the solution's reward to a share of the group's largest reward
    anchor   leave the solution out of the statistics; its advantage is a multiple of the largest sampled one
    """

    shaping = "shaping"
    cap = "cap"
    anchor = "anchor"


@dataclass
class TempSampAdvantage(GroupAdvantage):
    """GRPO's advantages of rewards that are shaped for a reference solution in the group (arXiv:2509.18056).

    Shaped rewards are tau + a1 ln(R - tau + 1) for R >= tau, and tau - (exp(a2 (tau - R)) - 1) / (exp(a2) - 1) below.
    The other two treatments change only the solution, which is the response that was not sampled. In a group without
    one, `shaping` is GRPO on shaped rewards and the others are GRPO.

    Rewards are assumed to be in [0, 1]. With rewards 0 and 1 only, shaping is a fixed affine map and changes advantages
    by no more than `eps` does; it matters for graded rewards.
    """

    kind: str = option("temp_samp", "name of the advantage")
    treatment: Treatment = option(Treatment.shaping, "how the solution's influence is limited: shaping, cap or anchor")
    tau: float = option(0.8, "reward above which rewards are compressed", low=0.0, high=1.0)
    a1: float = option(0.01, "scale of rewards above tau", low=0.0)
    a2: float = option(1.0, "curvature of the stretching below tau", above=0.0, high=50.0)
    cap_share: float = option(
        0.8, "limit of the solution's reward, as a share of the group's largest reward", above=0.0
    )
    anchor_factor: float = option(1.2, "the solution's advantage, as a multiple of the largest sampled one", low=0.0)

    paper = "2509.18056"
    changes = "GRPO's advantages with a limited influence of the reference solution"

    def check(self, key: str, group: int) -> None:
        super().check(key, group)
        if self.treatment is Treatment.anchor and group < 3:
            raise ConfigError(
                f"rollout.group = {group} with {key}.treatment = anchor: the one sample beside the solution would be "
                "compared with itself; set rollout.group to at least 3, or choose another treatment"
            )

    def advantages(self, rewarded: Rewarded) -> Tensor:
        import torch

        rewards_PG = rewarded.rewards_PG
        sampled_PG = torch.ones_like(rewards_PG, dtype=torch.bool)
        if rewarded.trajectories:
            each = [one.completion.is_sampled for one in rewarded.trajectories]
            sampled_PG = torch.tensor(each, device=rewards_PG.device).view(rewards_PG.shape)
        if self.treatment is Treatment.shaping:
            return super().advantages(replace(rewarded, rewards_PG=shaped(rewards_PG, self.tau, self.a1, self.a2)))
        if self.treatment is Treatment.cap:
            most_P1 = self.cap_share * rewards_PG.amax(dim=1, keepdim=True)
            capped_PG = rewards_PG.where(sampled_PG, rewards_PG.minimum(most_P1))
            return super().advantages(replace(rewarded, rewards_PG=capped_PG))
        kept_PG = sampled_PG if rewarded.kept_PG is None else sampled_PG & rewarded.kept_PG
        own_PG = super().advantages(replace(rewarded, kept_PG=kept_PG))
        return own_PG.where(sampled_PG, self.anchor_factor * own_PG.amax(dim=1, keepdim=True))


def shaped(rewards: Tensor, tau: float, a1: float, a2: float) -> Tensor:
    """The shaped rewards: monotone in the reward, with fixed point tau."""
    above, below = (rewards - tau).clamp(min=0.0), (tau - rewards).clamp(min=0.0)
    # At each element one of the two is 0, and so is its term.
    return tau + a1 * above.log1p() - (a2 * below).expm1() / math.expm1(a2)
