"""The append-only journal of a run, with one JSON record per line.

A checkpoint stores the length of the journal in bytes. Records after that length belong to steps that a kill undid; a
resumed run truncates them and writes them again. A last line without a newline is an incomplete write and is ignored.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import BenchError, CheckpointError, DiskFullError
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
from sfpo_bench.results.stored_files import reading, sync_folder

_KIND = {StepRecord: "step", EvaluationRecord: "evaluation", EventRecord: "event", SampleRecord: "sample"}


class JournalWriter:
    """Appends records to a JSONL file. `length()` flushes them to disk and returns the file's size in bytes; so does
    leaving a `with` block.

    An incomplete last line is removed on opening, since a record appended to it would be unreadable.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        self._handle = open(path, "ab")  # noqa: SIM115 - closed by close()
        sync_folder(path.parent)

    def append(self, records: Iterable[JournalRecord | SampleRecord]) -> None:
        """Append the records; raises `DiskFullError` if writing fails."""
        lines = b"".join(encode(record) for record in records)
        with self._writing():
            self._handle.write(lines)
            self._handle.flush()

    def length(self) -> int:
        with self._writing():
            self._handle.flush()
            os.fsync(self._handle.fileno())
        return self._handle.tell()

    def close(self) -> None:
        # `close` would retry the write that failed.
        with suppress(OSError):
            self._handle.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskFullError(
                f"writing {self._handle.name} failed: {error}; the last checkpoint is whole, free some space and run "
                "the same command again"
            ) from error

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if error is None:
                self.length()
        finally:
            self.close()


def cut(path: Path, length: int) -> None:
    """Truncate the file to `length` bytes, which removes records that no checkpoint covers.

    Raises `CheckpointError` if the file is shorter, since records that the checkpoint relies on are then lost.
    """
    found = path.stat().st_size if path.exists() else 0
    if found < length:
        raise CheckpointError(
            f"{path} holds {found} bytes, but the checkpoint was written when it held {length}: records are lost; "
            f"restore the file, or resume from an older checkpoint"
        )
    if found == length:
        return
    with open(path, "r+b") as handle:
        handle.truncate(length)
        handle.flush()
        os.fsync(handle.fileno())


def _drop_torn_line(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        return
    with open(path, "rb") as handle:
        handle.seek(-1, os.SEEK_END)
        if handle.read(1) == b"\n":
            return
    cut(path, path.read_bytes().rfind(b"\n") + 1)


def encode(record: JournalRecord | SampleRecord) -> bytes:
    """Return the record as one JSON line. Non-finite numbers become the strings `inf`, `-inf`, `nan`; see `decode`."""
    content = {"kind": _KIND[type(record)], **_plain_mapping(asdict(record))}
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogatepass")


def read_journal(path: Path, length: int | None = None) -> list[JournalRecord]:
    """Return the step, evaluation and event records in the first `length` bytes (default: the whole file)."""
    return [record for record in _records(path, length) if not isinstance(record, SampleRecord)]


def read_samples(path: Path, length: int | None = None) -> list[SampleRecord]:
    """Return the stored responses in the first `length` bytes (default: the whole file)."""
    return [record for record in _records(path, length) if isinstance(record, SampleRecord)]


def _records(path: Path, length: int | None) -> Iterator[JournalRecord | SampleRecord]:
    if not path.exists():
        return
    with reading(path), open(path, "rb") as handle:
        content = handle.read() if length is None else handle.read(length)
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if line.endswith(b"\n"):
            try:
                yield decode(line)
            except ValueError as error:
                raise BenchError(
                    f"{path}, line {number} is not a record of this version ({error}); read it with the version that "
                    f"wrote it, or restore the file. Without a copy, remove the run's folder and run the "
                    "command that made it again: the run is trained anew with the same bits, other runs stay"
                ) from error


def decode(line: bytes) -> JournalRecord | SampleRecord:
    """Return the record of one JSON line; raises `ValueError` for an unknown kind or unknown fields."""
    try:
        return _record(json.loads(line.decode("utf-8", "surrogatepass")))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"journal line with other fields than expected: {error!r}") from error


def _record(raw: dict[str, Any]) -> JournalRecord | SampleRecord:
    kind = raw.pop("kind", None)
    if kind == "step":
        return StepRecord(
            step=raw["step"],
            time_unix_s=raw["time_unix_s"],
            costs=Costs(**raw["costs"]),
            metrics=_numbers(raw["metrics"]),
            stages=tuple(_stage(stage) for stage in raw["stages"]),
        )
    if kind == "evaluation":
        floats = {key: _number(raw[key]) for key in ("temperature", "accuracy", "seconds")}
        return EvaluationRecord(**{**raw, **floats, "costs": Costs(**raw["costs"]), "split": Split(raw["split"])})
    if kind == "event":
        return EventRecord(**{**raw, "detail": _numbers(raw["detail"])})
    if kind == "sample":
        reasons = {"finish_reason": FinishReason(raw["finish_reason"]), "status": GradeStatus(raw["status"])}
        floats = {key: _number(raw[key]) for key in ("reward", "advantage")}
        return SampleRecord(**{**raw, **floats, **reasons})
    raise ValueError(f"journal line of unknown kind {kind!r}")


def _stage(raw: Mapping[str, object]) -> StageStats:
    # The types are those that `encode` wrote.
    return StageStats(**{key: value if key == "stage" else _number(value) for key, value in raw.items()})  # type: ignore[arg-type]


def _plain_mapping(value: Mapping[str, object]) -> dict[str, object]:
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _number(value: object) -> float | int:
    return float(value) if isinstance(value, str) else value  # type: ignore[return-value]  # read from JSON


def _numbers(raw: Mapping[str, object]) -> dict[str, float]:
    return {key: _number(value) for key, value in raw.items()}
