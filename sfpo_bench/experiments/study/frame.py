"""Converts evaluations to the rows of `scores.csv`: every arm, checkpoint and benchmark, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from sfpo_bench.evaluation.paper_rows import paper_rows, samples_of
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.scores import ScoredArm, differences
from sfpo_bench.experiments.study.checkpoints import CheckpointChoice, ChosenCheckpoint
from sfpo_bench.reports.papers.score import PaperCheckpoint, PaperScore

# Name of the model before training, used like an arm.
BEFORE_TRAINING = "before training"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A chosen checkpoint and its evaluation."""

    chosen: ChosenCheckpoint
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class _Side:
    """An arm at one checkpoint, with the mean steps and cost of its seeds."""

    arm: ScoredArm
    steps: float
    budget: float


def score_rows(
    start: Evaluation,
    evaluated: Sequence[Evaluated],
    choice: CheckpointChoice,
    labels: Mapping[str, str],
    baseline: str,
    model: str,
) -> list[PaperScore]:
    """Return the rows: the model before training, then by checkpoint and arm each benchmark and their average.

    `labels` maps arms to their names in tables, in the order of the rows; `baseline` is an arm. Differences are to the
    baseline at the same checkpoint, on the same problems, with Holm's adjustment over the benchmarks.
    """
    name = model or start.owner.model.source
    rows = _start_rows(start, name)
    for checkpoint in PaperCheckpoint:
        sides = _sides([one for one in evaluated if one.chosen.checkpoint is checkpoint], labels)
        for arm, side in sides.items():
            found = (
                differences(side.arm, sides[baseline].arm, "avg", samples_of(side.arm))
                if arm != baseline and baseline in sides
                else {}
            )
            own = paper_rows(side.arm, checkpoint, found)
            rows += [
                replace(
                    row, model=name, arm=labels[arm], seeds=len(side.arm.evaluations), steps=side.steps,
                    budget=side.budget, axis=choice.axis.value, baseline=labels[baseline] if found else "",
                )
                for row in own
            ]  # fmt: skip
    return rows


def _sides(evaluated: Sequence[Evaluated], labels: Mapping[str, str]) -> dict[str, _Side]:
    grouped = {arm: [one for one in evaluated if one.chosen.arm == arm] for arm in labels}
    return {
        arm: _Side(
            ScoredArm(arm, tuple(one.evaluation for one in sorted(members, key=lambda one: one.chosen.seed))),
            fmean(one.chosen.step for one in members),
            fmean(one.chosen.budget for one in members),
        )
        for arm, members in grouped.items()
        if members
    }


def _start_rows(start: Evaluation, model: str) -> list[PaperScore]:
    rows = paper_rows(ScoredArm(BEFORE_TRAINING, (start,)), PaperCheckpoint.start, {})
    return [replace(row, model=model, arm=BEFORE_TRAINING, steps=0.0, budget=0.0) for row in rows]
