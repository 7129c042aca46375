"""Chooses the checkpoints of each run to evaluate: the last, the best on select problems, and the one at equal budget.

Results on report problems are not used. The last and the best are recorded in the run's state, for which the trainer
stores the step of the best accuracy on select problems; the one at equal budget follows from costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.experiments.comparison.arms import PlannedRun
from sfpo_bench.reports.papers.score import PaperCheckpoint
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings.training import Which
from sfpo_bench.training.checkpoint import Checkpoint, CheckpointStore, chosen_checkpoint


@dataclass(frozen=True, slots=True)
class ChosenCheckpoint:
    """A chosen checkpoint of a run, the reason, and the run's cost at that step."""

    arm: str
    seed: int
    checkpoint: PaperCheckpoint
    step: int
    budget: float


@dataclass(frozen=True, slots=True)
class CheckpointChoice:
    """The checkpoints of every run. `shared_budget` is the largest amount of `axis` that all runs have spent.

    `without_equal` lists arms that kept no checkpoint within the shared budget; they have none at equal budget.
    """

    axis: CostAxis
    shared_budget: float
    chosen: tuple[ChosenCheckpoint, ...]
    without_equal: tuple[str, ...]


def choose(runs: Sequence[PlannedRun], axis: CostAxis, keep_every: int) -> CheckpointChoice:
    """Return the checkpoints of finished runs to evaluate.

    The checkpoint at equal budget is each run's latest one at which it had spent no more than the smallest total of all
    runs. Only the last checkpoint and those at multiples of `keep_every` are considered, since others exist only
    because of interruptions. Raises `CheckpointError` if a run has no checkpoint, or no best one.
    """
    finals = {run: chosen_checkpoint(RunFolder(run.folder), Which.last) for run in runs}
    shared = min(_spent(final, axis) for final in finals.values())
    within = {run: _within(run, final, axis, shared, keep_every) for run, final in finals.items()}
    without = tuple(dict.fromkeys(run.arm for run, found in within.items() if found is None))
    chosen: list[ChosenCheckpoint] = []
    for run, final in finals.items():
        best = chosen_checkpoint(RunFolder(run.folder), Which.best)
        named = {PaperCheckpoint.last: final, PaperCheckpoint.best_on_select: best}
        equal = within[run]
        if equal is not None and run.arm not in without:
            named[PaperCheckpoint.equal_budget] = equal
        chosen += [ChosenCheckpoint(run.arm, run.seed, why, one.step, _spent(one, axis)) for why, one in named.items()]
    return CheckpointChoice(axis, shared, tuple(chosen), without)


def to_plain(choice: CheckpointChoice) -> Mapping[str, object]:
    """Return the choice as plain JSON values."""
    return {
        "axis": choice.axis.value,
        "shared_budget": choice.shared_budget,
        "without_equal": list(choice.without_equal),
        "chosen": [[one.arm, one.seed, one.checkpoint.value, one.step, one.budget] for one in choice.chosen],
    }


def from_plain(values: Mapping[str, object]) -> CheckpointChoice:
    """Return the choice from plain JSON values."""
    rows, without = values["chosen"], values["without_equal"]
    assert isinstance(rows, list) and isinstance(without, list)
    chosen = tuple(
        ChosenCheckpoint(arm, seed, PaperCheckpoint(why), step, budget) for arm, seed, why, step, budget in rows
    )
    return CheckpointChoice(CostAxis(str(values["axis"])), float(str(values["shared_budget"])), chosen, tuple(without))


def _within(run: PlannedRun, final: Checkpoint, axis: CostAxis, budget: float, keep_every: int) -> Checkpoint | None:
    kept = [one for one in CheckpointStore(RunFolder(run.folder).checkpoints).all() if one.step % keep_every == 0]
    found = [one for one in (*kept, final) if _spent(one, axis) <= budget]
    return max(found, key=lambda one: one.step, default=None)


def _spent(checkpoint: Checkpoint, axis: CostAxis) -> float:
    return checkpoint.state().costs.on(axis)
