"""Scores with intervals, of one model or of an arm with several training seeds, and differences of two arms."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.graded_benchmark import METRICS, GradedBenchmark
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.statistics import Interval, holm_adjusted
from sfpo_bench.statistics.crossed import (
    Scores,
    crossed_spread,
    detectable_difference,
    difference_interval,
    difference_spread,
    share_interval,
)
from sfpo_bench.statistics.permutation import run_permutation_p, sign_flip_p

AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class ScoredArm:
    """Evaluations that are averaged: the training seeds of a method, or one model."""

    name: str
    evaluations: tuple[Evaluation, ...]

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks that all of its evaluations have."""
        return [name for name in self.evaluations[0].graded if all(name in one.graded for one in self.evaluations)]

    def graded(self, benchmark: str) -> list[GradedBenchmark]:
        return [one.graded[benchmark] for one in self.evaluations]


@dataclass(frozen=True, slots=True)
class Score:
    """A mean score in [0, 1] with its 95 % interval: over problems for one run, over problems and runs for several."""

    mean: float
    interval: Interval
    problems: int
    runs: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The first arm's mean minus the second's on the same problems.

    `p_value` is from the permutation test named in `test`. `adjusted_p` is adjusted by Holm over the benchmarks; None
    for the average, which is not one of them. `detectable` is the smallest true difference found with 80 % power.
    `same_samples`: both arms are the same evaluation, so nothing can differ.
    """

    mean: float
    interval: Interval
    p_value: float
    test: str
    adjusted_p: float | None
    detectable: float
    problems: int
    same_samples: bool


def arms_of(evaluations: Sequence[Evaluation]) -> list[ScoredArm]:
    """Return the evaluations grouped by arm, arms in order of first appearance and seeds in increasing order."""
    grouped: dict[str, list[Evaluation]] = {}
    for one in evaluations:
        grouped.setdefault(one.owner.arm, []).append(one)
    for name, members in grouped.items():
        seeds = [one.owner.seed for one in members]
        if len(set(seeds)) < len(seeds):
            places = ", ".join(str(one.folder) for one in members)
            raise ConfigError(
                f"the arm {name} has two evaluations of seed {seeds[0]} ({places}); expected one for each training "
                "seed: leave one out, or give one another label when it is evaluated"
            )
    return [
        ScoredArm(name, tuple(sorted(members, key=lambda one: one.owner.seed or 0)))
        for name, members in grouped.items()
    ]


def matrix(arm: ScoredArm, benchmark: str, metric: str, k: int, keys: Collection[str]) -> Scores | None:
    """Return scores [S, P] on the problems `keys`, in the order of the keys, or None if there are too few samples."""
    rows = [graded.only(keys).scores(metric, k) for graded in arm.graded(benchmark)]
    known = [row for row in rows if row is not None]
    return np.stack(known) if known and len(known) == len(rows) else None


def arm_scores(arm: ScoredArm, metric: str, k: int, leave_out: Collection[str] = ()) -> dict[str, Score]:
    """Return the score on every benchmark that has one, and their average if there are several.

    `leave_out` are ids of excluded problems. A benchmark with fewer than two remaining problems has no score.
    """
    matrices = {name: matrix(arm, name, metric, k, shared_keys([arm], name, leave_out)) for name in arm.benchmarks}
    usable = {name: found for name, found in matrices.items() if found is not None and found.shape[1] > 1}
    behind = {name: answers_behind(arm, name, metric, k) for name in usable}
    scores = {name: score_of([found], behind[name]) for name, found in usable.items()}
    if len(usable) > 1 and len(usable) == len(matrices):
        scores[AVERAGE] = score_of(list(usable.values()), min(behind.values()))
    return scores


def differences(
    first: ScoredArm, second: ScoredArm, metric: str, k: int, leave_out: Collection[str] = ()
) -> dict[str, Difference]:
    """Return first - second on every common benchmark, on the problems that both answered, and on average."""
    pairs: dict[str, tuple[Scores, Scores]] = {}
    for name in (name for name in first.benchmarks if name in second.benchmarks):
        keys = shared_keys([first, second], name, leave_out)
        ours, theirs = matrix(first, name, metric, k, keys), matrix(second, name, metric, k, keys)
        if ours is not None and theirs is not None and ours.shape[1] > 1:
            pairs[name] = (ours, theirs)
    same = [(one.places, one.grades) for one in first.evaluations] == [
        (one.places, one.grades) for one in second.evaluations
    ]
    behind = k if metric == "avg" else 1
    found = {name: difference_of([pair], behind, same) for name, pair in pairs.items()}
    adjusted = holm_adjusted([one.p_value for one in found.values()])
    result = {name: _with_holm(one, p) for (name, one), p in zip(found.items(), adjusted, strict=True)}
    if len(pairs) > 1:
        result[AVERAGE] = difference_of(list(pairs.values()), behind, same)
    return result


def shared_keys(arms: Sequence[ScoredArm], benchmark: str, leave_out: Collection[str]) -> set[str]:
    """Return the keys of the problems that all evaluations of all arms have."""
    all_sheets = [graded.without(leave_out) for arm in arms for graded in arm.graded(benchmark)]
    return set.intersection(*(set(graded.keys) for graded in all_sheets))


def answers_behind(arm: ScoredArm, benchmark: str, metric: str, k: int) -> float:
    """Return a lower bound on the number of independent answers per run that a problem's score is worth."""
    samples = min(graded.samples for graded in arm.graded(benchmark))
    return METRICS[metric].answers_behind(samples, k)


def score_of(matrices: Sequence[Scores], samples: float) -> Score:
    """Return the score of matrices [S, P_b], one per benchmark, whose entries are means of `samples` answers."""
    spread = crossed_spread(matrices)
    return Score(spread.mean, share_interval(spread, samples), spread.problems, spread.runs)


def difference_of(pairs: Sequence[tuple[Scores, Scores]], samples: int, same: bool) -> Difference:
    """Return the difference of two arms from their matrices on each benchmark."""
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    spread = difference_spread(ours, theirs, samples)
    runs = min(ours[0].shape[0], theirs[0].shape[0])
    if runs > 1:
        p_value, test = run_permutation_p(_run_means(ours), _run_means(theirs)), "runs permuted"
    else:
        gaps = [one.mean(axis=0) - two.mean(axis=0) for one, two in pairs]
        p_value, test = sign_flip_p(gaps), "answers permuted"
    interval = Interval(0.0, 0.0) if same else difference_interval(spread)
    detectable = detectable_difference(spread)
    return Difference(spread.mean, interval, p_value, test, None, detectable, spread.problems, same)


def _run_means(matrices: Sequence[Scores]) -> list[float]:
    means: list[float] = np.mean([found.mean(axis=1) for found in matrices], axis=0).tolist()
    return means


def _with_holm(one: Difference, p: float) -> Difference:
    return Difference(one.mean, one.interval, one.p_value, one.test, p, one.detectable, one.problems, one.same_samples)


def check_paired(arms: Sequence[ScoredArm], baseline: str) -> None:
    """Raise `ConfigError` for an arm that shares no problem with the baseline on any benchmark.

    Logs of other programs may name benchmarks or problems differently."""
    first = next(arm for arm in arms if arm.name == baseline)
    for arm in arms:
        shared = [name for name in arm.benchmarks if name in first.benchmarks]
        if not shared:
            raise ConfigError(
                f"{arm.name} and {baseline} share no benchmark: found {', '.join(arm.benchmarks)} and "
                f"{', '.join(first.benchmarks)}. Where two are one, give one of them the other's name, names.A=B"
            )
        if not any(shared_keys([arm, first], name, ()) for name in shared):
            ids = [one.evaluations[0].graded[shared[0]].problems[0].id for one in (arm, first)]
            raise ConfigError(
                f"{arm.name} and {baseline} share no problem of {shared[0]} (the first are {ids[0]} and {ids[1]}); "
                "expected the same problems, to be paired. Pair them by text, pair_by=text, or by name, pair_by=id"
            )


def unlike(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return every difference in sampling or prompts between evaluations, such as `temperature: 0.7 and 1.0`."""
    shared = set.intersection(*(set(one.graded) for one in evaluations))
    ways = [_way(one, shared) for one in evaluations]
    names = dict.fromkeys(name for way in ways for name in way)
    values = {name: list(dict.fromkeys(way[name] for way in ways if name in way)) for name in names}
    return [f"{name}: {' and '.join(found)}" for name, found in values.items() if len(found) > 1]


def _way(one: Evaluation, benchmarks: Collection[str]) -> dict[str, str]:
    """Return what is known of an evaluation's sampling, prompts and grading."""
    names = ("temperature", "top_p", "max_new_tokens", "engine", "precision")
    values = {name: getattr(one.sampling, name) for name in names}
    known = {name: str(value) for name, value in values.items() if value is not None}
    asked = [name for name in sorted(benchmarks) if name in one.asked.templates]
    prompts = {f"prompt of {name}": one.asked.templates[name] for name in asked}
    return {**known, **prompts, "grades": one.grades.text}


def best_arms(arms: Sequence[ScoredArm], metric: str, k: int, benchmarks: Sequence[str]) -> list[ScoredArm]:
    """Return the arms with the highest mean over `benchmarks`, several in a tie.

    Raises `ConfigError` if one lacks a benchmark."""
    means: Mapping[str, float] = {arm.name: _mean_on(arm, metric, k, benchmarks) for arm in arms}
    best = max(means.values())
    return [arm for arm in arms if math.isclose(means[arm.name], best, rel_tol=1e-12)]  # equal up to rounding


def _mean_on(arm: ScoredArm, metric: str, k: int, benchmarks: Sequence[str]) -> float:
    scores = arm_scores(arm, metric, k)
    lacking = [name for name in benchmarks if name not in scores]
    if lacking:
        raise ConfigError(
            f"{arm.name} has no {metric}@{k} on {', '.join(lacking)}; evaluate it there with at least {k} samples first"
        )
    return float(np.mean([scores[name].mean for name in benchmarks]))
