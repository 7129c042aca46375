"""Delivery to TensorBoard's event files: a folder for each run, below that of its parent.

    FOLDER/EXPERIMENT/arithmetic/                       a comparison
    FOLDER/EXPERIMENT/arithmetic/sfpo-seed-0001/        its run: one event file with the points
    FOLDER/EXPERIMENT/.runs/UID.json                    name, tags, parameters and status of a run

An event file has neither keys nor transactions, so exactly-once delivery rests on the end of the file: the points of a
batch are followed by the marker, the number of records that are complete with them. What a kill leaves behind the last
marker is cut off before the next batch is written. Numbers are written in double precision. Parameters, tags and the
status are in a second event file, which is replaced whole.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.tracking.file_store import FileStore
from sfpo_bench.tracking.framed_records import event_file_records
from sfpo_bench.tracking.run_records import RunRecord
from sfpo_bench.tracking.store import MARKER, Batch, StoredRun, plain_name

_RECORDS, _ABOUT = "events.out.tfevents.1.points", "events.out.tfevents.0.about"  # TensorBoard reads them in this order
_STATES = {"RUNNING": "STATUS_RUNNING", "FINISHED": "STATUS_SUCCESS"}


class TensorBoardStore(FileStore):
    """The runs of an experiment as event files. The delivery's lock keeps other processes off a run."""

    prefix = "tensorboard:"
    files = "event files"

    def __init__(self, folder: Path, experiment: str) -> None:
        self._root = folder.resolve() / plain_name(experiment)
        super().__init__(folder, self._root / ".runs")
        self._sizes: dict[str, int] = {}

    @staticmethod
    def require() -> None:
        """Raise `ConfigError` unless TensorBoard is installed."""
        try:
            import tensorboard.compat.proto.event_pb2  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"tracking=tensorboard needs the package tensorboard, found none: {install_extra('tensorboard')}"
            ) from error

    def find(self, uid: str) -> StoredRun | None:
        with self._writing():
            about = self._about.find(uid)
            if about is None:
                return None
            self._sizes.pop(uid, None)
            if not self._records(about).is_file():  # it was retired, or its folder was removed
                return None
            return about.stored(_complete(self._records(about).read_bytes())[1])

    def create(
        self, uid: str, name: str, tags: Mapping[str, str], start_ms: int, parent: StoredRun | None = None
    ) -> StoredRun:
        with self._writing():
            before = self._about.find(uid)
            above = self._about.find(parent.run_id) if parent is not None else None
            place = before.place if before else self._new_folder(plain_name(name), above.place if above else "")
            about = RunRecord(uid, place, name, "RUNNING", start_ms, tags=dict(tags))
            self._about.save(about)
            write_atomically(self._records(about), _framed(_opening(start_ms)))
            return about.stored(0)

    def log(self, run_id: str, batch: Batch, tags: Mapping[str, str]) -> None:
        with self._writing():
            about = self._about.known(run_id)
            path = self._records(about)
            with path.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                if self._sizes.get(run_id) != size:
                    size = _complete(path.read_bytes())[0]
                    file.truncate(size)
                self._sizes.pop(run_id, None)
                file.seek(size)
                file.write(_framed(_events(batch)))
                file.flush()
                os.fsync(file.fileno())
                self._sizes[run_id] = file.tell()
            if tags:
                self._about.save(replace(about, tags={**about.tags, **tags}))

    def set_status(self, run_id: str, status: str, end_ms: int) -> None:
        with self._writing():
            self._keep(replace(self._about.known(run_id), status=status, end_ms=0 if status == "RUNNING" else end_ms))

    def retire(self, run_id: str, reason: str) -> None:
        """Rename the event file so that TensorBoard no longer reads it."""
        with self._writing():
            path = self._records(self._about.known(run_id))
            number = 1 + len(list(path.parent.glob("retired-*.points")))
            os.replace(path, path.with_name(f"retired-{number}.points"))

    def _new_folder(self, name: str, above: str) -> str:
        """Make a folder below `above`, with a number if another run has one of that name."""
        number = 1
        while True:
            place = f"{above}/{name if number == 1 else f'{name}-{number}'}".strip("/")
            try:
                (self._root / place).mkdir(parents=True)
                return place
            except FileExistsError:
                number += 1

    def _records(self, about: RunRecord) -> Path:
        return self._root / about.place / _RECORDS

    def _keep(self, about: RunRecord) -> None:
        """Save the record and replace the event file that shows it."""
        self._about.save(about)
        write_atomically(self._root / about.place / _ABOUT, _framed(_shown(about)))

    def _forget(self) -> None:
        self._sizes.clear()


def _complete(content: bytes) -> tuple[int, int]:
    """Return the length of a file up to its last marker (or its opening), and the marker's value."""
    from tensorboard.compat.proto.event_pb2 import Event

    found, end, records = event_file_records(content), 0, 0
    for one, stop in zip(found.contents, found.ends, strict=True):
        event: Any = Event.FromString(one)
        marked = [value for value in event.summary.value if value.tag == MARKER]
        if marked:
            records = int(event.step)
        if marked or not event.HasField("summary"):
            end = stop
    return end, records


def _framed(events: Sequence[Any]) -> bytes:
    """Return the events as the records of an event file."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _opening(start_ms: int) -> list[Any]:
    """Return the events at the beginning of a file; the second makes TensorBoard drop the points of a retired one."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    start = SessionLog(status=SessionLog.START)
    return [
        Event(wall_time=start_ms / 1000, file_version="brain.Event:2"),
        Event(wall_time=start_ms / 1000, step=0, session_log=start),
    ]


def _events(batch: Batch) -> list[Any]:
    """Return the points in double precision; those of one record, step and time share an event."""
    import numpy as np
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    metadata, events = create_summary_metadata("", ""), []
    for record in (*batch.records, batch.marker()):
        for (time_ms, step), points in groupby(record, key=lambda point: (point.time_ms, point.step)):
            summary = Summary()
            for point in points:
                summary.value.add(tag=point.key, metadata=metadata, tensor=make_tensor_proto(np.float64(point.value)))
            events.append(Event(wall_time=time_ms / 1000, step=step, summary=summary))
    return events


def _shown(about: RunRecord) -> list[Any]:
    """Return the events that show parameters and status (HPARAMS) and tags (TEXT)."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    started, ended = about.start_ms / 1000, about.end_ms / 1000
    begun: Any = plugin_data_pb2.SessionStartInfo(start_time_secs=started, group_name=about.place)
    for name, value in about.params.items():
        begun.hparams[name].string_value = value
    summary = Summary()
    data = [(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=begun))]
    if ended:
        status = getattr(api_pb2, _STATES.get(about.status, "STATUS_FAILURE"))
        over = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
        data.append((metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=over)))
    for tag, one in data:
        summary.value.add(tag=tag, metadata=metadata.create_summary_metadata(one), tensor=metadata.NULL_TENSOR)
    rows = [f"| {name} | {value} |" for name, value in sorted({**about.tags, "status": about.status}.items())]
    text = make_tensor_proto("\n".join(["| tag | value |", "|:--|:--|", *rows]))
    summary.value.add(tag="about", metadata=create_summary_metadata("", ""), tensor=text)
    opening = _opening(about.start_ms)[:1]
    return [*opening, Event(wall_time=started, step=0, summary=summary)]
