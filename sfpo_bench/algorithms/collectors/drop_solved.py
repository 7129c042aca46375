"""VerIPO's curriculum: drops problems that the policy always solves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, CollectorState, RolloutSource
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.core.options import option
from sfpo_bench.core.types import GradeStatus, Problem, Trajectory


@dataclass
class DropSolved(Facts, Collector):
    """Drop a problem from later steps with probability `share` when all its responses are correct (VerIPO, 2505.19000).

    The paper drops 80 % of the simple examples. Other problems of the training set that are new in the step replace
    dropped ones; at most `max_rounds` times `rollout.prompts` problems are considered. share = 0 is GRPO's batch, bit
    for bit.
    """

    kind: str = option("drop_solved", "name of the collector")
    share: float = option(0.8, "probability that a problem with only correct responses is dropped", low=0.0, high=1.0)
    max_rounds: int = option(
        10, "most problems considered per step, in units of rollout.prompts; then dropped ones are used again", low=1
    )

    paper = "2505.19000"
    changes = "problems that are always solved are dropped from later steps"

    def __post_init__(self) -> None:
        self._dropped: set[str] = set()  # not a field, since every field is a setting

    def collect(self, source: RolloutSource) -> Collected:
        trajectories = source.roll_out(self._kept(source))
        draws = source.draws("drop_solved")
        for group in _groups(trajectories):
            solved = all(one.grade.status is GradeStatus.correct for one in group)
            # Drawn for every group, so that a grade does not change other groups' draws.
            if draws.random() < self.share and solved:
                self._dropped.add(group[0].problem.id)
        return Collected(trajectories, {"dropped_problems": float(len(self._dropped))})

    def _kept(self, source: RolloutSource) -> Sequence[Problem]:
        """The problems of the step with dropped ones replaced, as far as there are others."""
        wanted, seen = len(source.problems), list(source.problems)
        kept = [problem for problem in seen if problem.id not in self._dropped]
        for number in range(2, self.max_rounds + 1):
            if len(kept) >= wanted:
                break
            met = {problem.id for problem in seen}
            further = [problem for problem in source.further(number) if problem.id not in met]
            seen += further
            kept += [problem for problem in further if problem.id not in self._dropped]
        again = [problem for problem in seen if problem.id in self._dropped]
        return [*kept, *again][:wanted]

    def state(self) -> CollectorState:
        return {"dropped": sorted(self._dropped)}

    def restore(self, state: CollectorState) -> None:
        dropped = state["dropped"]
        assert isinstance(dropped, list)
        self._dropped = {str(one) for one in dropped}


def _groups(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
    return [list(group) for _, group in groupby(trajectories, key=lambda one: one.group)]
