"""VerIPO's curriculum: problems that the policy solves every time are met no more."""

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
    """A group of responses to each problem of the step; a problem whose responses are all correct is dropped from later
    steps with the probability `share` (VerIPO, arXiv:2505.19000: 80 % of the simple examples).

    Others that the step has not met take the place of those that were dropped, as long as the training set has any:
    `max_rounds` times as many as a step has are looked through. share = 0 is GRPO's batch, bit for bit.
    """

    kind: str = option("drop_solved", "name of the collector")
    share: float = option(
        0.8, "probability that a problem is dropped when its responses are all correct", low=0.0, high=1.0
    )
    max_rounds: int = option(
        10, "problems looked through in one step, in units of rollout.prompts; then dropped ones are met again", low=1
    )

    paper = "2505.19000"
    changes = "problems that are solved every time are dropped from later steps"

    def __post_init__(self) -> None:
        self._dropped: set[str] = set()  # not a field: every field is a setting

    def collect(self, source: RolloutSource) -> Collected:
        trajectories = source.roll_out(self._kept(source))
        draws = source.draws("drop_solved")
        for group in _groups(trajectories):
            solved = all(one.grade.status is GradeStatus.correct for one in group)
            # Drawn for every group, so that a grade changes no other group's draw.
            if draws.random() < self.share and solved:
                self._dropped.add(group[0].problem.id)
        return Collected(trajectories, {"dropped_problems": float(len(self._dropped))})

    def _kept(self, source: RolloutSource) -> Sequence[Problem]:
        """As many problems as the step has, none that was dropped as long as there are others."""
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
