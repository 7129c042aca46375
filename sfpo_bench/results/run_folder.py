"""The folder of a run: its files, its status and its lock.

RUN/
  config.yaml        the resolved configuration, which alone reproduces the run
  provenance.json    versions, device, git state (secrets redacted)
  status.json        state of the run (pending, running, interrupted, failed, finished) and its cause
  sessions.jsonl     one line per process that trained here: start time, pid, first step
  journal.jsonl      append-only records: steps, evaluations, events
  samples.jsonl      stored training responses
  checkpoints/       step-000010/ …, each complete or absent
  curves.parquet     evaluations and step metrics as a table, written when the run ends
  samples.parquet    the stored responses as a table, written when the run ends
  taken_from.json    the folder that a run was copied from, if it was not trained here
  delivery.json      the run's id in the tracking store, and how far its journal was delivered
  delivery.lock      file lock of the process that delivers it
  lock               file lock of the process that trains it
  stop               asks that process to stop after its step and a checkpoint

Comparisons, sweeps and studies contain run folders at the paths given in `comparison`, `sweep` and `study`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sfpo_bench.core.errors import MissingDataError, RunLocked
from sfpo_bench.core.file_lock import NoFileLocks, try_lock
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.names import RUNS, SAMPLES_TABLE
from sfpo_bench.results.stored_files import reading, write_atomically, write_once


class RunState(StrEnum):
    """State of a run; `pending` means that no process has started it."""

    pending = "pending"
    running = "running"
    interrupted = "interrupted"
    failed = "failed"
    finished = "finished"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Contents of `status.json`. `step` is the last complete step; `cause` is empty unless the run failed.

    `at_target` is True for a finished run that ended at its target accuracy, before `steps` or not."""

    state: RunState
    step: int
    steps: int
    cause: str = ""
    at_target: bool = False

    @property
    def wanted(self) -> int:
        """The steps of the whole run, or those it took if it ended at its target."""
        return self.step if self.at_target else self.steps


@dataclass(frozen=True, slots=True)
class TakenFrom:
    """Contents of `taken_from.json`: the folder that this run was copied from."""

    folder: str


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside one run's folder; creating the object does no I/O."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def inputs(self) -> Path:
        """Contents of the files and classes that the settings name, as of the start of the run."""
        return self.path / "inputs.json"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def sessions(self) -> Path:
        return self.path / "sessions.jsonl"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def curves(self) -> Path:
        return self.path / "curves.parquet"

    @property
    def samples_table(self) -> Path:
        return self.path / SAMPLES_TABLE

    @property
    def taken_from_file(self) -> Path:
        return self.path / "taken_from.json"

    def taken_from(self) -> TakenFrom | None:
        """The folder that the run was copied from, or None if it was trained here."""
        return read_record(TakenFrom, self.taken_from_file) if self.taken_from_file.is_file() else None

    @property
    def delivery(self) -> Path:
        return self.path / "delivery.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """Return the folder of a run that was started; raises `MissingDataError` if `path` is not one."""
        folder = cls(path)
        if not folder.config.is_file():
            found = "found no config.yaml there" if path.is_dir() else "it does not exist"
            raise MissingDataError(f"{path} is not a run folder: {found}; `sfpo-bench list` shows the runs that exist")
        return folder

    def above(self, levels: int) -> Path | None:
        """Return the parent folder `levels` levels up, or None if there is none."""
        parents = self.path.absolute().parents
        return parents[levels - 1] if len(parents) >= levels else None

    @classmethod
    def inside(cls, root: Path) -> list[RunFolder]:
        """Return the single runs below a results folder, sorted by name."""
        return [cls(file.parent) for file in sorted((root / RUNS).glob(f"*/{cls(root).config.name}"))]

    def status(self) -> RunStatus:
        """Return the recorded status, or `pending` if none was written."""
        if not self.status_file.is_file():
            return RunStatus(RunState.pending, 0, 0)
        remedy = "remove it and run the command again: the run resumes from the last checkpoint"
        return read_record(RunStatus, self.status_file, remedy)

    def uid(self) -> str:
        """Return the run's unique id, which identifies it in the tracking store; created on the first call."""
        file = self.path / "uid"
        if not file.is_file():
            write_once(file, uuid.uuid4().hex)
        with reading(file, "remove it, and the tracking store will know the run by a new name"):
            name = file.read_text(encoding="utf-8")
            if not name.isalnum():
                raise ValueError(f"{name[:40]!r} is no name")
            return name

    def write_status(self, status: RunStatus) -> None:
        write_atomically(self.status_file, to_json(status, indent=None))

    def wait_until_free(self, seconds: float) -> None:
        """Wait until no other process holds the lock; raises `RunLocked` after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self.locked():
                    return
            except RunLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def is_held(self) -> bool:
        """Return True while a live process holds the folder's lock; writes nothing."""
        if not self.lock_file.is_file():
            return False
        with open(self.lock_file, "rb") as handle:
            try:
                return not try_lock(handle, exclusive=False)
            except NoFileLocks:
                return False  # nobody can hold one there

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file lock, which the kernel releases if this process dies; raises `RunLocked` if it is taken."""
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.lock_file, "a", encoding="utf-8") as handle:
            if not try_lock(handle):
                raise RunLocked(
                    f"{self.path} is in use by another process; wait for it to end, or stop it, then run again"
                )
            yield
