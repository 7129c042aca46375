"""Reads a sweep from its folder: the space, how every trial ended, and the learning curves."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.types import JournalRecord, Split
from sfpo_bench.reports.packed_runs import PackedRun, is_packed, read_packed
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.results.stored_files import reading
from sfpo_bench.results.sweep import TRIALS_REMEDY, SweepFolder, SweepPlan, TrialsRecord, trial_place
from sfpo_bench.search.goals import Curve, Goal
from sfpo_bench.search.space import Value
from sfpo_bench.search.trial_view import TrialView
from sfpo_bench.settings.search import Kind, Measure


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter of the space. `choices` are those of a categorical, else empty; `low` and `high` bound a range."""

    name: str
    key: str
    low: float
    high: float
    is_log: bool
    choices: tuple[Value, ...]

    def share(self, value: float) -> float:
        """Return the position of a number between the bounds, from 0 to 1, on the parameter's scale."""
        if self.low == self.high:
            return 0.5
        scale = math.log if self.is_log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))


@dataclass(frozen=True, slots=True)
class SweepTrial(TrialView):
    """A trial with the results of its runs.

    `curves` has the curve of each seed on the axis of the first goal. `seed_values` has the first goal of every seed
    that was trained to the end, including seeds that were later added to the best trials."""

    curves: Mapping[int, Curve]
    seed_values: Mapping[int, float]

    @property
    def value(self) -> float:
        """Return the value of the first goal, or NaN."""
        return self.values[0] if self.values else math.nan


@dataclass(frozen=True)
class Sweep:
    """A sweep read from `folder`. `suite` is the suite it chooses on, empty for problems of the task.

    `on_report` is True if results are also reported on these problems."""

    folder: Path
    name: str
    experiment: str
    wanted: int
    axes: tuple[Axis, ...]
    goals: tuple[Goal, ...]
    search: Mapping[str, Any]
    suite: str
    on_report: bool
    trials: tuple[SweepTrial, ...]
    importances: Mapping[str, float]
    code_version: str

    @property
    def problems(self) -> str:
        """Return a description of the problems that the goals are measured on."""
        return f"problems of the suite {self.suite}" if self.suite else f"{self.search['split']} problems"

    @property
    def goal(self) -> Goal:
        return self.goals[0]

    @cached_property
    def complete(self) -> list[SweepTrial]:
        """Complete trials, best first, by the first goal."""
        found = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(found, key=lambda t: (t.value if self.goal.minimise else -t.value, t.number))

    @property
    def best(self) -> SweepTrial | None:
        return self.complete[0] if self.complete else None

    @property
    def searched_seeds(self) -> int:
        """Return the number of seeds that every trial was judged with."""
        return int(self.search["seeds"])

    def fresh_values(self, trial: SweepTrial) -> list[float]:
        """Return the goal of the seeds that were added after the trial was found to be among the best."""
        first = int(self.search["first_seed"])
        return [value for seed, value in sorted(trial.seed_values.items()) if seed >= first + self.searched_seeds]

    def front(self) -> list[SweepTrial]:
        """Return the Pareto front: the complete trials that no other dominates."""
        signs = [1 if goal.minimise else -1 for goal in self.goals]

        def beats(one: SweepTrial, other: SweepTrial) -> bool:
            pairs = [(s * a, s * b) for s, a, b in zip(signs, one.values, other.values, strict=True)]
            return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

        return [trial for trial in self.complete if not any(beats(other, trial) for other in self.complete)]


def states(folder: Path) -> tuple[SweepPlan, tuple[TrialView, ...]]:
    """Return the plan of a sweep and its trials; a running trial whose process's lease has expired is `lost`.

    Raises `MissingDataError` if `folder` is not a sweep.
    """
    there = SweepFolder(folder)
    plan, record = there.plan(), there.trials()
    return plan, _views(there, record)


def _views(there: SweepFolder, record: TrialsRecord) -> tuple[TrialView, ...]:
    with reading(there.trials_file, TRIALS_REMEDY):
        found = tuple(TrialView(**TrialView.fields_of(raw)) for raw in record.trials)
    if record.lease_until_unix_s >= time.time():
        return found
    return tuple(replace(one, state="lost") if one.state == "running" else one for one in found)


def load_sweep(folder: Path) -> Sweep:
    """Return the sweep in `folder` with the trials so far."""
    there = SweepFolder(folder)
    plan, record = there.plan(), there.trials()
    with reading(there.plan_file):
        goals = tuple(_goal(raw) for raw in plan.goals.values())
        axes = tuple(_axis(raw) for raw in plan.parameters.values())
        split = Split(str(plan.search["split"]))
    packed = read_packed(folder) if is_packed(folder) else None
    return Sweep(
        folder=folder,
        name=plan.name,
        experiment=plan.experiment,
        wanted=plan.trials,
        axes=axes,
        goals=goals,
        search=plan.search,
        suite=plan.chosen_on,
        on_report=plan.chosen_on_report,
        trials=tuple(_trial(folder, one, goals[0], split, packed) for one in _views(there, record)),
        importances=record.importances,
        code_version=plan.code_version,
    )


def _goal(raw: Mapping[str, Any]) -> Goal:
    return Goal(raw["name"], Measure(raw["measure"]), CostAxis(raw["axis"]), float(raw["budget"]), float(raw["target"]))


def _axis(raw: Mapping[str, Any]) -> Axis:
    is_log = raw["kind"] in (Kind.log.value, Kind.log_int.value)
    return Axis(raw["name"], raw["key"], float(raw["low"]), float(raw["high"]), is_log, tuple(raw["choices"]))


def _records(
    folder: Path, place: str, packed: Mapping[str, PackedRun] | None
) -> Iterator[tuple[int, RunState, Sequence[JournalRecord]]]:
    """Yield seed, state and records of every run at `place`, sorted by seed."""
    if packed is not None:
        for run in (run for run in packed.values() if run.place.startswith(f"{place}/")):
            yield _seed(run.place), run.status.state, run.numbers.records()
        return
    for path in sorted((folder / place).glob("seed-*")):
        yield _seed(path.name), RunFolder(path).status().state, read_journal(RunFolder(path).journal)


def _seed(place: str) -> int:
    return int(place.rsplit("seed-", 1)[1])


def _trial(
    folder: Path, view: TrialView, goal: Goal, split: Split, packed: Mapping[str, PackedRun] | None
) -> SweepTrial:
    curves: dict[int, Curve] = {}
    values: dict[int, float] = {}
    for seed, state, records in _records(folder, trial_place(view.number), packed):
        ended = state is RunState.finished
        curves[seed] = curve = goal.curve(records, split, ended=ended)
        if curve.costs and (ended or curve.costs[-1] >= goal.budget):
            values[seed] = goal.value(curve)
    seen = {one.name: getattr(view, one.name) for one in fields(view)}
    return SweepTrial(**seen, curves=curves, seed_values=values)


def mean_of(values: list[float]) -> float:
    """Return the mean, or NaN for no values."""
    return fmean(values) if values else math.nan
