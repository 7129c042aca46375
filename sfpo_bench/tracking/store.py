"""What a delivery asks of a tracking store, and the batches that it sends.

A member of the seam is a class with the methods of `Store`: MLflow (`mlflow_store.py`), TensorBoard's event files
(`tensorboard_store.py`), W&B (`wandb_store.py`). Every failure of a store is raised as `TrackingError`, without
credentials.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sfpo_bench.tracking.points import MetricPoint, RecordPoints

LEFT_OUT_TAG = "sfpo_bench.non_finite_left_out"
# The metric whose value is the number of records that are complete with the points sent so far.
MARKER = "journal_records"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run in the store; `records` is the number of journal records delivered to it."""

    run_id: str
    name: str
    status: str
    records: int
    tags: Mapping[str, str]
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Points of one request, by record from the record `first` on; `tags` are set before they are sent.

    `done` is the number of records complete with it; None inside a very large record.
    """

    records: tuple[tuple[MetricPoint, ...], ...]
    first: int
    tags: Mapping[str, str]
    done: int | None

    def points(self) -> tuple[MetricPoint, ...]:
        """Return all points and, last, that of the marker."""
        return tuple(point for record in (*self.records, self.marker()) for point in record)

    def marker(self) -> tuple[MetricPoint, ...]:
        """Return the point that makes the records complete, if this batch does."""
        if self.done is None:
            return ()
        times_ms = [point.time_ms for record in self.records for point in record]
        return (MetricPoint(MARKER, float(self.done), max(times_ms, default=round(time.time() * 1000)), self.done),)


class Store(Protocol):
    """A store of runs. `status` is one of MLflow's words: RUNNING, FINISHED, FAILED, KILLED.

    `log` must be safe against a kill at any point: `find` in a new process reports the records that are complete, and
    the points of later ones are sent again without becoming double.
    """

    @property
    def address(self) -> str:
        """Where the store is; may contain a password."""
        ...

    @property
    def points_per_request(self) -> int:
        """The largest number of points that `log` takes at once, beside the marker."""
        ...

    @property
    def parent_tag(self) -> str:
        """The tag that names a run's parent by its id."""
        ...

    @property
    def keeps_files(self) -> bool:
        """False if the store has no place for files; `upload` is then not called."""
        ...

    def give_up_in(self, seconds: float) -> None:
        """Start no further request after `seconds`: later ones fail immediately."""
        ...

    def find(self, uid: str) -> StoredRun | None:
        """Return the run with this uid, or None if there is none or it was retired."""
        ...

    def create(
        self, uid: str, name: str, tags: Mapping[str, str], start_ms: int, parent: StoredRun | None = None
    ) -> StoredRun:
        """Create a run, which `find` sees even after a kill."""
        ...

    def log(self, run_id: str, batch: Batch, tags: Mapping[str, str]) -> None:
        """Store the points of a batch, then the tags."""
        ...

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None: ...

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None: ...

    def set_status(self, run_id: str, status: str, end_ms: int) -> None:
        """Set the status of a run; any status but RUNNING ends it at `end_ms`."""
        ...

    def upload(self, run_id: str, path: Path, folder: str | None) -> None: ...

    def retire(self, run_id: str, reason: str) -> None:
        """Take a run out of sight, in a way that can be undone."""
        ...


def plain_name(name: str) -> str:
    """Return a name of a folder or project without blanks and signs that shells, TensorBoard or W&B misread."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip(".-") or "run"


def batches(converted: Sequence[RecordPoints], first: int, most: int) -> Iterator[Batch]:
    """Yield batches of the records from index `first` on; complete records share a request of `most` points."""
    records: list[tuple[MetricPoint, ...]] = []
    tags: dict[str, str] = {}
    left_out = sum(record.left_out for record in converted[:first])
    done = start = first
    for record in converted[first:]:
        if done > start and records and sum(map(len, records)) + len(record.points) > most:
            yield Batch(tuple(records), start, tags, done)
            records, tags, start = [], {}, done
        points = record.points
        tags = {**tags, **record.tags}
        left_out += record.left_out
        if record.left_out:
            tags[LEFT_OUT_TAG] = str(left_out)
        while len(points) > most:
            yield Batch((points[:most],), done, {}, None)
            points = points[most:]
        records.append(points)
        done += 1
    if done > start:
        yield Batch(tuple(records), start, tags, done)
