"""RLOO: rewards minus the mean of the other responses in the group."""

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
class LeaveOneOut(Facts, Advantage):
    """A_i = r_i - mean of r_j over the others of the group: an unbiased baseline (arXiv:2402.14740).

    It is computed as G / (G - 1) times Dr. GRPO's centred reward, so that equal rewards give exact zeros.
    """

    kind: str = option("leave_one_out", "name of the advantage")

    paper = "2402.14740"
    changes = "the baseline is the mean of the other responses' rewards"

    def check(self, key: str, group: int) -> None:
        require_groups(key, group)

    def advantages(self, rewarded: Rewarded) -> Tensor:
        group = rewarded.rewards_PG.shape[1]
        return group_advantages(rewarded.rewards_PG, AdvantageScale.none) * (group / max(1, group - 1))
