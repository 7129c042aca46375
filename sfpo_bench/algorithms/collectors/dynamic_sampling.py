"""DAPO's dynamic sampling: samples further problems until enough groups have mixed outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, RolloutSource
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import GradeStatus, Trajectory


@dataclass
class DynamicSampling(Facts, Collector):
    """Keep groups with 0 < correct < G, and sample further problems to fill the batch (DAPO, arXiv:2503.14476, 3.2).

    A round has as many problems as a step. After `max_rounds` rounds the first other groups fill the batch, so that it
    has the same size in every step; they add nothing to a policy gradient and count in its denominators. Groups keep
    the order in which they were sampled. If every group of the first round is kept, or `max_rounds` = 1, this is GRPO's
    batch.
    """

    kind: str = option("dynamic_sampling", "name of the collector")
    max_rounds: int = option(
        10, "largest number of rounds per step, after which other groups fill the batch; 10 in DAPO's recipe", low=1
    )

    paper = "2503.14476"
    changes = "groups that are all right or all wrong are replaced by sampling further problems"

    @property
    def most_rounds(self) -> int:
        return self.max_rounds

    def check(self, key: str, group: int) -> None:
        if group < 2:
            raise ConfigError(
                f"rollout.group = {group} with {key}.kind = dynamic_sampling: a group of one is all right or all "
                "wrong; set rollout.group to at least 2"
            )

    def collect(self, source: RolloutSource) -> Collected:
        wanted = len(source.problems)
        groups = _groups(source.roll_out(source.problems))
        rounds = 1
        while sum(map(has_signal, groups)) < wanted and rounds < self.max_rounds:
            rounds += 1
            groups += _groups(source.roll_out(source.further(rounds)))
        right = sum(one.grade.status is GradeStatus.correct for group in groups for one in group)
        kept = [groups[place] for place in chosen([has_signal(group) for group in groups], wanted)]
        return Collected(
            [replace(one, group=number) for number, group in enumerate(kept) for one in group],
            {
                "sampling_rounds": float(rounds),
                "sampled_groups_with_signal_share": sum(map(has_signal, groups)) / len(groups),
                "sampled_correct_share": right / (len(groups) * source.group),
                "filled_groups_share": sum(not has_signal(group) for group in kept) / wanted,
            },
        )


def has_signal(group: Sequence[Trajectory]) -> bool:
    """True for 0 < correct < G."""
    return 0 < sum(one.grade.status is GradeStatus.correct for one in group) < len(group)


def chosen(signals: Sequence[bool], wanted: int) -> list[int]:
    """Indices of the first `wanted` groups with a signal, filled with the first ones without; ascending."""
    by_signal = sorted(range(len(signals)), key=lambda place: not signals[place])  # stable sort keeps the order
    return sorted(by_signal[:wanted])


def _groups(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
    return [list(group) for _, group in groupby(trajectories, key=lambda one: one.group)]
