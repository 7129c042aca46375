"""Where a run keeps its things. One place, so that the trainer, the delivery to MLflow and the reports agree.

RUN/
  config.yaml        the resolved configuration; alone it reproduces the run
  provenance.json    versions, device, git state (secrets redacted)
  status.json        state of the run: pending, running, interrupted, failed, finished; and why
  sessions.jsonl     one line per process that worked here: start time, pid, first step
  journal.jsonl      append-only records: steps, evaluations, events
  samples.jsonl      stored training responses
  checkpoints/       step-000010/ …, each whole or absent
  curves.parquet     evaluations and step metrics as a table, written when the run ends
  samples.parquet    the stored responses as a table, written when the run ends
  taken_from.json    where a run that was not trained here was copied from
  delivery.json      who the run is in the tracking store and how far its journal was delivered
  delivery.lock      held by the process that delivers it
  lock               held by the process that works here
  stop               asks that process to end after its step and a checkpoint

Comparisons, sweeps and studies hold such folders; `comparison`, `sweep` and `study` beside this module say where.
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
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.names import RUNS, SAMPLES_TABLE
from sfpo_bench.results.stored_files import reading, write_atomically, write_once


class RunState(StrEnum):
    """Where a run stands; `pending` means that no process has started it."""

    pending = "pending"
    running = "running"
    interrupted = "interrupted"
    failed = "failed"
    finished = "finished"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Contents of `status.json`. `step` is the last step known to be complete; `cause` is empty unless it failed.
    `at_target` says that a finished run ended at the accuracy it was to reach, whether or not before `steps`."""

    state: RunState
    step: int
    steps: int
    cause: str = ""
    at_target: bool = False

    @property
    def wanted(self) -> int:
        """The steps of the whole run: those it took where it ended at its target."""
        return self.step if self.at_target else self.steps


@dataclass(frozen=True, slots=True)
class TakenFrom:
    """Contents of `taken_from.json`: the folder of the run that this one is a copy of."""

    folder: str


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside one run's folder; creating the object touches nothing."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def inputs(self) -> Path:
        """What the files and classes held that the settings name, when the run was started."""
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
        """Where the run was copied from; None for one that was trained here."""
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
        """The folder of a run that has been started; raises `MissingDataError` when `path` is not one."""
        folder = cls(path)
        if not folder.config.is_file():
            raise MissingDataError(
                f"{path} is not a run folder: found no config.yaml there; `sfpo-bench list` shows the runs that exist"
            )
        return folder

    def above(self, levels: int) -> Path | None:
        """The folder so many levels above; None where the path has not as many."""
        parents = self.path.absolute().parents
        return parents[levels - 1] if len(parents) >= levels else None

    @classmethod
    def inside(cls, root: Path) -> list[RunFolder]:
        """The runs by themselves below a folder of results, by name."""
        return [cls(file.parent) for file in sorted((root / RUNS).glob(f"*/{cls(root).config.name}"))]

    def status(self) -> RunStatus:
        """The recorded status; `pending` when none was written."""
        if not self.status_file.is_file():
            return RunStatus(RunState.pending, 0, 0)
        remedy = "remove it and run the command again: work goes on from the last checkpoint"
        return read_record(RunStatus, self.status_file, remedy)

    def uid(self) -> str:
        """A name that no other run has, made at the first call; what the tracking store knows the run by."""
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
        """Wait for whoever holds the lock to let go; raises `RunLocked` after `seconds`."""
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
        """True while a live process holds the folder's lock; nothing is written."""
        import fcntl

        if not self.lock_file.is_file():
            return False
        with open(self.lock_file, "rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock; raises `RunLocked` when a live process holds it. The lock dies with its holder."""
        import fcntl

        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.lock_file, "a", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunLocked(
                    f"{self.path} is in use by another process; wait for it to end, or stop it, then run again"
                ) from error
            yield
