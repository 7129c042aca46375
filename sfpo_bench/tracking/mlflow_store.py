"""Requests of a delivery to an MLflow tracking store. Reports read a store through `stored_runs.py`.

MLflow's global state is left alone (tracking URI, active run), except the levels of its loggers. Every failure of the
store is raised as `TrackingError`, with credentials redacted. MLflow is imported at the first request (1.3 s), so
importing this module is cheap.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from sfpo_bench.core.errors import ConfigError, DeliveredElsewhere, TrackingError
from sfpo_bench.core.file_lock import try_lock
from sfpo_bench.results.names import ARTIFACTS, STORE_DATABASE
from sfpo_bench.results.redaction import redact
from sfpo_bench.results.stored_files import sync_file
from sfpo_bench.tracking.mounts import ELSEWHERE, network_refusal
from sfpo_bench.tracking.store import MARKER, Batch, StoredRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

UID_TAG = "sfpo_bench.run_uid"

# MLflow's limits per request: 1000 entities, at most 100 parameters and 100 tags among them.
_POINTS_PER_REQUEST = 990
NAMES_PER_REQUEST = 100

_MIGRATION_SECONDS = 300.0
_LOUD = ("mlflow", "alembic", "sqlalchemy.engine")
# With MLflow's defaults, 7 retries and 120 s, an unreachable store would delay a run by minutes per request.
_REQUEST_LIMITS: dict[str, int | bool] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 2,
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": 1,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": 30,
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": True,
}


def resolve_tracking_uri(given: str | None, folder: Path, environ: Mapping[str, str]) -> str:
    """Return `given`, else MLFLOW_TRACKING_URI, else the embedded store `FOLDER/mlflow.db`."""
    uri = given or environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri
    path = (folder / STORE_DATABASE).resolve()
    if "?" in str(path):
        raise TrackingError(
            f"the embedded tracking store cannot lie at {path}: found a `?`, which ends a path in a database address; "
            f"expected a folder without one: choose another, or name a store by its tracking URI"
        )
    return f"sqlite:///{path}"


def check_tracking_uri(given: str | None, folder: Path, environ: Mapping[str, str]) -> None:
    """Raise `ConfigError` for an sqlite file on a network file system; makes no request."""
    path = sqlite_path(resolve_tracking_uri(given, folder, environ))
    refusal = None if path is None else network_refusal(path)
    if refusal is not None:
        raise ConfigError(f"{refusal}: {ELSEWHERE}")


class MlflowStore:
    """An experiment of an MLflow tracking store. Creating the object makes no request.

    It sets MLFLOW_DISABLE_TELEMETRY, which must happen before MLflow is imported, unless the user has set the variable.
    """

    points_per_request = _POINTS_PER_REQUEST
    parent_tag = "mlflow.parentRunId"
    keeps_files = True

    def __init__(self, uri: str, experiment: str, environ: Mapping[str, str]) -> None:
        self.address = uri
        self._experiment = experiment
        self._environ = environ
        self._client: MlflowClient | None = None
        self._experiment_id: str | None = None
        self._given_seconds = math.inf
        self._give_up_at = math.inf
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

    def give_up_in(self, seconds: float) -> None:
        """Start no further request after `seconds`: later ones fail immediately."""
        self._given_seconds, self._give_up_at = seconds, time.monotonic() + seconds

    def ask(self) -> None:
        """Make one read-only request; raises `TrackingError` if it fails."""
        with self._asking("answering a question") as client:
            client.search_experiments(max_results=1)

    def find(self, uid: str) -> StoredRun | None:
        """Return the run tagged with `uid`, or None if there is none or it was deleted."""
        with self._asking(f"looking for run {uid}") as client:
            found = client.search_runs([self._id(client)], f"tags.`{UID_TAG}` = '{uid}'", order_by=["start_time ASC"])
            runs = [run for run in found if run.data.tags.get(UID_TAG) == uid]
            return _stored(runs[0]) if runs else None

    def create(
        self, uid: str, name: str, tags: Mapping[str, str], start_ms: int, parent: StoredRun | None = None
    ) -> StoredRun:
        """Create a run. The uid tag is part of the creation request, so `find` sees the run even after a kill."""
        with self._asking(f"creating run {name}") as client:
            run = client.create_run(self._id(client), start_ms, {**tags, UID_TAG: uid}, run_name=name)
            return _stored(run)

    def log(self, run_id: str, batch: Batch, tags: Mapping[str, str]) -> None:
        """Send one request: all points are stored in one transaction, the tags after them."""
        with self._asking("sending metrics") as client:
            from mlflow.entities import Metric, RunTag

            metrics = [Metric(point.key, point.value, point.time_ms, point.step) for point in batch.points()]
            client.log_batch(
                run_id, metrics, tags=[RunTag(key, value) for key, value in tags.items()], synchronous=True
            )

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        with self._asking("setting tags") as client:
            from mlflow.entities import RunTag

            for some in _chunks(list(tags.items())):
                client.log_batch(run_id, tags=[RunTag(key, value) for key, value in some], synchronous=True)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        with self._asking("sending parameters") as client:
            from mlflow.entities import Param

            for some in _chunks(list(params.items())):
                client.log_batch(run_id, params=[Param(key, value) for key, value in some], synchronous=True)

    def set_status(self, run_id: str, status: str, end_ms: int) -> None:
        """Set the status of a run; any status but RUNNING ends it at `end_ms`."""
        with self._asking(f"setting status {status}") as client:
            if status == "RUNNING":
                client.update_run(run_id, status=status)
            else:
                client.set_terminated(run_id, status, end_ms)

    def upload(self, run_id: str, path: Path, folder: str | None) -> None:
        with self._asking(f"uploading {path.name}") as client:
            client.log_artifact(run_id, str(path), folder)
            if sqlite_path(self.address) is not None:
                # MLflow copies the file without syncing it: after a loss of power the store would name a file that is
                # not there, and nothing would deliver it again.
                place = urlparse(client.get_run(run_id).info.artifact_uri)
                if place.scheme in ("", "file"):
                    sync_file(Path(unquote(place.path), folder or "", path.name))

    def retire(self, run_id: str, reason: str) -> None:
        """Delete a run in MLflow, which can be undone, and tag it with the reason."""
        with self._asking("retiring a run") as client:
            client.set_tag(run_id, "sfpo_bench.retired", reason)
            client.delete_run(run_id)

    def forget(self) -> None:
        """Discard everything cached from the store, which may have changed during a failure."""
        self._client = None
        self._experiment_id = None

    def _id(self, client: MlflowClient) -> str:
        if self._experiment_id is None:
            found = client.get_experiment_by_name(self._experiment) or self._create_experiment(client)
            if not found.experiment_id:
                raise ValueError("the answer is not one of an MLflow server")
            if found.lifecycle_stage != "active":
                raise TrackingError(
                    f"experiment {self._experiment!r} was deleted in {self._shown()}; expected an active one: restore "
                    f"it with `mlflow experiments restore -x {found.experiment_id}`, or choose another name"
                )
            self._experiment_id = str(found.experiment_id)
        return self._experiment_id

    def _create_experiment(self, client: MlflowClient) -> Experiment:
        from mlflow.exceptions import MlflowException

        path = sqlite_path(self.address)
        artifacts = None if path is None else artifact_folder(path).as_uri()
        try:
            client.create_experiment(self._experiment, artifacts)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            raise ValueError("the experiment just created is not there")
        return found

    @contextmanager
    def _asking(self, doing: str) -> Iterator[MlflowClient]:
        """Run one request; a failure becomes `TrackingError` and discards the cached state."""
        try:
            left = self._give_up_at - time.monotonic()
            if left <= 0:
                raise TimeoutError
            with patience(left):
                yield self._connected()
        except TrackingError:
            self.forget()
            raise
        except store_failures() as error:
            self.forget()
            # Not chained: the traceback would print the store's address with its password.
            raise TrackingError(self._message(doing, self._lateness() or error)) from None

    def _lateness(self) -> TimeoutError | None:
        """Return a timeout error if the request failed after its deadline, since the deadline is then the cause."""
        if time.monotonic() < self._give_up_at:
            return None
        return TimeoutError(f"it is too slow to take everything within {self._given_seconds:g} s")

    def _connected(self) -> MlflowClient:
        if self._client is None:
            path = sqlite_path(self.address)
            if path is not None:
                refusal = network_refusal(path)
                if refusal is not None:
                    raise TrackingError(f"{refusal}: {ELSEWHERE}")
                create_sqlite(path)
                _check_sqlite(path)
                _follow_artifacts(path)
            from mlflow import MlflowClient

            silence()
            self._client = MlflowClient(tracking_uri=self.address)
        return self._client

    def _message(self, doing: str, error: BaseException) -> str:
        cause = redact(in_plain_words(error), self._environ)
        return (
            f"tracking store {self._shown()} failed while {doing}: {cause}; expected an MLflow store that answers "
            "there: bring it back. The journals on disk hold everything"
        )

    def _shown(self) -> str:
        return redact(self.address, self._environ)


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an sqlite store; None for a server or another database."""
    if not uri.startswith("sqlite:///"):
        return None
    name = uri.removeprefix("sqlite:///").split("?", 1)[0]
    if "%" in name:
        raise TrackingError(
            f"the tracking store cannot lie at {name}: found a `%`, which MLflow and SQLAlchemy read differently; "
            f"expected a path without one: choose another folder, or name a store by its tracking URI"
        )
    return None if name in ("", ":memory:") else Path(name).resolve()


def artifact_folder(database: Path) -> Path:
    """Return the artifact folder of an sqlite store, beside its file."""
    return database.with_name(ARTIFACTS)


def moved_artifacts(uri: str, database: Path) -> str:
    """Return the current URI of artifacts stored at `uri`: beside the database if both were moved together.

    MLflow stores absolute paths. A path counts as moved if its folder `mlartifacts` no longer exists, or if the one
    beside the database has the same subfolder.
    """
    place = urlparse(uri)
    path = Path(unquote(place.path))
    if place.scheme not in ("", "file") or ARTIFACTS not in path.parts:
        return uri
    depth = len(path.parts) - path.parts[::-1].index(ARTIFACTS)
    old, new, rest = Path(*path.parts[:depth]), artifact_folder(database), path.parts[depth:]
    if old == new or (old.is_dir() and not new.joinpath(*rest).is_dir()):
        return uri
    return new.joinpath(*rest).as_uri()


def _follow_artifacts(database: Path) -> None:
    """Update the paths of moved artifacts in the store, so that nothing is written to the old place."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=20)) as connection, connection:
        for table, key, column in (
            ("experiments", "experiment_id", "artifact_location"),
            ("runs", "run_uuid", "artifact_uri"),
        ):
            rows = connection.execute(f"SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
            changed = [(new, name) for name, old in rows if (new := moved_artifacts(old, database)) != old]
            connection.executemany(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", changed)


def create_sqlite(path: Path) -> None:
    """Create the database file atomically unless it exists.

    MLflow's migrations take seconds and fail if two processes run them at once. They run under a file lock, on a
    temporary file that is renamed when complete.
    """
    if path.is_file() and path.stat().st_size > 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold(path.with_name(f".{path.name}.lock"), _MIGRATION_SECONDS):
        if path.is_file() and path.stat().st_size > 0:
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        silence()
        for left in path.parent.glob(f".{path.name}.*.tmp*"):  # left by a killed process
            left.unlink(missing_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        # MLflow's class is untyped.
        store = SqlAlchemyStore(f"sqlite:///{temporary}", artifact_folder(path).as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        os.replace(temporary, path)


@contextmanager
def hold(path: Path, seconds: float) -> Iterator[None]:
    """Hold the file lock at `path`, waiting at most `seconds`. The kernel releases it if this process dies."""
    deadline = time.monotonic() + seconds
    with open(path, "a", encoding="utf-8") as handle:
        while not try_lock(handle):
            if time.monotonic() > deadline:
                raise DeliveredElsewhere(
                    f"{path} has been held by another process for more than {seconds:g} s; expected it to be free: "
                    f"one process delivers at a time, let the other one end or stop it"
                )
            time.sleep(0.05)
        yield


def _check_sqlite(path: Path) -> None:
    """Fail immediately for a file without access or that is no database, where MLflow would retry for 90 s."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=20)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


@contextmanager
def patience(seconds: float = 120.0) -> Iterator[None]:
    """Limit retries and timeouts of MLflow requests; no retries if `seconds` is finite. The user's variables win.

    This changes MLflow's defaults rather than the environment, which another thread may be copying.
    """
    variables = importlib.import_module("mlflow.environment_variables")
    before = {name: getattr(variables, name).default for name in _REQUEST_LIMITS}
    limits = dict(_REQUEST_LIMITS)
    if seconds < math.inf:
        timeout = min(_REQUEST_LIMITS["MLFLOW_HTTP_REQUEST_TIMEOUT"], math.ceil(seconds))
        limits |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0, "MLFLOW_HTTP_REQUEST_TIMEOUT": timeout}
    for name, value in limits.items():
        getattr(variables, name).default = value
    try:
        yield
    finally:
        for name, value in before.items():
            getattr(variables, name).default = value


def silence() -> None:
    """Silence migration messages and tracebacks of errors that are raised anyway, unless the user set a level."""
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def store_failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of a failing store: MLflow's, the database's, the network's, and invalid replies."""
    found: list[type[Exception]] = [OSError, sqlite3.Error, ValueError, ImportError]
    if "mlflow" in sys.modules:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        # protobuf has no type stubs; its parser's errors derive from Exception only.
        protobuf = importlib.import_module("google.protobuf.json_format")
        found += [MlflowException, SQLAlchemyError, protobuf.Error]
    return tuple(found)


# Patterns in a store's error messages, and plain explanations.
_PLAIN = {
    r"Connection refused": "nothing answers there (connection refused)",
    r"Name or service not known|name resolution|getaddrinfo|NameResolutionError": "its host is not known here",
    r"[Tt]imed? ?out": "it did not answer in time",
    r"\b40[13]\b|Unauthorized|Forbidden": "it refuses these credentials (HTTP 401 or 403)",
    r"database is locked": "another program holds its database (database is locked)",
    r"readonly database|Permission denied|Read-only file": "it may not be written to (read-only or no permission)",
    r"disk is full|No space left": "its disk is full (no space left)",
    r"not a database|malformed": "its file is not a database, or a damaged one",
    r"unable to open database file|No such file or directory|Not a directory": "its folder is not there",
    r"unsupported URI|Could not parse|No module named": "that is no address of a store",
}


def in_plain_words(error: BaseException) -> str:
    """Return a store's error in plain words, or for an unknown one its own text, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    known = next((words for pattern, words in _PLAIN.items() if re.search(pattern, text)), None)
    return known or (text if len(text) <= 200 else f"{text[:200]}…")


def _stored(run: Run) -> StoredRun:
    records = int(run.data.metrics.get(MARKER, 0))
    tags, params = dict(run.data.tags), dict(run.data.params)
    return StoredRun(run.info.run_id, run.info.run_name or "", run.info.status, records, tags, params)


def _chunks(items: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(items), NAMES_PER_REQUEST):
        yield items[start : start + NAMES_PER_REQUEST]
