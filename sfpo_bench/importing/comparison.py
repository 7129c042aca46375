"""Writes imported runs as a comparison's folder, with the files that `report`, `list` and the notebooks read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.costs import AXIS_KEYS
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import EvaluationRecord, Split, StepRecord
from sfpo_bench.importing.curves import ImportedRun
from sfpo_bench.results.comparison import SCHEMA_VERSION, ComparisonFolder, ComparisonPlan, PlannedArm
from sfpo_bench.results.journal import encode
from sfpo_bench.results.names import folder_name, key_of
from sfpo_bench.results.run_folder import RunFolder, RunStatus
from sfpo_bench.results.stored_files import write_atomically

_NOTE = (
    "These runs were imported. Their logs do not say whether targets were fixed in advance, or whether the runs used "
    "the same seeds, problems and clocks."
)


@dataclass(frozen=True, slots=True)
class About:
    """Description of the imported runs: `origin` names the log, `accuracy` is the name of the accuracy in it."""

    name: str
    origin: str
    accuracy: str
    baseline: str = ""
    targets: tuple[float, ...] = ()
    temperature: float = 1.0


def common_axes(runs: Sequence[ImportedRun]) -> tuple[list[str], list[str]]:
    """Return the axes that every run has, and a sentence for each that only some have."""
    shared = [axis for axis in AXIS_KEYS if all(axis in run.axes for run in runs)]
    partial = [axis for axis in AXIS_KEYS if axis not in shared and any(axis in run.axes for run in runs)]
    counts = {axis: sum(axis in run.axes for run in runs) for axis in partial}
    return shared, [f"{axis} is recorded by {count} of {len(runs)} runs and left out" for axis, count in counts.items()]


def uneven_seeds(runs: Sequence[ImportedRun]) -> list[str]:
    """Return a sentence if the arms do not have the same seeds; missing runs do not exist and are not pending."""
    seeds = {arm: sorted(run.seed for run in runs if run.arm == arm) for arm in dict.fromkeys(run.arm for run in runs)}
    if len({tuple(own) for own in seeds.values()}) == 1:
        return []
    listed = "; ".join(f"{arm} {', '.join(map(str, own))}" for arm, own in seeds.items())
    return [f"the arms have different seeds: {listed}"]


def write_comparison(folder: Path, runs: Sequence[ImportedRun], about: About) -> ComparisonPlan:
    """Write the runs into `folder`, which must not exist, atomically.

    Raises `ConfigError` for an existing folder, two runs of one arm and seed, an unknown baseline, and runs without any
    cost.
    """
    if folder.exists():
        raise ConfigError(f"{folder} exists already; give the imported runs another name with name=NAME")
    plan = _plan(runs, about)
    keys = _arm_keys(runs)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed import
    for run in runs:
        _write_run(ComparisonFolder(partial).run(keys[run.arm], run.seed), run, about)
    ComparisonFolder(partial).write_plan(plan)
    partial.rename(folder)
    return plan


def _plan(runs: Sequence[ImportedRun], about: About) -> ComparisonPlan:
    keys, (axes, _) = _arm_keys(runs), common_axes(runs)
    _check_runs(runs)
    if not axes:
        raise ConfigError(
            "found no cost that every run records; expected at least one of responses, prompts, tokens, "
            "optimizer_steps and seconds: name its column, such as responses=NAME, or set responses_per_step=N"
        )
    if about.baseline and about.baseline not in keys:
        raise ConfigError(f"baseline = {about.baseline!r} is not an arm; expected one of {', '.join(keys)}")
    return ComparisonPlan(
        schema_version=SCHEMA_VERSION,
        name=about.name,
        baseline=keys[about.baseline or next(iter(keys))],
        experiment=f"Imported from {about.origin}. The accuracy is {about.accuracy} of that log.",
        axes_note=_NOTE,
        targets=about.targets,
        split=Split.report,
        mode="sampled",
        temperature=about.temperature,
        seeds=tuple(sorted({run.seed for run in runs})),
        steps=max(run.evaluations[-1].step for run in runs),
        code_version="not of this package",
        arms={key: PlannedArm(arm) for arm, key in keys.items()},
        axes=tuple(axes),
        origin=about.origin,
    )


def _check_runs(runs: Sequence[ImportedRun]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for run in runs:
        other = seen.setdefault((run.arm, run.seed), run.source)
        if other is not run.source:
            raise ConfigError(
                f"found two runs of arm {run.arm!r} with seed {run.seed} ({other} and {run.source}); expected one"
            )


def _arm_keys(runs: Sequence[ImportedRun]) -> dict[str, str]:
    """Return a valid folder name for each arm."""
    keys = {run.arm: folder_name(run.arm.replace(".", "-"), "arm") for run in runs}
    if len({key_of(key) for key in keys.values()}) < len(keys):
        raise ConfigError(
            f"found the arms {', '.join(map(repr, keys))}; expected names that differ in letters or digits"
        )
    return keys


def _write_run(folder: RunFolder, run: ImportedRun, about: About) -> None:
    """Write the records sorted by step; a training step comes before the evaluation at its end."""
    both: list[StepRecord | EvaluationRecord] = [*run.steps, *run.evaluations]
    records = sorted(both, key=lambda record: record.step)
    write_atomically(folder.journal, b"".join(encode(record) for record in records))
    last = records[-1].step
    folder.write_status(RunStatus(run.state, last, last))
    write_atomically(folder.provenance, json.dumps({"imported_from": about.origin, "log": run.source}, indent=1))
