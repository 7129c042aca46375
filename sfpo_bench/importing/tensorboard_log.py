"""Reads runs from TensorBoard's event files: one run per folder with such files.

Each record of an event file is a protocol buffer `Event`. A restart states the step at which it continues (`purge_step`
of the writers); as in TensorBoard, earlier records from that step on are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import LogRow, RunLog
from sfpo_bench.importing.naming import NamedRun, identified
from sfpo_bench.importing.reader import Given
from sfpo_bench.importing.records import whole_records
from sfpo_bench.tracking.framed_records import event_file_records

_VERSION = b"brain.Event:"


@dataclass(frozen=True, slots=True)
class _Scalar:
    """A number in the log, or the text of a value that is not a finite number."""

    tag: str
    value: float


@dataclass(slots=True)
class _Run:
    """Rows in the order of logging; consecutive scalars of one step and different tags form one row."""

    rows: list[LogRow]
    notes: list[str]

    def add(self, path: Path, step: int, scalars: Sequence[_Scalar]) -> None:
        for one in scalars:
            last = self.rows[-1] if self.rows else None
            if last is None or last.step != step or one.tag in last.values or one.tag in last.unread:
                last = LogRow(step, {}, f"{path}, step {step}")
                self.rows.append(last)
            values, unread = dict(last.values), dict(last.unread)
            if math.isfinite(one.value):
                values[one.tag] = one.value
            else:
                unread[one.tag] = repr(one.value)
            self.rows[-1] = LogRow(step, values, last.place, unread)

    def restart(self, path: Path, step: int) -> None:
        """Drop what a restart from `step` undoes."""
        kept = [row for row in self.rows if row.step < step]
        if len(kept) < len(self.rows):
            gone = len(self.rows) - len(kept)
            self.notes.append(
                f"{path}: restarted at step {step}; {gone} rows from there on were replaced by later ones"
            )
        self.rows = kept


class TensorBoardFolder:
    """Reader for a TensorBoard run or a folder of runs."""

    kind = "event files of TensorBoard"
    looked_for = f"a record that begins with {_VERSION.decode()}"
    preset = Preset.own
    settings = frozenset({"run_name", "cut_last_line"})
    in_folders = True

    def recognises(self, path: Path, head: bytes) -> bool:
        return _VERSION in head[12:64]  # behind the length of the first record and its checksum

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        runs = []
        for folder in dict.fromkeys(path.parent for path in files):
            name = folder.relative_to(root).as_posix() if folder != root and root.is_dir() else folder.resolve().name
            own = sorted((path for path in files if path.parent == folder), key=lambda path: path.name)
            run = _Run([], [])
            for path in own:
                _read(path, run, given.form.cut_last_line)
            if run.rows:
                runs.append(NamedRun(name, {}, RunLog("", 0, str(folder), tuple(run.rows), notes=tuple(run.notes))))
        if not runs:
            raise ConfigError(f"{root} holds no scalar; expected at least one")
        return identified(runs, given.names, given.arm, given.seed)


def _read(path: Path, run: _Run, cut_last_line: bool) -> None:
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    except ImportError as error:
        raise MissingDataError(f"{path} is a log that TensorBoard reads: {install_extra('tensorboard')}") from error
    from google.protobuf.message import DecodeError

    for number, content in enumerate(whole_records(path, event_file_records, cut_last_line, run.notes)):
        try:
            event: Any = Event.FromString(content)
        except DecodeError as error:
            raise ConfigError(f"{path}, record {number} is damaged: {error}") from error
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            run.restart(path, event.step)
        if event.HasField("summary"):
            run.add(path, event.step, list(_scalars(event.summary)))


def _scalars(summary: Any) -> Iterator[_Scalar]:
    """Yield the scalars of a summary; texts, images and histograms are skipped."""
    from tensorboard.util.tensor_util import make_ndarray

    for one in summary.value:
        if one.HasField("simple_value"):
            yield _Scalar(one.tag, _shortest(one.simple_value))
        elif one.HasField("tensor") and one.metadata.plugin_data.plugin_name in ("scalars", ""):
            array = make_ndarray(one.tensor)
            if array.size == 1 and array.dtype.kind in "fiu":
                value = array.item()
                yield _Scalar(one.tag, _shortest(value) if array.dtype == np.float32 else float(value))


def _shortest(value: float) -> float:
    """Return the shortest decimal that is equal in single precision: 0.7 instead of 0.699999988."""
    return float(str(np.float32(value)))
