"""Graded problems from the grades in a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.graded_benchmark import GradedBenchmark, GradedProblem
from sfpo_bench.evaluation.sample_logs.problems import LoggedProblem
from sfpo_bench.evaluation.sample_logs.record import LoggedSample, SampleLog
from sfpo_bench.statistics.sample_scores import CORRECT, NO_ANSWER


@dataclass(frozen=True, slots=True)
class GradedLog:
    """A log with a grade for every sample that is scored; `notes` lists the samples that are not."""

    benchmark: GradedBenchmark
    notes: tuple[str, ...]


def grade_name(log: SampleLog, asked: Sequence[str]) -> str:
    """Return the name of the grade to use: the requested one, or the only one. Raises `ConfigError` otherwise."""
    there = list(dict.fromkeys(name for one in log.samples for name in one.grades))
    named = [name for name in there if name in asked] if asked else there
    if len(named) == 1:
        return named[0]
    what = f"of {', '.join(asked)} it has {', '.join(named) or 'none'}" if asked else "expected one to be named"
    known = f"the grades {', '.join(there)}" if there else "no grade"
    remedy = "name one, grade=[NAME], or grade here, grades=ours" if there else "grade its responses here, grades=ours"
    raise ConfigError(f"{log.path} ({log.form}): found {known}; {what}. Choose: {remedy}")


def by_their_grades(log: SampleLog, problems: Sequence[LoggedProblem], name: str) -> GradedLog:
    """Return the samples that have the grade `name`. Raises `ConfigError` if none has.

    Samples without that grade are left out, and so are problems without any: they are not known to be wrong.
    """
    kept = [(one, [sample for sample in one.samples if sample.grades.get(name) is not None]) for one in problems]
    graded = [(one, samples) for one, samples in kept if samples]
    if not graded:
        raise ConfigError(f"{log.path}: no sample has the grade {name}; grade its responses here, grades=ours")
    notes = []
    without = [(one, len(one.samples) - len(samples)) for one, samples in kept if len(samples) < len(one.samples)]
    if without:
        gone = [one.id for one, samples in kept if not samples]
        of_problems = f"; without any, the problems {names_text(gone)} are left out" if gone else ""
        notes.append(
            f"{log.path}: {sum(count for _, count in without)} samples of {names_text([one.id for one, _ in without])} "
            f"have no grade {name} and are left out{of_problems}."
        )
    shares = any(sample.grades[name] not in (0.0, 1.0) for _, samples in graded for sample in samples)
    together = any(len(sample.responses) > 1 for _, samples in graded for sample in samples)
    found = tuple(_problem(one, samples, name, shares) for one, samples in graded)
    if together:
        notes.append(f"{log.path}: {name} grades all responses to a problem together, and counts as one sample.")
    return GradedLog(GradedBenchmark.of(log.benchmark, found), (*notes, *uneven(log, found)))


def uneven(log: SampleLog, found: Sequence[GradedProblem]) -> list[str]:
    """Return a note if problems have different numbers of samples."""
    counts = sorted({one.samples for one in found})
    if len(counts) < 2:
        return []
    fewest = sum(one.samples == counts[0] for one in found)
    return [
        f"{log.path}: problems have {counts[0]} to {counts[-1]} samples ({fewest} of {len(found)} problems have "
        f"{counts[0]}). Scores at k use the first k samples; k is at most {counts[0]}."
    ]


def _problem(problem: LoggedProblem, samples: Sequence[LoggedSample], name: str, shares: bool) -> GradedProblem:
    grades = tuple(one.grades[name] or 0.0 for one in samples)
    answers = [one.answers.get(name) for one in samples]
    known = all(name in one.answers for one, grade in zip(samples, grades, strict=True) if grade != 1.0)
    return GradedProblem(
        key=problem.key,
        id=problem.id,
        classes=_classes(grades, answers),
        truncated=each([one.truncated for one in samples]),
        answered=tuple(bool(one) for one in answers) if known and all(name in one.answers for one in samples) else None,
        boxed=tuple("\\boxed{" in text for one in samples for text in one.responses) or None,
        undecided=(False,) * len(samples),
        tokens=each([one.tokens for one in samples]),
        given=grades if shares else (),
        answers_known=known and not shares,
    )


def _classes(grades: Sequence[float], answers: Sequence[str | None]) -> tuple[int, ...]:
    """Return the class of each answer. Wrong answers with the same text share a class."""
    wrong = dict.fromkeys(one.strip() for one, grade in zip(answers, grades, strict=True) if one and grade != 1.0)
    numbers = {text: number for number, text in enumerate(wrong, 1)}
    return tuple(
        CORRECT if grade == 1.0 else numbers.get(one.strip(), NO_ANSWER) if one else NO_ANSWER
        for one, grade in zip(answers, grades, strict=True)
    )


Value = TypeVar("Value")


def each(values: Sequence[tuple[Value, ...] | None]) -> tuple[Value, ...] | None:
    """Return the values of all samples, or None if one is unknown."""
    known = [one for one in values if one is not None]
    return tuple(value for one in known for value in one) if len(known) == len(values) else None


def names_text(ids: Sequence[str]) -> str:
    """Return the first eight names as text, and how many more there are."""
    shown = ", ".join(ids[:8])
    return f"{shown} and {len(ids) - 8} more" if len(ids) > 8 else shown
