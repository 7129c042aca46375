"""Delivery to W&B: offline files that `wandb sync` uploads, one row for each journal record.

    FOLDER/wandb/offline-run-TIME-ID/run-ID.wandb           a run; W&B itself adds the `wandb`
    FOLDER/wandb/.runs/PROJECT/UID.json                     name, tags, parameters and status of a run

W&B writes its file behind the caller's back, so a kill loses the rows that were not yet written. Exactly-once delivery
therefore rests on the file itself: row i holds record i, `find` counts the rows, and a process that continues a run
copies them to a file of its own, adds the rest and removes the older file when its own is complete. So a run is one
file, which `wandb sync` uploads whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import ConfigError, TrackingError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.tracking.file_store import FileStore
from sfpo_bench.tracking.framed_records import wandb_file_records
from sfpo_bench.tracking.points import BY_COST, MetricPoint
from sfpo_bench.tracking.run_records import RunRecord
from sfpo_bench.tracking.store import MARKER, Batch, StoredRun, plain_name

_RETIRED = "RETIRED"
_WRITTEN_SECONDS = 30.0

Row = Mapping[str, float]


@dataclass(slots=True)
class _Live:
    """A run that this process has open; `rows` were given to W&B."""

    run: Any
    rows: int


class WandbStore(FileStore):
    """A project of W&B as offline files. The delivery's lock keeps other processes off a run."""

    prefix = "wandb:"
    files = "W&B's files"

    def __init__(self, folder: Path, experiment: str) -> None:
        self._project = plain_name(experiment)
        super().__init__(folder, folder.resolve() / "wandb" / ".runs" / self._project)
        self._live: dict[str, _Live] = {}

    @staticmethod
    def require() -> None:
        """Raise `ConfigError` unless W&B's package is installed."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before the import: it reports crashes of its own
        try:
            import wandb  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"tracking=wandb needs the package wandb, found none that can be imported: {install_extra('wandb')}"
            ) from error

    def find(self, uid: str) -> StoredRun | None:
        with self._writing():
            about = self._about.find(uid)
            if about is None or about.status == _RETIRED:
                return None
            live = self._live.get(uid)
            return about.stored(live.rows if live else len(self._newest(about)[1]))

    def create(
        self, uid: str, name: str, tags: Mapping[str, str], start_ms: int, parent: StoredRun | None = None
    ) -> StoredRun:
        with self._writing():
            before = self._about.find(uid)
            seed = f"{self._project}/{uid}/{before.place if before else ''}"
            place = hashlib.sha256(seed.encode()).hexdigest()[:12]
            group = parent.name if parent is not None else ""
            about = RunRecord(uid, place, name, "RUNNING", start_ms, tags=dict(tags), group=group)
            self._about.save(about)
            return about.stored(0)

    def log(self, run_id: str, batch: Batch, tags: Mapping[str, str]) -> None:
        with self._writing():
            about = self._about.known(run_id)
            live = self._opened(about)
            if batch.first > live.rows:
                raise TrackingError(f"run {about.name} has {live.rows} rows; expected {batch.first} before these")
            for record in batch.records[live.rows - batch.first :]:
                live.run.log(_row(record, live.rows + 1), step=live.rows)
                live.rows += 1
            if tags:
                self._about.save(replace(about, tags={**about.tags, **tags}))

    def set_status(self, run_id: str, status: str, end_ms: int) -> None:
        """Set the status; one that ends the run completes its file. A run without rows, such as a comparison, has none:
        W&B shows it as the group of its children."""
        with self._writing():
            about = replace(self._about.known(run_id), status=status, end_ms=0 if status == "RUNNING" else end_ms)
            if status != "RUNNING" and (run_id in self._live or self._newest(about)[1]):
                self._close(about, self._opened(about))
            self._about.save(about)

    def retire(self, run_id: str, reason: str) -> None:
        """Rename the run's folders so that `wandb sync` does not upload them; the next run gets another id."""
        with self._writing():
            about = self._about.known(run_id)
            live = self._live.pop(run_id, None)
            if live is not None:
                live.run.finish(exit_code=1)
            for file in self._files(about):
                os.replace(file.parent, file.parent.with_name(f"retired-{file.parent.name}"))
            self._about.save(replace(about, status=_RETIRED))

    def _opened(self, about: RunRecord) -> _Live:
        """Return the run of this process, begun with the rows that are already in a file."""
        live = self._live.get(about.uid)
        if live is None:
            rows = self._newest(about)[1]
            run = self._begun(about)
            for number, row in enumerate(rows):
                run.log(dict(row), step=number)
            live = self._live[about.uid] = _Live(run, len(rows))
        return live

    def _begun(self, about: RunRecord) -> Any:
        import wandb

        (self._folder / "wandb").mkdir(parents=True, exist_ok=True)
        quiet = {"silent": True, "console": "off", "disable_git": True, "disable_code": True}
        bare = {"x_disable_stats": True, "x_disable_meta": True, "x_save_requirements": False}
        settings = wandb.Settings(**quiet, **bare, x_sync_dir_suffix=str(time.time_ns()))
        run = wandb.init(
            mode="offline",
            dir=str(self._folder),
            project=self._project,
            id=about.place,
            name=about.name,
            group=about.group or None,
            job_type=about.tags.get("sfpo_bench.kind"),
            reinit="create_new",
            settings=settings,
        )
        run.define_metric("*", step_metric="step")
        for key in BY_COST:
            run.define_metric(key, step_metric=_axis(key))
        return run

    def _close(self, about: RunRecord, live: _Live) -> None:
        """Complete the file, check that it holds every row, and remove the files that it replaces."""
        shown = {"tags": {**about.tags, "status": about.status}, **about.params}
        live.run.config.update(shown, allow_val_change=True)
        own = Path(live.run.settings.sync_file)
        live.run.finish(exit_code=0 if about.status == "FINISHED" else 1)
        self._live.pop(about.uid)
        deadline = time.monotonic() + _WRITTEN_SECONDS
        while (found := len(_rows(own.read_bytes()))) != live.rows:  # W&B writes on after `finish`
            if time.monotonic() > deadline:
                raise TrackingError(f"{own} has {found} rows; expected {live.rows}: run `sfpo-bench sync`")
            time.sleep(0.02)
        for file in self._files(about):
            if file != own:
                shutil.rmtree(file.parent)

    def _files(self, about: RunRecord) -> list[Path]:
        return sorted((self._folder / "wandb").glob(f"offline-run-*-{about.place}*/run-{about.place}.wandb"))

    def _newest(self, about: RunRecord) -> tuple[Path | None, Sequence[Row]]:
        """Return the file of a run with most rows, and these; a process may have been killed while it copied them."""
        found = [(file, _rows(file.read_bytes())) for file in self._files(about)]
        return max(found, key=lambda one: len(one[1]), default=(None, []))

    def _keep(self, about: RunRecord) -> None:
        self._about.save(about)

    def _forget(self) -> None:
        for live in self._live.values():
            with contextlib.suppress(Exception):  # it is being given up
                live.run.finish(exit_code=1)
        self._live.clear()

    def _failures(self) -> tuple[type[Exception], ...]:
        wandb = sys.modules.get("wandb")  # its errors are known once it is imported
        return super()._failures() if wandb is None else (*super()._failures(), wandb.Error)


def _axis(key: str) -> str:
    """Return the column of the cost over which an accuracy is drawn."""
    return f"{key}_at"


def _row(record: Sequence[MetricPoint], count: int) -> dict[str, float]:
    """Return a record as a row of W&B: its points by key, its step and time, and the number of records so far."""
    row: dict[str, float] = {MARKER: float(count)}
    for key, value, time_ms, step in record:
        row[key] = value
        row[_axis(key) if key in BY_COST else "step"] = step
        row["_timestamp"] = time_ms / 1000
    return row


def _rows(content: bytes) -> list[Row]:
    """Return the rows in a file up to its first damage, as they were given to W&B."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows: list[Row] = []
    for one in wandb_file_records(content).contents:
        record: Any = Record.FromString(one)
        if record.HasField("history"):
            items = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            rows.append({key: value for key, value in items.items() if key not in ("_step", "_runtime")})
    return rows
