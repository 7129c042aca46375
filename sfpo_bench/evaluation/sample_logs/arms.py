"""Evaluations from sample logs: which files are the seeds and benchmarks of an arm, and whose grades are scored."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.record import Evaluation, Grades
from sfpo_bench.evaluation.sample_logs.our_grades import Agreement, by_our_grades
from sfpo_bench.evaluation.sample_logs.problems import logged_problems
from sfpo_bench.evaluation.sample_logs.read import read_sample_logs
from sfpo_bench.evaluation.sample_logs.record import GradesBy, PairBy, SampleLog
from sfpo_bench.evaluation.sample_logs.their_grades import GradedLog, by_their_grades, grade_name
from sfpo_bench.results.evaluation import Asked, ModelPin, Owner


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How logs are scored.

    `grade` lists the grades of the logs that may be used. `names` renames benchmarks. `cut_last_line` drops an
    incomplete last line.
    """

    grades: GradesBy = GradesBy.theirs
    grade: tuple[str, ...] = ()
    pair_by: PairBy = PairBy.text
    names: Mapping[str, str] = field(default_factory=dict)
    cut_last_line: bool = False


@dataclass(frozen=True, slots=True)
class ArmAgreement:
    """The agreement of the two graders on one log of an arm."""

    arm: str
    benchmark: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class ScoredLogs:
    """The evaluations made from logs. If we graded, also the differences from the grades in the logs."""

    evaluations: tuple[Evaluation, ...]
    agreements: tuple[ArmAgreement, ...]


def score_logs(places: Mapping[str, Sequence[str]], options: LogOptions) -> ScoredLogs:
    """Return the evaluations of every arm's logs. The n-th file of a benchmark is the arm's n-th seed.

    Raises `ConfigError` and `MissingDataError` for logs that cannot be read or graded, and for ambiguous names.
    """
    evaluations: list[Evaluation] = []
    agreements: list[ArmAgreement] = []
    renamed: set[str] = set()
    for arm, files in places.items():
        logs = [one for file in files for one in read_sample_logs(Path(file), options.cut_last_line)]
        if not logs:
            raise ConfigError(f"logs.{arm} names no file; expected at least one, logs.{arm}=[FILE]")
        renamed |= {benchmark_name(one.benchmark) for one in logs} & options.names.keys()
        _check_names(arm, {benchmark_name(one.benchmark) for one in logs}, options.names)
        seeds = _seeds(arm, [_named(one, options.names) for one in logs])
        for number, of_seed in enumerate(seeds):
            found, agreed = _evaluation(arm, number if len(seeds) > 1 else None, of_seed, options)
            evaluations.append(found)
            agreements += agreed
    if unknown := sorted(options.names.keys() - renamed):
        there = sorted({name for one in evaluations for name in one.graded})
        raise ConfigError(f"names.{unknown[0]} is no benchmark of these logs; found {', '.join(there)}")
    return ScoredLogs(tuple(evaluations), tuple(agreements))


def benchmark_name(text: str) -> str:
    """Return a name that is valid in a setting: letters, digits, - and _ only."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")
    return plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"


def _check_names(arm: str, there: Collection[str], names: Mapping[str, str]) -> None:
    """Raise `ConfigError` if two benchmarks of an arm get the same name: they would be read as two seeds of one."""
    renamed = {name: names.get(name, name) for name in sorted(there)}
    for name, new in renamed.items():
        if other := [one for one in renamed if one < name and renamed[one] == new]:
            raise ConfigError(
                f"logs.{arm} has the benchmarks {other[0]} and {name}, which are both named {new}; expected two names, "
                "because files of one benchmark are training seeds"
            )


def _named(log: SampleLog, names: Mapping[str, str]) -> SampleLog:
    own = benchmark_name(log.benchmark)
    return replace(log, benchmark=names.get(own, own))


def _seeds(arm: str, logs: Sequence[SampleLog]) -> list[list[SampleLog]]:
    """Return the logs of each seed: the n-th of every benchmark. Raises `ConfigError` if the counts differ."""
    by_benchmark: dict[str, list[SampleLog]] = {}
    for one in logs:
        by_benchmark.setdefault(one.benchmark, []).append(one)
    counts = {name: len(found) for name, found in by_benchmark.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ConfigError(
            f"logs.{arm} has different numbers of files for its benchmarks ({told}); expected one of each for every "
            "training seed. Leave some out, or give them to another arm"
        )
    return [[found[number] for found in by_benchmark.values()] for number in range(next(iter(counts.values())))]


def _evaluation(
    arm: str, seed: int | None, logs: Sequence[SampleLog], options: LogOptions
) -> tuple[Evaluation, list[ArmAgreement]]:
    graded: list[GradedLog] = []
    agreements: list[ArmAgreement] = []
    names: list[str] = []
    for log in logs:
        problems = logged_problems(log, options.pair_by)
        if options.grades is GradesBy.theirs:
            names.append(grade_name(log, options.grade))
            graded.append(by_their_grades(log, problems, names[-1]))
        else:
            regraded = by_our_grades(log, problems)
            graded.append(regraded.graded)
            agreements += [ArmAgreement(arm, log.benchmark, one) for one in regraded.agreements]
    sheets = {one.benchmark.benchmark: one.benchmark for one in graded}
    models = dict.fromkeys(log.model for log in logs if log.model)
    source = ", ".join(models) or arm
    notes = [*(note for log in logs for note in log.notes), *(note for one in graded for note in one.notes)]
    found = Evaluation(
        folder=logs[0].path,
        owner=Owner(arm if seed is None else f"{arm} {seed}", arm, seed, None, "", ModelPin(source, "", "")),
        sampling=logs[0].sampling,
        asked=Asked(
            suite="",
            role="",
            samples=min(one.samples for one in sheets.values()),
            templates={},
            of={name: len(one.problems) for name, one in sheets.items()},
        ),
        graded=sheets,
        choice_note="",
        sources=tuple(log.path for log in logs),
        grades=Grades(options.grades is GradesBy.ours, tuple(dict.fromkeys(names)), logs[0].form),
        notes=tuple(notes),
    )
    return found, agreements
