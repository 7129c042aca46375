"""Exactly-once delivery of journals to MLflow, robust to kills at any point.

One process delivers; training processes only write journals and do not use MLflow. A record is sent only after a
checkpoint covers it, because a kill undoes the records after the newest checkpoint.

No duplicates: each request contains, in one transaction with its points, the number of records that are complete with
it (the metric `journal_records`). `delivery.json` in the run folder holds that number too, but a new process queries
the store. If a point is sent again, after a lost reply or a retried request, it has the same key, step, value and time
stamp, and MLflow's databases store identical rows once.

No gaps: the number is raised in the same transaction as the points, and tags are set before it is raised.

If the delivered part of a journal changes, because a run was resumed from an older checkpoint or its folder was
recreated, the run in the store is outdated. It is retired (MLflow's deletion, which can be undone), and a new run is
filled from the beginning of the journal.
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
from sfpo_bench.tracking.mlflow_store import MlflowStore, hold, resolve_tracking_uri
from sfpo_bench.tracking.points import PrimaryEvaluation, store_name, to_points
from sfpo_bench.tracking.store import Batch, Store, StoredRun, batches

__all__ = ["Delivery", "PrimaryEvaluation", "RunKey", "SyncSummary"]

_DELIVERED_TAG = "sfpo_bench.delivered"
_PARENT_UID_TAG = "sfpo_bench.parent_uid"
_STATE_TAG = "sfpo_bench.state"
_CAUSE_TAG = "sfpo_bench.cause"
CHANGED_PARAM_TAG = "sfpo_bench.changed_param."

_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_LOCK_SECONDS = 120.0
_TEXT_SUFFIXES = frozenset(
    {".csv", ".diff", ".html", ".json", ".jsonl", ".log", ".md", ".svg", ".tex", ".txt", ".yaml", ".yml"}
)

# An interrupted run is KILLED; records delivered after a resume make it RUNNING again. A run whose process was killed
# by SIGKILL is still `running` in its folder, and stays RUNNING until it is resumed.
_STATUS = {
    RunState.pending: "RUNNING",
    RunState.running: "RUNNING",
    RunState.interrupted: "KILLED",
    RunState.failed: "FAILED",
    RunState.finished: "FINISHED",
}


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """Result of `Delivery.sync`. `unknown` lists run folders without a key, which were skipped."""

    runs: int
    records: int
    already_complete: int
    unknown: tuple[Path, ...]


class Delivery:
    """Delivers run folders to an experiment of a tracking store, with the guarantees described in the module docstring.

        delivery = Delivery("sfpo", Path("results"))
        delivery.open_run(RunFolder(comparison), RunKey("c1", "comparison"))
        delivery.open_run(folder, RunKey("c1/sfpo/1", "sfpo, seed 1", parent_uid="c1", params=config))
        delivery.deliver(folder, covered_bytes)
        delivery.finish(folder, RunState.finished)

    Every method raises `TrackingError` if the store fails, and can be called again later. Without `tracking_uri` and
    MLFLOW_TRACKING_URI the store is `store_folder/mlflow.db`, created at the first request.
    """

    def __init__(
        self,
        experiment: str,
        store_folder: Path,
        *,
        tracking_uri: str | None = None,
        primary: PrimaryEvaluation | None = None,
        environ: Mapping[str, str] | None = None,
        store: Store | None = None,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._primary = primary or PrimaryEvaluation()
        self._experiment = experiment
        if store is None:
            uri = resolve_tracking_uri(tracking_uri, store_folder, self._environ)
            store = MlflowStore(uri, experiment, self._environ)
        self._store = store
        self._address = redact(store.address, self._environ)
        self._keys: dict[Path, RunKey] = {}
        self._runs: dict[Path, StoredRun] = {}

    def give_up_in(self, seconds: float) -> None:
        """Make no more requests after `seconds`: every method then raises `TrackingError`, after storing what `sync`
        needs."""
        self._store.give_up_in(seconds)

    def open_run(self, folder: RunFolder, key: RunKey) -> str:
        """Find or create the run's MLflow run and return its id. The key is saved first, for `sync`."""
        with self._alone(folder):
            key = self._clean(key)
            self._keys[folder.path.resolve()] = key
            cursor = Cursor.load(folder) or Cursor(key, self._address)
            replace(cursor, key=key, experiment=self._experiment).save(folder)
            if cursor.key != key:
                self._runs.pop(folder.path.resolve(), None)
            return self._opened(folder, JournalView.read(folder.journal)).run_id

    def deliver(self, folder: RunFolder, covered_bytes: int) -> int:
        """Send the records in the journal's first `covered_bytes` bytes that the store lacks; return their number."""
        with self._alone(folder):
            journal = JournalView.read(folder.journal)
            cursor = self._opened(folder, journal)
            covered = journal.records_within(covered_bytes)
            if covered <= cursor.records:
                return 0
            if cursor.ended:
                cursor = replace(cursor, ended=False)
                cursor.save(folder)
            self._reopen(folder)
            sent = covered - cursor.records
            converted = list(to_points(journal.records(covered), self._primary))
            for batch in batches(converted, cursor.records, self._store.points_per_request):
                cursor = self._send(folder, cursor, batch, journal)
            return sent

    def finish(self, folder: RunFolder, state: RunState, *, cause: str = "", artifacts: Sequence[Path] = ()) -> bool:
        """Upload the run's files and `artifacts`, then set the status for `state`; return False if nothing changed.

        finished becomes FINISHED, failed FAILED, interrupted KILLED; pending and running become RUNNING. Text files are
        redacted first. Files inside the folder keep their relative path; others are uploaded to the top level.
        """
        absent = [str(path) for path in artifacts if not path.is_file()]
        if absent:
            raise MissingDataError(f"no file to upload at {', '.join(absent)}; write it first, or leave it out")
        with self._alone(folder):
            names = tuple(os.path.relpath(path, folder.path) for path in artifacts)
            ending = Ending(state, redact(cause, self._environ)[:_LONGEST_TAG], names)
            replace(self._cursor(folder), ending=ending, ended=False).save(folder)
            return self._end(folder, ending)

    def sync(
        self,
        root: Path,
        covered_bytes: Callable[[RunFolder], int],
        key_of: Callable[[RunFolder], RunKey | None] | None = None,
        wanted: Callable[[RunFolder], bool] = lambda folder: True,
        report_of: Callable[[RunFolder], Sequence[Path]] = lambda folder: (),
    ) -> SyncSummary:
        """Deliver all missing records, artifacts and statuses of the runs in and below `root`, parents first.

        A run's key is the one that `open_run` saved; `key_of` makes the key of a run or comparison that has none.
        Folders for which `wanted` is False are skipped. `report_of` names the files of a report, which are delivered
        with an end that no delivering process recorded.
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
            ended = self._end_as_recorded(folder, report_of(folder))
            runs += 1
            records += sent
            complete += existed and known is not None and known.run_id == before and not sent and not ended
        return SyncSummary(runs, records, complete, tuple(unknown))

    # --- state of a run in the store --------------------------------------------------------------------------------

    def _opened(self, folder: RunFolder, journal: JournalView) -> Cursor:
        """Return the run's cursor, checked against the store once per process and against the journal on every call."""
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
        parent = None if key.parent_uid is None else self._store.find(key.parent_uid)
        if run is None:
            start_ms = round(journal.records(1)[0].time_unix_s * 1000) if journal.ends else _now_ms()
            run = self._store.create(key.uid, key.name, dict(key.tags), start_ms, parent)
        run = self._completed(run, key, parent)
        self._runs[folder.path.resolve()] = run
        cursor = replace(
            cursor,
            store=self._address,
            run_id=run.run_id,
            artifacts=cursor.artifacts if cursor.run_id == run.run_id else {},
            ended=cursor.ended and cursor.run_id == run.run_id,
            **_delivered(run, journal),
        )
        cursor.save(folder)
        return cursor

    def _completed(self, run: StoredRun, key: RunKey, parent: StoredRun | None) -> StoredRun:
        """Add missing tags and parameters. MLflow parameters are immutable, so a changed value is stored as a tag."""
        tags = dict(key.tags)
        if key.parent_uid is not None:
            tags[_PARENT_UID_TAG] = key.parent_uid
        if parent is not None:
            tags[self._store.parent_tag] = parent.run_id
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
        """Set an ended run to RUNNING again before records are added to it."""
        if self._runs[folder.path.resolve()].status != "RUNNING":
            self._set_status(folder, "RUNNING", {_STATE_TAG: RunState.running.value, _CAUSE_TAG: ""}, _now_ms())

    def _send(self, folder: RunFolder, cursor: Cursor, batch: Batch, journal: JournalView) -> Cursor:
        if batch.tags:
            self._store.set_tags(cursor.run_id, batch.tags)
        if batch.done is None:
            self._store.log(cursor.run_id, batch, {})
            return cursor
        size = journal.size(batch.done)
        cursor = replace(cursor, records=batch.done, size=size, sha256=journal.sha256(size))
        self._store.log(cursor.run_id, batch, {_DELIVERED_TAG: f"{cursor.records} {cursor.size} {cursor.sha256}"})
        cursor.save(folder)
        return cursor

    # --- end of a run -----------------------------------------------------------------------------------------------

    def _end_as_recorded(self, folder: RunFolder, report: Sequence[Path]) -> bool:
        """Deliver the end of a run from `status.json` or, without one, from the last `finish`."""
        with self._alone(folder):
            ending = self._cursor(folder).ending
            if folder.status_file.is_file():
                status = folder.status()
                cause = redact(status.cause, self._environ)[:_LONGEST_TAG]
                unrecorded = tuple(os.path.relpath(path, folder.path) for path in report)
                ending = Ending(status.state, cause, (ending.artifacts if ending else ()) or unrecorded)
            if ending is None or ending.state in (RunState.pending, RunState.running):
                return False
            return self._end(folder, ending)

    def _end(self, folder: RunFolder, ending: Ending) -> bool:
        changed = self._end_in_store(folder, ending)
        replace(self._cursor(folder), ended=True).save(folder)
        return changed

    def _end_in_store(self, folder: RunFolder, ending: Ending) -> bool:
        journal = JournalView.read(folder.journal)
        cursor = self._opened(folder, journal)
        uploaded = [self._upload(folder, path) for path in _files(folder, ending) if self._store.keeps_files]
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
        """Upload a file unless the store has the same content; text is redacted."""
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

    # --- local state --------------------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, folder: RunFolder) -> Iterator[None]:
        """Hold the delivery lock of this folder; after a failure, discard everything cached from the store."""
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
        return Cursor(key, self._address, experiment=self._experiment)

    def _clean(self, key: RunKey) -> RunKey:
        """Return the key in the form that is stored: flat parameters, valid MLflow names, redacted, truncated."""
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
    """Return the cursor fields `records`, `size` and `sha256` of a stored run.

    A kill between the points and the tag leaves a tag that covers fewer records than were sent. If the journal agrees
    with the tag, size and hash are computed from the journal instead.
    """
    records, size, sha256 = run.tags.get(_DELIVERED_TAG, "0 0 -").split(" ")
    vouched = {"records": int(records), "size": int(size), "sha256": sha256}
    intact = journal.sha256(int(size)) == sha256 or int(size) == 0
    if intact and len(journal.ends) >= run.records:
        whole = journal.size(run.records)
        return {"records": run.records, "size": whole, "sha256": journal.sha256(whole)}
    return {**vouched, "records": run.records}


def _files(folder: RunFolder, ending: Ending) -> list[Path]:
    """Return the existing files of a run, and the extra artifacts of its end."""
    extra = [folder.path / name for name in ending.artifacts]
    plan = ComparisonFolder(folder.path).plan_file
    every = [folder.config, folder.provenance, folder.curves, folder.samples_table, plan, *extra]
    return [path for path in dict.fromkeys(every) if path.is_file()]


def run_folders(root: Path) -> Iterator[RunFolder]:
    """Yield the folders of runs, comparisons and sweeps in and below `root`, parents first.

    Copies of their files inside an artifact store (`RUN_ID/artifacts`) are skipped.
    """
    for place, folders, files in os.walk(root):
        is_stored_run = re.fullmatch(r"[0-9a-f]{32}", Path(place).name) is not None
        folders[:] = sorted(name for name in folders if name != ("artifacts" if is_stored_run else "checkpoints"))
        folder = RunFolder(Path(place))
        # config.yaml alone is not sufficient: Hydra writes one into every output folder.
        started = {folder.config.name, folder.journal.name} <= set(files)
        if started or {folder.delivery.name, *PLAN_FILES} & set(files):
            yield folder


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings with dotted names and values as text: `{"a": {"b": [1, 2]}}` gives `a.b`, `[1, 2]`."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", str(value)
        else:
            yield f"{prefix}{name}", json.dumps(value, default=str)


def _now_ms() -> int:
    return round(time.time() * 1000)
