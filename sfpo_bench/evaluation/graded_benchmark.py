"""Graded samples by benchmark and problem, from which scores are computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import numpy as np

from sfpo_bench.core.types import FinishReason, GradeStatus
from sfpo_bench.grading.failures import failed
from sfpo_bench.results.sample_store import GradedSample
from sfpo_bench.statistics.crossed import Scores
from sfpo_bench.statistics.sample_scores import (
    avg_at_k,
    g_pass_at_k,
    maj_at_k,
    mean_at_k,
    mg_pass_at_k,
    pass_all_at_k,
    pass_at_k,
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of a problem's samples.

    `title` is its name in tables. `answers_behind` gives for n samples and k a lower bound on the number of independent
    answers that a problem's score is worth. `of_shares` is the score for grades that are shares. `compares_answers` is
    True if the score depends on which wrong answers are equal.
    """

    score: Callable[[Sequence[int], int], float | None]
    title: str
    answers_behind: Callable[[int, int], float]
    of_shares: Callable[[Sequence[float], int], float | None] = lambda grades, k: None
    compares_answers: bool = False

    def at(self, k: int) -> str:
        """Return its name in tables, such as `pass@4`."""
        return self.title.format(k=k)


def _as_often_as_k_fits(n: int, k: int) -> float:
    return n / k


# Keys are the names in settings, CSV files and tracking stores.
METRICS = {
    "avg": Metric(avg_at_k, "avg@{k}", lambda n, k: k, mean_at_k),
    "pass": Metric(pass_at_k, "pass@{k}", _as_often_as_k_fits),
    "maj": Metric(maj_at_k, "maj@{k}", lambda n, k: 1, compares_answers=True),
    "pass_all": Metric(pass_all_at_k, "pass^{k}", _as_often_as_k_fits),
    "g_pass_0.5": Metric(partial(g_pass_at_k, tau=Fraction(1, 2)), "G-Pass@{k}(0.5)", _as_often_as_k_fits),
    "g_pass_0.75": Metric(partial(g_pass_at_k, tau=Fraction(3, 4)), "G-Pass@{k}(0.75)", _as_often_as_k_fits),
    "mg_pass": Metric(mg_pass_at_k, "mG-Pass@{k}", _as_often_as_k_fits),
}


@dataclass(frozen=True, slots=True)
class GradedProblem:
    """The samples of one problem by sample number; each tuple has one entry per sample. None means unknown.

    `given` are shares that another program graded, used instead of the classes. `answers_known` is True if the classes
    distinguish wrong answers.
    """

    key: str
    id: str
    classes: tuple[int, ...]
    truncated: tuple[bool, ...] | None
    answered: tuple[bool, ...] | None
    boxed: tuple[bool, ...] | None
    undecided: tuple[bool, ...]
    tokens: tuple[int, ...] | None
    given: tuple[float, ...] = ()
    answers_known: bool = True

    @property
    def samples(self) -> int:
        return len(self.classes)

    def score(self, metric: Metric, k: int) -> float | None:
        """Return the score at k, or None with fewer samples or if the required grades are unknown."""
        if self.given:
            return metric.of_shares(self.given, k)
        return metric.score(self.classes, k) if self.answers_known or not metric.compares_answers else None


@dataclass(frozen=True, slots=True)
class GradedBenchmark:
    """The graded samples of one model on one benchmark, sorted by problem key."""

    benchmark: str
    problems: tuple[GradedProblem, ...]

    @classmethod
    def of(cls, benchmark: str, problems: Iterable[GradedProblem]) -> GradedBenchmark:
        """Return the benchmark with these problems, given in any order."""
        return cls(benchmark, tuple(sorted(problems, key=lambda one: one.key)))

    @property
    def samples(self) -> int:
        """The smallest number of samples of a problem."""
        return min((one.samples for one in self.problems), default=0)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(one.key for one in self.problems)

    def scores(self, metric: str, k: int) -> Scores | None:
        """Return a score in [0, 1] per problem by a metric of `METRICS`, or None if a problem has too few samples."""
        found = [one.score(METRICS[metric], k) for one in self.problems]
        known = [score for score in found if score is not None]
        return np.array(known) if known and len(known) == len(found) else None

    def share(self, field: str) -> float:
        """Return the share of `truncated`, `answered`, `boxed` or `undecided` samples; NaN if any is unknown."""
        return self._mean(field)

    @property
    def tokens_mean(self) -> float:
        """Mean length of a response including the end-of-sequence token; NaN if any is unknown."""
        return self._mean("tokens")

    def _mean(self, field: str) -> float:
        values: list[tuple[float, ...] | None] = [getattr(one, field) for one in self.problems]
        known = [one for one in values if one is not None]
        return float(np.mean([value for one in known for value in one])) if len(known) == len(values) else math.nan

    def by_id(self) -> GradedBenchmark:
        """Return the benchmark with each problem's id as its key."""
        return GradedBenchmark.of(self.benchmark, [replace(one, key=one.id) for one in self.problems])

    def without(self, ids: Collection[str]) -> GradedBenchmark:
        """Return the benchmark without the problems with these ids."""
        return replace(self, problems=tuple(one for one in self.problems if one.id not in ids))

    def only(self, keys: Collection[str]) -> GradedBenchmark:
        """Return the benchmark with only the problems with these keys."""
        return replace(self, problems=tuple(one for one in self.problems if one.key in keys))


def graded_benchmarks(graded: Sequence[GradedSample]) -> dict[str, GradedBenchmark]:
    """Return one record per benchmark, in order of first appearance."""
    rows: dict[str, dict[str, list[GradedSample]]] = {}
    for one in graded:
        rows.setdefault(one.sample.benchmark, {}).setdefault(one.sample.problem_key, []).append(one)
    return {name: GradedBenchmark.of(name, map(_problem, found.values())) for name, found in rows.items()}


def _problem(samples: Sequence[GradedSample]) -> GradedProblem:
    graded = sorted(samples, key=lambda one: one.sample.sample)
    counted = tuple(one.sample.tokens for one in graded if one.sample.tokens is not None)
    return GradedProblem(
        key=graded[0].sample.problem_key,
        id=graded[0].sample.problem_id,
        classes=tuple(one.answer_class for one in graded),
        truncated=tuple(one.sample.finish_reason is FinishReason.truncated for one in graded),
        answered=tuple(one.status is not GradeStatus.no_answer for one in graded),
        boxed=tuple("\\boxed{" in one.sample.text for one in graded),
        undecided=tuple(failed(one.status) for one in graded),
        tokens=counted if len(counted) == len(graded) else None,
    )
