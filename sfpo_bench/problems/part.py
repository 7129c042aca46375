"""A fixed random subset of a set's problems."""

from __future__ import annotations

from collections.abc import Sequence

from sfpo_bench.core.seeding import stream_key
from sfpo_bench.core.types import Problem
from sfpo_bench.problems.canonical import problem_key


def part(name: str, problems: Sequence[Problem], count: int) -> Sequence[Problem]:
    """`count` problems of the set `name` (0: all) in their original order.

    A smaller subset is contained in a larger one, and the choice does not depend on the order of the source.
    """
    if not count or count >= len(problems):
        return problems
    order = sorted(problems, key=lambda problem: stream_key(0, "benchmark_part", name, problem_key(problem.text)))
    drawn = {problem.id for problem in order[:count]}
    return [problem for problem in problems if problem.id in drawn]
