"""Sources of rollouts without a model: an engine that writes the noise's own key, and a task that grades it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sfpo_bench.core.types import (
    Completion,
    FinishReason,
    Grade,
    GradeStatus,
    Problem,
    Prompt,
    Sampling,
    Split,
    Trajectory,
)
from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.training.ranks import ALONE, Ranks
from sfpo_bench.training.rollouts import ProblemSchedule, Sampler, StepSource, Stopwatch


def problems(count: int) -> list[EncodedProblem]:
    return [EncodedProblem(Problem(str(n), f"p{n}", "1"), (n,)) for n in range(count)]


def trajectories(done: Sequence[Completion], grades: Sequence[Grade], group: int) -> list[Trajectory]:
    return [
        Trajectory(problems(1 + n // group)[-1].problem, completion, grade, n // group)
        for n, (completion, grade) in enumerate(zip(done, grades, strict=True))
    ]


@dataclass
class KeyEngine:
    """Responses of 1 to `max_new_tokens` tokens that are functions of the noise's names; remembers its requests."""

    asked: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        self.asked += requests
        return [self._respond(one, sample, sampling, noise) for one in requests for sample in one.samples]

    def _respond(self, one: Request, sample: int, sampling: Sampling, noise: NoiseStream) -> Completion:
        key = noise.key(one.problem_id, sample)
        ids = tuple(1 + (key >> place) % 20 for place in range(1 + key % sampling.max_new_tokens))
        log_probs = (-0.5,) * len(ids)
        return Completion(one.problem_id, sample, one.prompt_ids, ids, log_probs, str(key), FinishReason.stopped)

    def load(self, weights: Mapping[str, Tensor]) -> None: ...
    def free_memory(self) -> None: ...
    def metrics(self) -> Mapping[str, float]:
        return {}

    def started(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None: ...


@dataclass
class ByKey:
    """A response is right when a bit of its key says so; problems whose id is in `easy` or `hard` always or never."""

    easy: frozenset[str] = frozenset()
    hard: frozenset[str] = frozenset()

    def problems(self, split: Split) -> Sequence[Problem]:
        return []

    def prompt(self, problem: Problem) -> Prompt:
        return Prompt(problem.id, problem.text)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        right = problem.id in self.easy or (problem.id not in self.hard and int(completion.text) % 2 == 0)
        return Grade(GradeStatus.correct if right else GradeStatus.wrong, float(right), None)


def source_of(
    schedule: ProblemSchedule, group: int, task: ByKey | None = None, step: int = 1, ranks: Ranks = ALONE
) -> tuple[StepSource, KeyEngine, list[GradeStatus]]:
    """The source of a step, its engine, and the statuses that were counted."""
    engine, counted = KeyEngine(), list[GradeStatus]()

    def count(statuses: Iterable[GradeStatus]) -> None:
        counted.extend(statuses)

    sampler = Sampler(engine, task or ByKey(), schedule, Sampling(1.0, 6), group, schedule.seed, ranks)
    return sampler.at(step, Stopwatch(), count), engine, counted
