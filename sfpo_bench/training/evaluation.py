"""Held-out accuracy of the current policy, sampled and greedy, on fixed problems of a split."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import EvaluationRecord, FinishReason, GradeStatus, Sampling, Split
from sfpo_bench.problems.protocol import Task, grade_all
from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.rollout.protocol import NoiseStream, Request, RolloutEngine
from sfpo_bench.settings.training import EvaluationSettings
from sfpo_bench.training.ranks import ALONE, Ranks


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The problems of an evaluation: `samples` responses to each, sampled or (temperature 0) greedy."""

    split: Split
    problems: tuple[EncodedProblem, ...]
    samples: int
    temperature: float

    @property
    def mode(self) -> str:
        return "sampled" if self.temperature > 0 else "greedy"


class Evaluator:
    """Evaluates the policy on the same problems each time, with noise that differs by step and seed.

    Each rank evaluates its share of the problems.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        task: Task,
        evaluation_sets: Sequence[EvaluationSet],
        max_new_tokens: int,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self._engine = engine
        self._task = task
        self._sets = evaluation_sets
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._ranks = ranks

    def evaluate(self, step: int, costs: Costs) -> list[EvaluationRecord]:
        """One record per set for the policy after `step`; `costs` are copied into each."""
        return [self._evaluate(given, step, costs) for given in self._sets]

    def _evaluate(self, given: EvaluationSet, step: int, costs: Costs) -> EvaluationRecord:
        started = time.perf_counter()
        samples = tuple(range(given.samples))
        mine = self._ranks.share(given.problems)
        requests = [Request(item.problem.id, item.prompt_ids, samples) for item in mine]
        noise = NoiseStream(self._seed, f"evaluate/{given.split}/{given.mode}", step)
        with self._ranks.together():
            completions = self._engine.generate(requests, Sampling(given.temperature, self._max_new_tokens), noise)
            grades = grade_all(self._task, [item.problem for item in mine for _ in samples], completions)
        statuses = Counter(self._ranks.gather([grade.status.value for grade in grades]))
        truncated = [completion.finish_reason is FinishReason.truncated for completion in completions]
        return EvaluationRecord(
            step=step,
            time_unix_s=time.time(),
            costs=costs,
            split=given.split,
            mode=given.mode,
            temperature=given.temperature,
            accuracy=statuses[GradeStatus.correct.value] / statuses.total(),
            n=statuses.total(),
            problems=len(given.problems),
            statuses=dict(sorted(statuses.items())),
            truncated=sum(self._ranks.gather(truncated)),
            seconds=time.perf_counter() - started,
        )


def evaluation_sets(
    settings: EvaluationSettings, report: Sequence[EncodedProblem], select: Sequence[EncodedProblem]
) -> tuple[EvaluationSet, ...]:
    """The sets for sampled accuracy on both splits and greedy accuracy on the report split.

    The problems are a fixed draw, the same for every arm and seed. A split with fewer problems than `responses` samples
    each problem often enough to reach that number.
    """
    sets = [
        _sampled(split, problems, responses, settings.temperature)
        for split, problems, responses in (
            (Split.report, report, settings.responses),
            (Split.select, select, settings.select_responses),
        )
        if responses
    ]
    if settings.greedy_problems:
        sets.append(EvaluationSet(Split.report, _draw(Split.report, report, settings.greedy_problems), 1, 0.0))
    return tuple(sets)


def _sampled(split: Split, problems: Sequence[EncodedProblem], responses: int, temperature: float) -> EvaluationSet:
    drawn = _draw(split, problems, responses)
    return EvaluationSet(split, drawn, math.ceil(responses / len(drawn)), temperature)


def _draw(split: Split, problems: Sequence[EncodedProblem], count: int) -> tuple[EncodedProblem, ...]:
    order = generator(0, "evaluation_problems", split.value).permutation(len(problems))
    return tuple(problems[index] for index in order[:count])
