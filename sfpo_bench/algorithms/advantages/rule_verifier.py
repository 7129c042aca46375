"""A rule-based verifier that ranks a group's responses, for pairwise objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.advantages.group import AdvantageScale, group_advantages, require_groups
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Advantage, Rewarded
from sfpo_bench.core.options import option
from sfpo_bench.core.types import FinishReason, GradeStatus, Trajectory

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class RuleVerifier(Facts, Advantage):
    """The rule-based score of each response minus the group mean (VerIPO, arXiv:2505.19000).

    Unverified: the rules are ours. VerIPO's verifier is a language model that judges chains of thought.

        3  correct and complete        1  wrong, with an answer, complete
        2  correct and truncated       0  without an answer, truncated and wrong, or not graded

    `prefer_longer` adds length / (limit + 1), since VerIPO's pairs should lengthen chains of thought. A group without a
    correct response gets zeros.
    """

    kind: str = option("rule_verifier", "name of the advantage")
    prefer_longer: bool = option(True, "prefer the longer of two equally good responses")

    paper = "2505.19000"
    trust = "?"
    unverified = "the verifier is ours, by grade, truncation and length; the paper's is a language model"
    changes = "a verifier's ranking of the group replaces rewards"

    def check(self, key: str, group: int) -> None:
        require_groups(key, group)

    def advantages(self, rewarded: Rewarded) -> Tensor:
        scores_PG = rewarded.rewards_PG.new_tensor([float(rank(one)) for one in rewarded.trajectories])
        scores_PG = scores_PG.view_as(rewarded.rewards_PG)
        hopeless_P1 = (scores_PG < 2).all(dim=1, keepdim=True)
        if self.prefer_longer:
            scores_PG = scores_PG + rewarded.lengths_PG / (rewarded.max_response_tokens + 1)
        return group_advantages(scores_PG.masked_fill(hopeless_P1, 0.0), AdvantageScale.none)


def rank(one: Trajectory) -> int:
    """The score of a response by its grade and truncation, from 0 to 3."""
    finished = one.completion.finish_reason is FinishReason.stopped
    if one.grade.status is GradeStatus.correct:
        return 2 + finished
    return int(one.grade.status is GradeStatus.wrong and finished)
