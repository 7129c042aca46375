"""Reads a comparison folder: the plan, and the state and curve of every run.

A planned run that is absent, unfinished, failed or damaged is included with its status and the cause, and never stops
the report.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import pandas as pd

from sfpo_bench.core.costs import AXIS_KEYS, COST_TYPES, Costs
from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.types import EvaluationRecord, EventRecord, JournalRecord, StepRecord
from sfpo_bench.reports.axes import known_axes
from sfpo_bench.reports.packed_runs import PackedRun, is_packed, read_packed
from sfpo_bench.reports.series import Series, series_of_journal
from sfpo_bench.results.comparison import ComparisonFolder, ComparisonPlan, run_place
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import read_object

CURVE_COLUMNS: Mapping[str, str] = {
    "arm": "str",
    "seed": "int64",
    "step": "int64",
    **{name: f"{kind.__name__}64" for name, kind in COST_TYPES.items()},
    "accuracy": "float64",
    "n": "int64",
}

METRIC_COLUMNS: Mapping[str, str] = {
    "arm": "str",
    "seed": "int64",
    "step": "int64",
    "key": "str",
    "value": "float64",
}


class SeedStatus(StrEnum):
    """`RunState` and additionally `unreadable`, for a run with damaged files."""

    pending = "pending"
    running = "running"
    interrupted = "interrupted"
    failed = "failed"
    finished = "finished"
    unreadable = "unreadable"


@dataclass(frozen=True, slots=True)
class SeedRun:
    """A planned run with its results so far.

    `curve` has the evaluations of the comparison's split and mode, sorted by step. `greedy` is the last greedy
    evaluation of that split. `trigger_step` is the step at which the fast stage was switched off, or None. `processes`
    is the number of ranks. `step` is the last complete step, and `cause` states why a run failed or cannot be read.
    `metrics` has the metrics of its training steps by key. `planned_share` is the share of planned steps that a run had
    taken when it ended at its target, else 1.
    """

    arm: str
    seed: int
    status: SeedStatus
    step: int = 0
    cause: str = ""
    curve: tuple[EvaluationRecord, ...] = ()
    greedy: EvaluationRecord | None = None
    trigger_step: int | None = None
    device: str = ""
    processes: int = 1
    metrics: Mapping[str, Series] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    planned_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison's plan and one `SeedRun` for every planned arm and seed, in display order."""

    plan: ComparisonPlan
    runs: tuple[SeedRun, ...]

    def of_arm(self, arm: str) -> tuple[SeedRun, ...]:
        return tuple(run for run in self.runs if run.arm == arm)

    def with_baseline(self, arm: str) -> Comparison:
        """Return a copy with ratios to another arm; raises `ConfigError` if there is no such arm."""
        if arm not in self.plan.arms:
            raise ConfigError(f"baseline = {arm!r} is not an arm; expected one of {', '.join(self.plan.arms)}")
        return replace(self, plan=replace(self.plan, baseline=arm))


def load_comparison(folder: Path) -> Comparison:
    """Return the comparison in `folder`, with its runs in folders or packed.

    Raises `MissingDataError` or `ConfigError` if `comparison.json` is not usable.
    """
    there = ComparisonFolder(folder)
    plan = there.plan()
    if is_packed(folder):
        packed = read_packed(folder)
        return Comparison(plan, tuple(_packed_run(plan, arm, seed, packed) for arm in plan.arms for seed in plan.seeds))
    places = [(arm, seed, there.run(arm, seed)) for arm in plan.arms for seed in plan.seeds]
    # Missing imported runs do not exist and are not pending.
    known = [place for place in places if not plan.origin or place[2].path.is_dir()]
    return Comparison(plan, tuple(read_one_run(plan, arm, seed, run) for arm, seed, run in known))


def curves_frame(comparison: Comparison) -> pd.DataFrame:
    """Return every evaluation of every run's curve, one per row, with the columns and types of `CURVE_COLUMNS`.

    For imported runs, columns of unrecorded axes are NaN as float64, and so is `n` if unknown.
    """
    rows = [_row(run, evaluation) for run in comparison.runs for evaluation in run.curve]
    frame = pd.DataFrame(rows, columns=list(CURVE_COLUMNS)).astype(dict(CURVE_COLUMNS))
    unknown = [key for key in AXIS_KEYS if key not in comparison.plan.axes]
    unknown += ["cpu_seconds"] if comparison.plan.origin else []
    unknown += ["n"] if len(frame) and not frame["n"].any() else []
    return frame.assign(**dict.fromkeys(unknown, float("nan")))


def metrics_frame(comparison: Comparison) -> pd.DataFrame:
    """Return every metric of the runs' training steps, one per row: the columns of `METRIC_COLUMNS`."""
    parts = [(run, key, one) for run in comparison.runs for key, one in run.metrics.items()]
    frames = [
        pd.DataFrame({"arm": run.arm, "seed": run.seed, "step": one.steps, "key": key, "value": one.values})
        for run, key, one in parts
    ]
    whole = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(METRIC_COLUMNS))
    return whole.astype(dict(METRIC_COLUMNS))


def _row(run: SeedRun, evaluation: EvaluationRecord) -> dict[str, object]:
    costs = {column: getattr(evaluation.costs, column) for column in Costs.__dataclass_fields__}
    scores = {"step": evaluation.step, "accuracy": evaluation.accuracy, "n": evaluation.n}
    return {"arm": run.arm, "seed": run.seed, **costs, **scores}


def read_one_run(plan: ComparisonPlan, arm: str, seed: int, folder: RunFolder) -> SeedRun:
    """Return the run in a folder with its results so far; a run with damaged files is `unreadable`."""
    try:
        status = folder.status()
        records = read_journal(folder.journal)
        provenance = read_provenance(folder.provenance)
        progress = Progress(SeedStatus(status.state.value), status.step, status.cause)
        return seed_run(plan, arm, seed, progress, records, series_of_journal(records), provenance)
    except (BenchError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"{type(error).__name__}: {error}".replace(f"{folder.path}{os.sep}", "")
        return SeedRun(arm, seed, SeedStatus.unreadable, cause=cause)


def _packed_run(plan: ComparisonPlan, arm: str, seed: int, packed: Mapping[str, PackedRun]) -> SeedRun:
    run = packed.get(run_place(arm, seed))
    if run is None:
        return SeedRun(arm, seed, SeedStatus.pending)
    progress = Progress(SeedStatus(run.status.state.value), run.status.step, run.status.cause)
    return seed_run(plan, arm, seed, progress, run.numbers.records(), run.numbers.metrics, run.provenance)


@dataclass(frozen=True, slots=True)
class Progress:
    """Status, step and cause of a run, independent of their source."""

    status: SeedStatus
    step: int
    cause: str


def seed_run(
    plan: ComparisonPlan,
    arm: str,
    seed: int,
    progress: Progress,
    records: Sequence[JournalRecord],
    metrics: Mapping[str, Series],
    provenance: Mapping[str, object],
) -> SeedRun:
    """Return a planned run from its records; raises `ValueError` for an impossible curve and for missing records."""
    if not plan.origin:
        _check_complete(progress, records)
    return SeedRun(
        arm,
        seed,
        progress.status,
        progress.step,
        progress.cause,
        _curve(plan, records),
        _last_greedy(plan, records),
        _trigger_step(records),
        _device(provenance),
        _processes(provenance),
        metrics,
        provenance,
        _planned_share(plan, progress, records),
    )


def _check_complete(progress: Progress, records: Iterable[JournalRecord]) -> None:
    """Raise `ValueError` for a journal without a step, or of a finished run without its last evaluation."""
    steps = {record.step for record in records if isinstance(record, StepRecord)}
    missing = sorted(set(range(1, max(steps, default=0))) - steps)
    if missing:
        raise ValueError(f"the journal has step {max(steps)} and not step {missing[0]}; it was cut or edited")
    evaluated = max((record.step for record in _evaluations(records)), default=0)
    if progress.status is SeedStatus.finished and evaluated < progress.step:
        raise ValueError(
            f"the run finished at step {progress.step}, and the last evaluation in the journal is of step {evaluated}; "
            "it was cut or edited"
        )


def _planned_share(plan: ComparisonPlan, progress: Progress, records: Iterable[JournalRecord]) -> float:
    """Return `SeedRun.planned_share`."""
    if plan.stop_at is None or progress.status is not SeedStatus.finished or progress.step >= plan.steps:
        return 1.0
    return 1.0 if plan.stop_at.reached_at(_evaluations(records)) is None else progress.step / plan.steps


def _curve(plan: ComparisonPlan, records: Iterable[JournalRecord]) -> tuple[EvaluationRecord, ...]:
    """Return the matching evaluations sorted by step; of several at one step the last one is used."""
    matching = {record.step: record for record in _evaluations(records) if _matches(plan, record)}
    curve = tuple(matching[step] for step in sorted(matching))
    _check(plan, curve)
    return curve


def _matches(plan: ComparisonPlan, record: EvaluationRecord) -> bool:
    """Return True for evaluations of the plan's split, mode and temperature, which greedy decoding does not have."""
    same = record.split == plan.split and record.mode == plan.mode
    return same and (plan.mode == "greedy" or math.isclose(record.temperature, plan.temperature))


def _check(plan: ComparisonPlan, curve: Sequence[EvaluationRecord]) -> None:
    fewest = 0 if plan.origin else 1  # other trainers' logs may lack the number of responses
    for record in curve:
        if record.n < fewest or not 0 <= record.accuracy <= 1:
            raise ValueError(f"evaluation at step {record.step} has accuracy {record.accuracy} of n = {record.n}")
    for early, late in pairwise(curve):
        for axis in known_axes(plan.axes):
            if not early.costs.on(axis) <= late.costs.on(axis):
                raise ValueError(f"{axis.value} falls between the evaluations at steps {early.step} and {late.step}")


def _last_greedy(plan: ComparisonPlan, records: Iterable[JournalRecord]) -> EvaluationRecord | None:
    found = [record for record in _evaluations(records) if record.mode == "greedy" and record.split == plan.split]
    return max(found, key=lambda record: record.step, default=None)


def _trigger_step(records: Iterable[JournalRecord]) -> int | None:
    fired = (r.step for r in records if isinstance(r, EventRecord) and r.event == "trigger_fired")
    return min(fired, default=None)


def _evaluations(records: Iterable[JournalRecord]) -> Iterable[EvaluationRecord]:
    return (record for record in records if isinstance(record, EvaluationRecord))


def read_provenance(path: Path) -> Mapping[str, object]:
    """Return the contents of `provenance.json`, or an empty mapping if there is none."""
    if not path.is_file():
        return {}
    return read_object(path)


def _device(provenance: Mapping[str, object]) -> str:
    """Return the device in the provenance, or an empty string."""
    device = provenance.get("device", "")
    return device if isinstance(device, str) else json.dumps(device, sort_keys=True)


def _processes(provenance: Mapping[str, object]) -> int:
    """Return the number of processes in the provenance, or 1 for an older version."""
    count = provenance.get("processes", 1)
    return count if isinstance(count, int) and count > 0 else 1
