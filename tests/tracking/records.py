"""Journal records made up for the tests: a short run with a step-0 evaluation, stages, events and infinities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.types import (
    EvaluationRecord,
    EventRecord,
    FinishReason,
    GradeStatus,
    JournalRecord,
    SampleRecord,
    Split,
    StageStats,
    StepRecord,
)
from sfpo_bench.results.journal import JournalWriter
from sfpo_bench.results.run_folder import RunFolder

START_UNIX_S = 1_800_000_000.0


def costs(step: int) -> Costs:
    return Costs(8 * step, 64 * step, 700 * step, 4 * step, 1.5 * step, 2.25 * step, 3.0 * step)


def stage(name: str, loss: float = 0.25) -> StageStats:
    return StageStats(name, loss, 0.1, 1.0, 1.5, 0.01, 0.7, 1.2, 4, 0, 0.3)


def step_record(step: int, metrics: Mapping[str, float] | None = None) -> StepRecord:
    found = {"reward_mean": step / 100, "entropy": 1.0 / step, "step_seconds": 1.5} if metrics is None else metrics
    stages = (stage("fast_1", step + 0.5), stage("slow", step + 0.25))
    return StepRecord(step, START_UNIX_S + 10 * step, costs(step), found, stages)


def evaluation(
    step: int, split: Split = Split.report, mode: str = "sampled", accuracy: float = 0.5
) -> EvaluationRecord:
    statuses = {"correct": 5, "wrong": 3, "no_answer": 2}
    temperature = 1.0 if mode == "sampled" else 0.0
    time = START_UNIX_S + 10 * step + 1
    return EvaluationRecord(step, time, costs(step), split, mode, temperature, accuracy, 10, 10, statuses, 1, 0.5)


def short_run(steps: int = 6) -> list[JournalRecord]:
    """Evaluations at step 0 and at every third, an event at step 2 and again at 4, an infinity at step 3."""
    records: list[JournalRecord] = [evaluation(0, accuracy=0.1), evaluation(0, Split.select, "greedy", 0.2)]
    for step in range(1, steps + 1):
        metrics = {"reward_mean": float("inf"), "entropy": float("nan"), "trigger_z": 1.0} if step == 3 else None
        records.append(step_record(step, metrics))
        if step in (2, 4):
            records.append(EventRecord(step, START_UNIX_S + 10 * step + 0.5, "trigger_fired", {"z": 2.5 * step}))
        if step % 3 == 0:
            records.append(evaluation(step, accuracy=step / 100))
    return records


def sample(step: int, index: int = 0, response: str = "7 * 8 = 56") -> SampleRecord:
    return SampleRecord(
        step,
        "arithmetic/7*8",
        "7*8",
        "56",
        index,
        response,
        9,
        FinishReason.stopped,
        "56",
        GradeStatus.correct,
        1.0,
        0.5,
    )


def write(path: Path, records: Sequence[JournalRecord | SampleRecord]) -> list[int]:
    """Append the records; the journal's length after each of them."""
    lengths = []
    with JournalWriter(path) as writer:
        for record in records:
            writer.append([record])
            lengths.append(writer.length())
    return lengths


def run_folder(path: Path, records: Sequence[JournalRecord] | None = None) -> RunFolder:
    """A run folder with a configuration, a provenance and a journal, as a worker leaves it."""
    folder = RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.config.write_text("algorithm: sfpo\nseed: 1\n", encoding="utf-8")
    folder.provenance.write_text('{"python": "3.11"}', encoding="utf-8")
    write(folder.journal, short_run() if records is None else records)
    return folder
