"""A running trial: its runs, their curves so far, and whether it is pruned or has ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from omegaconf import DictConfig

from sfpo_bench.core.errors import CheckpointError, RunLocked
from sfpo_bench.core.types import EvaluationRecord
from sfpo_bench.results.journal import cut, decode
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.search.goals import Curve, Goal
from sfpo_bench.search.study import HeldTrial
from sfpo_bench.settings.search import Pruner, SweepSettings
from sfpo_bench.training.checkpoint import covered_bytes


class CurveReader:
    """Follows the evaluations of a growing journal, which a resumed run may truncate first."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._read = 0
        self._records: list[EvaluationRecord] = []

    def records(self) -> list[EvaluationRecord]:
        """Return every evaluation so far; a later one replaces an earlier one of the same step."""
        size = self._journal.stat().st_size if self._journal.exists() else 0
        if size < self._read:
            self._read, self._records = 0, []
        if size > self._read:
            with open(self._journal, "rb") as handle:
                handle.seek(self._read)
                content = handle.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._read += len(whole)
            lines = (line for line in whole.splitlines() if b'"kind": "evaluation"' in line)
            self._records += [record for record in map(decode, lines) if isinstance(record, EvaluationRecord)]
        latest = {(r.step, r.split, r.mode): r for r in self._records}
        return sorted(latest.values(), key=lambda record: record.step)


@dataclass(slots=True)
class LiveTrial:
    """A trial that this process holds. Its runs, one per seed, are trained in sequence in one slot."""

    held: HeldTrial
    folders: Sequence[Path]
    goals: Sequence[Goal]
    settings: SweepSettings
    node: DictConfig | None = None
    current: int = 0
    training: bool = False  # the current run is in a slot
    ended: bool = False  # the current run has all its steps
    spent: bool = False  # the current run has spent all budgets
    pruned: str = ""
    failed: str = ""
    let_go: bool = False
    _readers: list[CurveReader] = field(init=False)
    _asked: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._readers = [CurveReader(RunFolder(folder).journal) for folder in self.folders]

    @property
    def folder(self) -> Path:
        """The folder of the current run."""
        return self.folders[self.current]

    @property
    def seed(self) -> int:
        return self.settings.first_seed + self.current

    def next_seed(self) -> None:
        """Continue with the run of the next seed."""
        self.current, self.ended, self.spent = self.current + 1, False, False

    @property
    def is_last_seed(self) -> bool:
        return self.current == len(self.folders) - 1

    def share(self) -> float:
        """Return the completed share of the steps of all its runs."""
        status = RunFolder(self.folder).status()
        return (self.current + (status.step / status.wanted if status.wanted else 0.0)) / len(self.folders)

    def curve(self, goal: Goal, seed: int, *, ended: bool) -> Curve:
        return goal.curve(self._readers[seed].records(), self.settings.split, ended=ended)

    def watch(self, *, ended: bool) -> None:
        """Report the rungs that the current run has passed; set `pruned`, or `spent` once all budgets are spent."""
        if self.pruned:
            return
        ended = ended or self.spent
        curves = [self.curve(goal, self.current, ended=ended) for goal in self.goals]
        self.spent = all(c.costs and c.costs[-1] >= g.budget for c, g in zip(curves, self.goals, strict=True))
        if len(self.goals) > 1:  # Optuna supports reports for a single goal only
            return
        if self.settings.pruner is Pruner.wilcoxon:
            if ended:
                self._report(self.current, self.goals[0].value(curves[0]), f"after seed {self.current + 1}")
            return
        rungs = self.settings.rungs
        for rung in range(1, self.goals[0].passed(curves[0], rungs) + 1):
            value = self._mean_so_far(curves[0], rung / rungs)
            self._report(
                self.current * rungs + rung, value, f"at {rung}/{rungs} of the budget of seed {self.current + 1}"
            )
            if self.pruned:
                return

    def values(self) -> list[float]:
        """Return the goals of the trial: means over its seeds."""
        seeds = range(len(self.folders))
        return [fmean(goal.value(self.curve(goal, seed, ended=True)) for seed in seeds) for goal in self.goals]

    def is_censored(self) -> bool:
        """Return True if some run never reached the target of a cost goal."""
        seeds = range(len(self.folders))
        return any(goal.is_censored(self.curve(goal, seed, ended=True)) for goal in self.goals for seed in seeds)

    def _mean_so_far(self, curve: Curve, share: float) -> float:
        """Return the mean of the goal over finished seeds and, for a share of its budget, the current one."""
        goal = self.goals[0]
        before = [goal.value(self.curve(goal, seed, ended=True)) for seed in range(self.current)]
        return fmean([*before, goal.value(curve, share)])

    def _report(self, step: int, value: float, when: str) -> None:
        if step in self._asked or math.isnan(value):
            return
        self._asked.add(step)
        gives_up = self.held.report(step, value)
        last = self.is_last_seed and (
            self.settings.pruner is Pruner.wilcoxon or step == self.settings.rungs * len(self.folders)
        )
        if gives_up and not last:
            self.pruned = f"{self.settings.pruner.value} pruner {when}: {value:.4g}"


def forget_uncovered(run: RunFolder) -> None:
    """Cut a run that a kill or a fault ended to what its last checkpoint covers, as its resumption does.

    Otherwise an evaluation behind that checkpoint could spend the budget, and the run would never be finished.
    """
    if run.status().state not in (RunState.pending, RunState.finished):
        # A worker of a killed parent may still be at it; and what is wrong with a checkpoint, its resumption says.
        with suppress(RunLocked, CheckpointError), run.locked():
            cut(run.journal, covered_bytes(run))
