"""Held-out accuracy of the present policy: sampled and greedy, on fixed problems of a split."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import Costs, EvaluationRecord, FinishReason, GradeStatus, Sampling, Split
from sfpo_bench.problems.protocol import Task, grade_all
from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.rollout.protocol import NoiseStream, Request, RolloutEngine
from sfpo_bench.settings.training import EvaluationSettings
from sfpo_bench.training.ranks import ALONE, Ranks


@dataclass(frozen=True, slots=True)
class Quiz:
    """One thing an evaluation asks: `samples` responses to each of `problems`, sampled or (temperature 0) greedy."""

    split: Split
    problems: tuple[EncodedProblem, ...]
    samples: int
    temperature: float

    @property
    def mode(self) -> str:
        return "sampled" if self.temperature > 0 else "greedy"


class Evaluator:
    """Asks the same quizzes at every evaluation; the noise differs from step to step and from seed to seed. Each of
    several ranks asks some of the problems."""

    def __init__(
        self,
        engine: RolloutEngine,
        task: Task,
        quizzes: Sequence[Quiz],
        max_new_tokens: int,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self._engine = engine
        self._task = task
        self._quizzes = quizzes
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._ranks = ranks

    def evaluate(self, step: int, costs: Costs) -> list[EvaluationRecord]:
        """One record per quiz for the policy as it is after `step`; `costs` are copied into each."""
        return [self._ask(quiz, step, costs) for quiz in self._quizzes]

    def _ask(self, quiz: Quiz, step: int, costs: Costs) -> EvaluationRecord:
        started = time.perf_counter()
        samples = tuple(range(quiz.samples))
        mine = self._ranks.share(quiz.problems)
        requests = [Request(item.problem.id, item.prompt_ids, samples) for item in mine]
        noise = NoiseStream(self._seed, f"evaluate/{quiz.split}/{quiz.mode}", step)
        with self._ranks.together():
            completions = self._engine.generate(requests, Sampling(quiz.temperature, self._max_new_tokens), noise)
            grades = grade_all(self._task, [item.problem for item in mine for _ in samples], completions)
        statuses = Counter(self._ranks.gather([grade.status.value for grade in grades]))
        truncated = [completion.finish_reason is FinishReason.truncated for completion in completions]
        return EvaluationRecord(
            step=step,
            time_unix_s=time.time(),
            costs=costs,
            split=quiz.split,
            mode=quiz.mode,
            temperature=quiz.temperature,
            accuracy=statuses[GradeStatus.correct.value] / statuses.total(),
            n=statuses.total(),
            problems=len(quiz.problems),
            statuses=dict(sorted(statuses.items())),
            truncated=sum(self._ranks.gather(truncated)),
            seconds=time.perf_counter() - started,
        )


def quizzes(
    settings: EvaluationSettings, report: Sequence[EncodedProblem], select: Sequence[EncodedProblem]
) -> tuple[Quiz, ...]:
    """Sampled accuracy on both splits and, beside it, greedy accuracy on the report split.

    The problems are a fixed draw, the same for every arm and seed. Where a split has fewer problems than responses are
    asked for, each gets as many samples as it takes to have at least that many.
    """
    asked = [
        _sampled(split, problems, responses, settings.temperature)
        for split, problems, responses in (
            (Split.report, report, settings.responses),
            (Split.select, select, settings.select_responses),
        )
        if responses
    ]
    if settings.greedy_problems:
        asked.append(Quiz(Split.report, _draw(Split.report, report, settings.greedy_problems), 1, 0.0))
    return tuple(asked)


def _sampled(split: Split, problems: Sequence[EncodedProblem], responses: int, temperature: float) -> Quiz:
    drawn = _draw(split, problems, responses)
    return Quiz(split, drawn, math.ceil(responses / len(drawn)), temperature)


def _draw(split: Split, problems: Sequence[EncodedProblem], count: int) -> tuple[EncodedProblem, ...]:
    order = generator(0, "evaluation_problems", split.value).permutation(len(problems))
    return tuple(problems[index] for index in order[:count])
