"""Bringing journals to MLflow: everything a durable checkpoint covers, once, whatever is killed in between.

One process delivers; the processes that train write journals and know nothing of MLflow. A record is sent only when a
checkpoint covers it, because what lies behind the newest checkpoint is undone by a kill and written again.

Why nothing arrives twice: each request carries, in one transaction with its points, the number of records it
completes (the metric `journal_records`). `delivery.json` in the run folder holds that number too, but a new process
asks the store. A point sent again all the same (an answer was lost, a request repeated) has the same key, step, value
and time stamp, and MLflow's databases keep identical rows once.

Why nothing is missing: the number is raised with the points, never before them; tags are set before it is raised.

When the delivered part of a journal changes (a resume from an older checkpoint, a run folder started afresh), the
store's run no longer tells what happened. It is retired (deleted as MLflow does it: hidden, restorable) and a new one
is filled from the journal's beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import BenchError, MissingDataError, TrackingError
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.containers import PLAN_FILES
from sfpo_bench.results.redaction import REDACTED, looks_secret, redact
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking.cursor import Cursor, Ending, JournalView, RunKey
from sfpo_bench.tracking.mlflow_store import (
    MARKER,
    POINTS_PER_REQUEST,
    MlflowStore,
    StoredRun,
    hold,
    resolve_tracking_uri,
)
from sfpo_bench.tracking.points import MetricPoint, PrimaryEvaluation, Told, store_name, tell

__all__ = ["Delivery", "PrimaryEvaluation", "RunKey", "SyncSummary"]

_DELIVERED_TAG = "sfpo_bench.delivered"
_PARENT_UID_TAG = "sfpo_bench.parent_uid"
_LEFT_OUT_TAG = "sfpo_bench.non_finite_left_out"
_STATE_TAG = "sfpo_bench.state"
_CAUSE_TAG = "sfpo_bench.cause"
CHANGED_PARAM_TAG = "sfpo_bench.changed_param."
_PARENT_TAG = "mlflow.parentRunId"

_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_LOCK_SECONDS = 120.0
_TEXT_SUFFIXES = frozenset(
    {".csv", ".diff", ".html", ".json", ".jsonl", ".log", ".md", ".svg", ".tex", ".txt", ".yaml", ".yml"}
)

# An interrupted run is KILLED: nobody works on it. Records delivered after a resume make it RUNNING again. A run whose
# process was killed hard still says `running` in its folder and stays RUNNING until it is resumed.
_STATUS = {
    RunState.pending: "RUNNING",
    RunState.running: "RUNNING",
    RunState.interrupted: "KILLED",
    RunState.failed: "FAILED",
    RunState.finished: "FINISHED",
}


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """What `Delivery.sync` found. `unknown` are run folders without a key: they were skipped."""

    runs: int
    records: int
    already_complete: int
    unknown: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Points of one request. `records` is how many records are complete with it; None inside a very large record."""

    points: tuple[MetricPoint, ...]
    tags: Mapping[str, str]
    records: int | None


class Delivery:
    """Delivers run folders to one experiment of one tracking store; the module says what it promises.

        delivery = Delivery("sfpo", Path("results"))
        delivery.open_run(RunFolder(comparison), RunKey("c1", "comparison"))
        delivery.open_run(folder, RunKey("c1/sfpo/1", "sfpo, seed 1", parent_uid="c1", params=config))
        delivery.deliver(folder, covered_bytes)
        delivery.finish(folder, RunState.finished)

    Every method raises `TrackingError` when the store fails, and can be called again when it is back. Without
    `tracking_uri` and MLFLOW_TRACKING_URI the store is `store_folder/mlflow.db`, made at the first request.
    """

    def __init__(
        self,
        experiment: str,
        store_folder: Path,
        *,
        tracking_uri: str | None = None,
        primary: PrimaryEvaluation | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self.tracking_uri = resolve_tracking_uri(tracking_uri, store_folder, self._environ)
        self._primary = primary or PrimaryEvaluation()
        self._experiment = experiment
        self._store = MlflowStore(self.tracking_uri, experiment, self._environ)
        self._keys: dict[Path, RunKey] = {}
        self._runs: dict[Path, StoredRun] = {}

    def give_up_in(self, seconds: float) -> None:
        """Make no more requests once `seconds` have passed: every method then raises `TrackingError`, after it has
        written down what `sync` needs to know."""
        self._store.give_up_in(seconds)

    def open_run(self, folder: RunFolder, key: RunKey) -> str:
        """Find the run's MLflow run, or create it, and return its id. The key is written down first, for `sync`."""
        with self._alone(folder):
            key = self._clean(key)
            self._keys[folder.path.resolve()] = key
            cursor = Cursor.load(folder) or Cursor(key, redact(self.tracking_uri, self._environ))
            replace(cursor, key=key, experiment=self._experiment).save(folder)
            if cursor.key != key:
                self._runs.pop(folder.path.resolve(), None)
            return self._opened(folder, JournalView.read(folder.journal)).run_id

    def deliver(self, folder: RunFolder, covered_bytes: int) -> int:
        """Send what the journal's first `covered_bytes` bytes hold and the store lacks; returns how many records."""
        with self._alone(folder):
            journal = JournalView.read(folder.journal)
            cursor = self._opened(folder, journal)
            covered = journal.records_within(covered_bytes)
            if covered <= cursor.records:
                return 0
            self._reopen(folder)
            sent = covered - cursor.records
            told = list(tell(journal.records(covered), self._primary))
            for batch in _batches(told, cursor.records):
                cursor = self._send(folder, cursor, batch, journal)
            return sent

    def finish(self, folder: RunFolder, state: RunState, *, cause: str = "", artifacts: Sequence[Path] = ()) -> bool:
        """Upload the run's files and `artifacts`, then set the status of `state`; False when all was so already.

        finished is FINISHED, failed FAILED, interrupted KILLED; pending and running are RUNNING. Text files are
        redacted on the way. Files inside the folder keep their place below it, others go to the top.
        """
        absent = [str(path) for path in artifacts if not path.is_file()]
        if absent:
            raise MissingDataError(f"no file to upload at {', '.join(absent)}; write it first, or leave it out")
        with self._alone(folder):
            names = tuple(os.path.relpath(path, folder.path) for path in artifacts)
            ending = Ending(state, redact(cause, self._environ)[:_LONGEST_TAG], names)
            replace(self._cursor(folder), ending=ending).save(folder)
            return self._end(folder, ending)

    def sync(
        self,
        root: Path,
        covered_bytes: Callable[[RunFolder], int],
        key_of: Callable[[RunFolder], RunKey | None] | None = None,
        wanted: Callable[[RunFolder], bool] = lambda folder: True,
    ) -> SyncSummary:
        """Deliver whatever is missing of the runs in and below `root`: records, artifacts, status; parents first.

        A run's key is the one `open_run` wrote down; `key_of` makes one for a run or comparison that has none. Folders
        that are not `wanted` are left alone.
        """
        runs = records = complete = 0
        unknown: list[Path] = []
        for folder in filter(wanted, run_folders(root)):
            known = Cursor.load(folder)
            key = known.key if known else key_of(folder) if key_of else None
            if key is None:
                unknown.append(folder.path)
                continue
            existed = bool(known and known.run_id)
            before = self.open_run(folder, key)
            sent = self.deliver(folder, covered_bytes(folder)) if folder.journal.is_file() else 0
            ended = self._end_as_recorded(folder)
            runs += 1
            records += sent
            complete += existed and known is not None and known.run_id == before and not sent and not ended
        return SyncSummary(runs, records, complete, tuple(unknown))

    # --- one run in the store -------------------------------------------------------------------------------------

    def _opened(self, folder: RunFolder, journal: JournalView) -> Cursor:
        """The run's cursor, checked against the store once a process and against the journal always."""
        cursor = self._cursor(folder)
        run = self._runs.get(folder.path.resolve())
        if run is None or run.run_id != cursor.run_id:
            cursor = self._found_or_created(folder, cursor, journal)
        shrunk = len(journal.ends) < cursor.records and folder.status().state is RunState.finished
        if journal.contradicts(cursor) or shrunk:
            self._store.retire(cursor.run_id, "its journal was written anew from an earlier point")
            cursor = self._found_or_created(folder, cursor, journal)
        return cursor

    def _found_or_created(self, folder: RunFolder, cursor: Cursor, journal: JournalView) -> Cursor:
        key = cursor.key
        run = self._store.find(key.uid)
        if run is None:
            start_ms = round(journal.records(1)[0].time_unix_s * 1000) if journal.ends else _now_ms()
            run = self._store.create(key.uid, key.name, dict(key.tags), start_ms)
        run = self._completed(run, key)
        self._runs[folder.path.resolve()] = run
        cursor = replace(
            cursor,
            store=redact(self.tracking_uri, self._environ),
            run_id=run.run_id,
            artifacts=cursor.artifacts if cursor.run_id == run.run_id else {},
            **_delivered(run, journal),
        )
        cursor.save(folder)
        return cursor

    def _completed(self, run: StoredRun, key: RunKey) -> StoredRun:
        """Add the tags and parameters the run lacks. A stored parameter never changes; a new value becomes a tag."""
        tags = dict(key.tags)
        if key.parent_uid is not None:
            tags[_PARENT_UID_TAG] = key.parent_uid
            parent = self._store.find(key.parent_uid)
            if parent is not None:
                tags[_PARENT_TAG] = parent.run_id
        changed = {name: value for name, value in key.params.items() if run.params.get(name, value) != value}
        tags.update({f"{CHANGED_PARAM_TAG}{name}"[:250]: value[:_LONGEST_TAG] for name, value in changed.items()})
        lacking = {name: value for name, value in tags.items() if run.tags.get(name) != value}
        if lacking:
            self._store.set_tags(run.run_id, lacking)
        absent = {name: value for name, value in key.params.items() if name not in run.params}
        if absent:
            self._store.log_params(run.run_id, absent)
        return replace(run, tags={**run.tags, **lacking}, params={**run.params, **absent})

    def _reopen(self, folder: RunFolder) -> None:
        """Make an ended run RUNNING again, before records are added to it."""
        if self._runs[folder.path.resolve()].status != "RUNNING":
            self._set_status(folder, "RUNNING", {_STATE_TAG: RunState.running.value, _CAUSE_TAG: ""}, _now_ms())

    def _send(self, folder: RunFolder, cursor: Cursor, batch: _Batch, journal: JournalView) -> Cursor:
        if batch.tags:
            self._store.set_tags(cursor.run_id, batch.tags)
        if batch.records is None:
            self._store.log(cursor.run_id, batch.points, {})
            return cursor
        size = journal.size(batch.records)
        cursor = replace(cursor, records=batch.records, size=size, sha256=journal.sha256(size))
        time_ms = max((point.time_ms for point in batch.points), default=_now_ms())
        marker = MetricPoint(MARKER, float(cursor.records), time_ms, cursor.records)
        self._store.log(
            cursor.run_id,
            (*batch.points, marker),
            {_DELIVERED_TAG: f"{cursor.records} {cursor.size} {cursor.sha256}"},
        )
        cursor.save(folder)
        return cursor

    # --- its end --------------------------------------------------------------------------------------------------

    def _end_as_recorded(self, folder: RunFolder) -> bool:
        """Deliver the end of a run, from `status.json` or else from the last `finish`."""
        with self._alone(folder):
            ending = self._cursor(folder).ending
            if folder.status_file.is_file():
                status = folder.status()
                cause = redact(status.cause, self._environ)[:_LONGEST_TAG]
                ending = Ending(status.state, cause, ending.artifacts if ending else ())
            if ending is None or ending.state in (RunState.pending, RunState.running):
                return False
            return self._end(folder, ending)

    def _end(self, folder: RunFolder, ending: Ending) -> bool:
        journal = JournalView.read(folder.journal)
        cursor = self._opened(folder, journal)
        uploaded = [self._upload(folder, path) for path in _files(folder, ending)]
        run = self._runs[folder.path.resolve()]
        tags = {_STATE_TAG: ending.state.value, _CAUSE_TAG: ending.cause}
        status = _STATUS[ending.state]
        if run.status == status and all(run.tags.get(name, "") == value for name, value in tags.items()):
            return any(uploaded)
        known = min(cursor.records, len(journal.ends))
        end_ms = round(journal.records(known)[-1].time_unix_s * 1000) if known else _now_ms()
        self._set_status(folder, status, tags, end_ms)
        return True

    def _set_status(self, folder: RunFolder, status: str, tags: Mapping[str, str], end_ms: int) -> None:
        run = self._runs[folder.path.resolve()]
        self._store.set_tags(run.run_id, tags)
        self._store.set_status(run.run_id, status, end_ms)
        self._runs[folder.path.resolve()] = replace(run, status=status, tags={**run.tags, **tags})

    def _upload(self, folder: RunFolder, path: Path) -> bool:
        """Upload a file unless the store has it as it is now; text goes without its secrets."""
        content = path.read_bytes()
        if path.suffix in _TEXT_SUFFIXES:
            text = content.decode("utf-8", "surrogateescape")
            content = redact(text, self._environ).encode("utf-8", "surrogateescape")
        place = Path(os.path.relpath(path, folder.path))
        place = Path(path.name) if ".." in place.parts else place
        cursor, digest = self._cursor(folder), hashlib.sha256(content).hexdigest()
        if cursor.artifacts.get(place.as_posix()) == digest:
            return False
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / path.name
            copy.write_bytes(content)
            self._store.upload(cursor.run_id, copy, None if place.parent == Path() else place.parent.as_posix())
        replace(cursor, artifacts={**cursor.artifacts, place.as_posix(): digest}).save(folder)
        return True

    # --- what is written down about it ----------------------------------------------------------------------------

    @contextmanager
    def _alone(self, folder: RunFolder) -> Iterator[None]:
        """Hold the lock of this folder's delivery; after a failure forget everything that was cached of the store."""
        folder.path.mkdir(parents=True, exist_ok=True)
        with hold(folder.path / "delivery.lock", _LOCK_SECONDS):
            try:
                yield
            except TrackingError:
                self._runs.clear()
                raise
            except (OSError, BenchError) as error:
                self._runs.clear()
                raise TrackingError(
                    f"{folder.path} cannot be delivered: {error}; expected a journal that can be read and room for "
                    f"{folder.delivery.name}: mend that, then run `sfpo-bench sync`"
                ) from error

    def _cursor(self, folder: RunFolder) -> Cursor:
        cursor = Cursor.load(folder)
        if cursor is not None:
            return cursor
        key = self._keys.get(folder.path.resolve())
        if key is None:
            raise TrackingError(
                f"{folder.path} has no run in the tracking store: found no {folder.delivery.name}; expected `open_run` "
                f"to have been called for it: call it, or give `sync` a way to make the key"
            )
        return Cursor(key, redact(self.tracking_uri, self._environ), experiment=self._experiment)

    def _clean(self, key: RunKey) -> RunKey:
        """The key as it is stored: flat parameters, names MLflow accepts, no secrets, nothing too long."""
        tags = {store_name(name): self._value(name, value, _LONGEST_TAG) for name, value in key.tags.items()}
        params: dict[str, str] = {}
        for name, value in _flat(key.params):
            place, number = store_name(name), 2
            while place in params:
                place, number = f"{store_name(name)[:240]}_{number}", number + 1
            params[place] = self._value(name, value, _LONGEST_PARAM)
        return RunKey(key.uid, redact(key.name, self._environ), key.parent_uid, tags, params)

    def _value(self, name: str, value: str, longest: int) -> str:
        text = REDACTED if value and looks_secret(name) else redact(value, self._environ)
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _delivered(run: StoredRun, journal: JournalView) -> dict[str, Any]:
    """How far the run was delivered, for the cursor: number of records, and bytes of the journal they cover.

    A kill between the points and the tag leaves a tag that vouches for less than was sent; the journal, where it does
    not contradict the tag, fills the gap.
    """
    records, size, sha256 = run.tags.get(_DELIVERED_TAG, "0 0 -").split(" ")
    vouched = {"records": int(records), "size": int(size), "sha256": sha256}
    intact = journal.sha256(int(size)) == sha256 or int(size) == 0
    if intact and len(journal.ends) >= run.records:
        whole = journal.size(run.records)
        return {"records": run.records, "size": whole, "sha256": journal.sha256(whole)}
    return {**vouched, "records": run.records}


def _batches(told: Sequence[Told], first: int) -> Iterator[_Batch]:
    """The records from number `first` on, whole ones together while they fit into a request."""
    points: list[MetricPoint] = []
    tags: dict[str, str] = {}
    left_out = sum(record.left_out for record in told[:first])
    done = first
    for record in told[first:]:
        if done > first and points and len(points) + len(record.points) > POINTS_PER_REQUEST:
            yield _Batch(tuple(points), tags, done)
            points, tags = [], {}
        points += record.points
        tags = {**tags, **record.tags}
        left_out += record.left_out
        if record.left_out:
            tags[_LEFT_OUT_TAG] = str(left_out)
        while len(points) > POINTS_PER_REQUEST:
            yield _Batch(tuple(points[:POINTS_PER_REQUEST]), {}, None)
            points = points[POINTS_PER_REQUEST:]
        done += 1
    if done > first:
        yield _Batch(tuple(points), tags, done)


def _files(folder: RunFolder, ending: Ending) -> list[Path]:
    """The files of a run that exist, and the extra ones its end named."""
    extra = [folder.path / name for name in ending.artifacts]
    plan = ComparisonFolder(folder.path).plan_file
    every = [folder.config, folder.provenance, folder.curves, folder.samples_table, plan, *extra]
    return [path for path in dict.fromkeys(every) if path.is_file()]


def run_folders(root: Path) -> Iterator[RunFolder]:
    """Folders of runs, comparisons and sweeps in and below `root`, parents first.

    A store's copies of their files, `RUN_ID/artifacts`, are none.
    """
    for place, folders, files in os.walk(root):
        is_stored_run = re.fullmatch(r"[0-9a-f]{32}", Path(place).name) is not None
        folders[:] = sorted(name for name in folders if name != ("artifacts" if is_stored_run else "checkpoints"))
        folder = RunFolder(Path(place))
        # Not by config.yaml alone: Hydra leaves one in every output folder.
        started = {folder.config.name, folder.journal.name} <= set(files)
        if started or {folder.delivery.name, *PLAN_FILES} & set(files):
            yield folder


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names and texts: `{"a": {"b": [1, 2]}}` is `a.b` with `[1, 2]`."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", str(value)
        else:
            yield f"{prefix}{name}", json.dumps(value, default=str)


def _now_ms() -> int:
    return round(time.time() * 1000)
