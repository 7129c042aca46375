"""Comparison folders as a run would leave them, written through the real journal writer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.types import EvaluationRecord, EventRecord, JournalRecord, Split, StageStats, StepRecord
from sfpo_bench.results.journal import JournalWriter
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus

PROMPTS, GROUP, TOKENS = 4, 8, 10


@dataclass(frozen=True, slots=True)
class Run:
    """One run to write: `accuracies` at steps 0, `every`, 2 `every` …; a step takes `step_seconds`."""

    accuracies: Sequence[float]
    step_seconds: float = 0.5
    every: int = 2
    n: int = 100
    problems: int = 0  # 0: a problem for each response
    processes: int = 1
    state: RunState = RunState.finished
    cause: str = ""
    trigger_step: int | None = None
    greedy: float | None = None
    device: str = "cpu"
    cpu_per_wall: float = 1.0
    optimizer_steps: int = 1
    metrics: Mapping[str, float] = field(default_factory=dict)
    stages: Sequence[StageStats] = ()


@dataclass(slots=True)
class Folder:
    """A comparison to write: `runs[arm][seed]`; an arm or seed that is planned but not there stays unwritten."""

    runs: Mapping[str, Mapping[int, Run]]
    baseline: str = "grpo"
    targets: Sequence[float] = (0.5,)
    seeds: Sequence[int] = (0, 1)
    steps: int = 10
    labels: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=lambda: {"learner.lr": 4e-4, "threads": 1})
    stop_at: Mapping[str, object] | None = None

    def write(self, path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        (path / "comparison.json").write_text(json.dumps(self.plan()), encoding="utf-8")
        for arm, seeds in self.runs.items():
            for seed, run in seeds.items():
                write_run(path / "runs" / arm / f"seed-{seed:04d}", run)
        return path

    def plan(self) -> dict[str, object]:
        arms = {arm: self._arm(arm) for arm in self.runs}
        return {
            "schema_version": 1,
            "name": "synthetic",
            "baseline": self.baseline,
            "experiment": "Curves made up for a test.",
            "axes_note": "Costs are made up too.",
            "targets": list(self.targets),
            "split": "report",
            "mode": "sampled",
            "temperature": 1.0,
            "seeds": list(self.seeds),
            "steps": self.steps,
            "code_version": "test",
            "arms": arms,
            "stop_at": self.stop_at,
        }

    def _arm(self, arm: str) -> dict[str, object]:
        label = self.labels.get(arm, arm.upper())
        return {"label": label, "note": f"the {arm} arm", "overrides": [f"algorithm={arm}"], "settings": self.settings}


def costs_at(run: Run, step: int) -> Costs:
    seconds = step * run.step_seconds
    return Costs(
        prompts=step * PROMPTS,
        responses=step * PROMPTS * GROUP,
        tokens=step * PROMPTS * GROUP * TOKENS,
        optimizer_steps=step * run.optimizer_steps,
        train_seconds=seconds,
        total_seconds=1.5 * seconds,
        cpu_seconds=run.cpu_per_wall * seconds,
    )


def write_run(path: Path, run: Run) -> None:
    folder, last = RunFolder(path), (len(run.accuracies) - 1) * run.every
    with JournalWriter(folder.journal) as journal:
        journal.append(_records(run, last))
    folder.write_status(RunStatus(run.state, last, 10, run.cause))
    folder.provenance.write_text(json.dumps({"device": run.device, "processes": run.processes}), encoding="utf-8")


def evaluation(
    run: Run, step: int, accuracy: float, mode: str = "sampled", split: Split = Split.report
) -> EvaluationRecord:
    temperature = 1.0 if mode == "sampled" else 0.0
    costs = costs_at(run, step)
    return EvaluationRecord(
        step, 0.0, costs, split, mode, temperature, accuracy, run.n, run.problems or run.n, {}, 0, 0.1
    )


def _records(run: Run, last: int) -> list[JournalRecord]:
    records: list[JournalRecord] = []
    for step in range(last + 1):
        if step > 0:
            records.append(StepRecord(step, 0.0, costs_at(run, step), run.metrics, tuple(run.stages)))
        if step == run.trigger_step:
            records.append(EventRecord(step, 0.0, "trigger_fired"))
        if step % run.every == 0:
            records.append(evaluation(run, step, run.accuracies[step // run.every]))
            # Evaluations that are no part of the curve: the problems for choosing.
            records.append(evaluation(run, step, 0.99, split=Split.select))
    if run.greedy is not None:
        records.append(evaluation(run, last, run.greedy, mode="greedy"))
    return records
