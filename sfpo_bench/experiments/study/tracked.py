"""Delivery of a study as the parent run of its sweeps, its comparison and their runs, with its scores.

A failing store causes a warning; `sfpo-bench sync` delivers what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import TrackingError
from sfpo_bench.core.types import StepRecord
from sfpo_bench.results.journal import JournalWriter, read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.feed import key_of
from sfpo_bench.tracking.store_warnings import StoreWarnings


def open_run(folder: RunFolder, delivery: Delivery | None, warnings: StoreWarnings) -> None:
    """Create the study's run, so that other runs can become its children."""
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
    numbers: Mapping[str, float],
    artifacts: Sequence[Path],
    warnings: StoreWarnings,
) -> None:
    """Deliver the numbers, upload the artifacts, and end the run."""
    _write_journal(folder, numbers)
    if delivery is not None and not warnings.tracking_failed:
        try:
            delivery.deliver(folder, folder.journal.stat().st_size)
            delivery.finish(folder, RunState.finished, artifacts=artifacts)
        except TrackingError as error:
            warnings.tracking(error)


def _write_journal(folder: RunFolder, numbers: Mapping[str, float]) -> None:
    """Append the numbers unless the last record has them; a rewritten journal would become a new run in the store."""
    found = read_journal(folder.journal)
    last = found[-1] if found else None
    if isinstance(last, StepRecord) and last.metrics == dict(numbers):
        return
    with JournalWriter(folder.journal) as journal:
        journal.append([StepRecord(len(found), time.time(), Costs(), dict(numbers), ())])
