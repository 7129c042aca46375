"""Delivery of a study: one run above its sweeps, its comparison and their runs, with its scores.

A store that fails costs a warning; `sfpo-bench sync` delivers what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import TrackingError
from sfpo_bench.core.types import StepRecord
from sfpo_bench.reports.papers.score import PaperScore
from sfpo_bench.results.journal import JournalWriter, read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.feed import key_of
from sfpo_bench.tracking.store_warnings import StoreWarnings


def open_run(folder: RunFolder, delivery: Delivery | None, warnings: StoreWarnings) -> None:
    """Make the study's run, so that what follows can be put beneath it."""
    key = key_of(folder)
    assert key is not None
    if delivery is not None and not warnings.tracking_failed:
        try:
            delivery.open_run(folder, key)
        except TrackingError as error:
            warnings.tracking(error)


def close_run(
    folder: RunFolder,
    delivery: Delivery | None,
    scores: Sequence[PaperScore],
    artifacts: Sequence[Path],
    warnings: StoreWarnings,
) -> None:
    """Deliver the scores, upload the artifacts, end the run."""
    _write_journal(folder, scores)
    if delivery is not None and not warnings.tracking_failed:
        try:
            delivery.deliver(folder, folder.journal.stat().st_size)
            delivery.finish(folder, RunState.finished, artifacts=artifacts)
        except TrackingError as error:
            warnings.tracking(error)


def _write_journal(folder: RunFolder, scores: Sequence[PaperScore]) -> None:
    """Append the scores, unless the last record has them: a journal that is written anew would be another run."""
    numbers = {f"{one.benchmark}/{one.checkpoint.value}/{one.arm}/avg_at_{one.samples}": one.avg_at_k for one in scores}
    found = read_journal(folder.journal)
    last = found[-1] if found else None
    if isinstance(last, StepRecord) and last.metrics == numbers:
        return
    with JournalWriter(folder.journal) as journal:
        journal.append([StepRecord(len(found), time.time(), Costs(), numbers, ())])
