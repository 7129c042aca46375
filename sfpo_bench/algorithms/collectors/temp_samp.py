"""TempSamp-R1's rollouts: the last response of each group is the problem's reference solution."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, RolloutSource
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Trajectory


@dataclass
class TempSamp(Facts, Collector):
    """`rollout.group` - 1 sampled responses and the reference solution, all graded (arXiv:2509.18056).

    The solution costs no rollout and is excluded from the comparison with the engine. Since pi_old = pi for it, it has
    neither ratio nor clipping, so a batch is used for one optimizer step.
    """

    kind: str = option("temp_samp", "name of the collector")

    paper = "2509.18056"
    changes = "the reference solution replaces one sample of the group"

    @property
    def uses_solutions(self) -> bool:
        return True

    def check(self, key: str, group: int) -> None:
        if group < 2:
            raise ConfigError(
                f"rollout.group = {group} with {key}.kind = temp_samp: the reference solution takes one place of the "
                "group, and none is left for a sample; set rollout.group to at least 2 (4 in the paper)"
            )

    def collect(self, source: RolloutSource) -> Collected:
        samples = source.group - 1
        sampled, solutions = source.respond(source.problems, samples=samples), source.solutions(source.problems)
        rows = [
            (number, one)
            for number, solution in enumerate(solutions)
            for one in (*sampled[number * samples :][:samples], solution)
        ]
        owners = [source.problems[number] for number, _ in rows]
        grades = source.grade(owners, [one for _, one in rows])
        found = [
            Trajectory(problem, one, grade, number)
            for problem, (number, one), grade in zip(owners, rows, grades, strict=True)
        ]
        rewards = [one.grade.reward for one in found if not one.completion.is_sampled]
        return Collected(found, {"solution_reward_mean": sum(rewards) / len(rewards)})
