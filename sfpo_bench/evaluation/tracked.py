"""Delivery of an evaluation as a child of the training run, with its scores at the checkpoint's step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.types import StepRecord
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.results.journal import JournalWriter, cut, read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.tracking.delivery import Delivery, RunKey


def write_journal(evaluation: Evaluation, numbers: Mapping[str, float]) -> RunFolder:
    """Write the journal of an evaluation: one record with all scores, at the training step of its model."""
    folder, step = RunFolder(evaluation.folder), evaluation.owner.step or 0
    uncounted = sum(
        one.samples for graded in evaluation.graded.values() for one in graded.problems if one.tokens is None
    )
    if uncounted:  # else the costs would say that these responses had no tokens
        numbers = {**numbers, "responses_of_unknown_length": float(uncounted)}
    found = read_journal(folder.journal)
    if len(found) == 1 and isinstance(found[0], StepRecord) and found[0].metrics == dict(numbers):
        return folder
    answers = [one for graded in evaluation.graded.values() for one in graded.problems]
    costs = Costs(
        prompts=len(answers),
        responses=sum(len(one.classes) for one in answers),
        tokens=sum(sum(one.tokens or ()) for one in answers),
        total_seconds=evaluation.asked.seconds,
    )
    if folder.journal.is_file():
        cut(folder.journal, 0)
    with JournalWriter(folder.journal) as journal:
        journal.append([StepRecord(step, time.time(), costs, dict(numbers), ())])
    folder.write_status(RunStatus(RunState.finished, step, step))
    return folder


def deliver(
    evaluation: Evaluation, folder: RunFolder, artifacts: Sequence[Path], delivery: Delivery, parent_uid: str = ""
) -> None:
    """Deliver the journal and the tables as a child of the model's run or of `parent_uid`; raises `TrackingError`."""
    owner = evaluation.owner
    key = RunKey(
        uid=folder.uid(),
        name=f"{owner.label} on {evaluation.asked.suite}",
        parent_uid=owner.run or parent_uid or None,
        tags={"sfpo_bench.kind": "evaluation", "suite": evaluation.asked.suite, "arm": owner.arm},
        params={
            "sampling": dataclasses.asdict(evaluation.sampling),
            "samples": evaluation.asked.samples,
            "model": dataclasses.asdict(owner.model),
            "prompts": dict(evaluation.asked.templates),
            **({"server": dataclasses.asdict(evaluation.server)} if evaluation.server else {}),
        },
    )
    delivery.open_run(folder, key)
    delivery.deliver(folder, folder.journal.stat().st_size)
    delivery.finish(folder, RunState.finished, artifacts=artifacts)


def is_evaluation(folder: RunFolder) -> bool:
    """Return True for the folder of an evaluation's samples, whose journal is always complete."""
    return SampleStore(folder.path).identity_file.is_file()
