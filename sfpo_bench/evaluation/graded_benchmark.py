"""Graded samples by benchmark and problem: what scores are computed from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sfpo_bench.core.types import FinishReason, GradeStatus
from sfpo_bench.grading.failures import failed
from sfpo_bench.results.sample_store import GradedSample
from sfpo_bench.statistics.crossed import Scores
from sfpo_bench.statistics.sample_scores import avg_at_k, maj_at_k, pass_at_k

METRICS = {"avg": avg_at_k, "pass": pass_at_k, "maj": maj_at_k}


@dataclass(frozen=True, slots=True)
class GradedProblem:
    """The samples of one problem, by sample number; each tuple has one entry per sample."""

    key: str
    id: str
    classes: tuple[int, ...]
    truncated: tuple[bool, ...]
    answered: tuple[bool, ...]
    boxed: tuple[bool, ...]
    undecided: tuple[bool, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GradedBenchmark:
    """The graded samples of one model on one benchmark, sorted by problem key."""

    benchmark: str
    problems: tuple[GradedProblem, ...]

    @property
    def samples(self) -> int:
        """How many samples every problem has at least."""
        return min((len(one.classes) for one in self.problems), default=0)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(one.key for one in self.problems)

    def scores(self, metric: str, k: int) -> Scores | None:
        """One score in [0, 1] per problem: `avg`, `pass` or `maj` at k; None where some problem has too few samples."""
        found = [METRICS[metric](one.classes, k) for one in self.problems]
        known = [score for score in found if score is not None]
        return np.array(known) if known and len(known) == len(found) else None

    def share(self, field: str) -> float:
        """The share of samples with a property: `truncated`, `answered`, `boxed` or `undecided`."""
        return float(np.mean([value for one in self.problems for value in getattr(one, field)]))

    @property
    def tokens_mean(self) -> float:
        """Mean length of a response, the end-of-sequence token included."""
        return float(np.mean([value for one in self.problems for value in one.tokens]))

    def without(self, ids: Collection[str]) -> GradedBenchmark:
        """The benchmark without the problems of these ids."""
        return replace(self, problems=tuple(one for one in self.problems if one.id not in ids))

    def only(self, keys: Collection[str]) -> GradedBenchmark:
        """The benchmark with the problems of these keys alone."""
        return replace(self, problems=tuple(one for one in self.problems if one.key in keys))


def graded_benchmarks(graded: Sequence[GradedSample]) -> dict[str, GradedBenchmark]:
    """One record per benchmark, in the order in which the benchmarks are met."""
    rows: dict[str, dict[str, list[GradedSample]]] = {}
    for one in graded:
        rows.setdefault(one.sample.benchmark, {}).setdefault(one.sample.problem_key, []).append(one)
    return {name: GradedBenchmark(name, _sorted(problems)) for name, problems in rows.items()}


def _sorted(problems: Mapping[str, Sequence[GradedSample]]) -> tuple[GradedProblem, ...]:
    return tuple(_problem(key, sorted(problems[key], key=lambda one: one.sample.sample)) for key in sorted(problems))


def _problem(key: str, graded: Sequence[GradedSample]) -> GradedProblem:
    return GradedProblem(
        key=key,
        id=graded[0].sample.problem_id,
        classes=tuple(one.answer_class for one in graded),
        truncated=tuple(one.sample.finish_reason is FinishReason.truncated for one in graded),
        answered=tuple(one.status is not GradeStatus.no_answer for one in graded),
        boxed=tuple("\\boxed{" in one.sample.text for one in graded),
        undecided=tuple(failed(one.status) for one in graded),
        tokens=tuple(one.sample.tokens for one in graded),
    )
