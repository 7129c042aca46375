"""DAPO's soft overlong punishment: a length penalty near the token limit, then GRPO's advantages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class GroupOverlong(GroupAdvantage):
    """GRPO's advantages of r + penalty min(0, (L - C - length) / C), with token limit L (DAPO, Eq. 13).

    The penalty grows linearly from 0 at L - C tokens to `penalty` at L. DAPO uses rewards of 1 and -1 and a penalty of
    1; for rewards of 1 and 0 this equals a penalty of 0.5, since advantages do not depend on scale. `cache_share` is C
    / L, so that it fits every limit: the paper's 4,096 of 20,480 tokens are 0.2.
    """

    kind: str = option("group_overlong", "name of the advantage")
    penalty: float = option(0.5, "largest penalty, subtracted at the token limit", low=0.0)
    cache_share: float = option(
        0.2, "share of the token limit, at its end, over which the penalty grows", above=0.0, high=1.0
    )

    paper = "2503.14476"
    changes = "a length penalty near the token limit, then GRPO's advantages"

    def advantages(self, rewarded: Rewarded) -> Tensor:
        cache = self.cache_share * rewarded.max_response_tokens
        beyond_PG = (rewarded.max_response_tokens - cache - rewarded.lengths_PG.double()) / cache
        shaped_PG = rewarded.rewards_PG + self.penalty * beyond_PG.clamp(max=0.0)
        return super().advantages(replace(rewarded, rewards_PG=shaped_PG))
