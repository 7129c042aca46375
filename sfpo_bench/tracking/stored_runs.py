"""Reading runs back from an MLflow tracking store: metadata, metric histories, artifacts.

    runs = stored_runs("sqlite:///results/mlflow.db")      the file itself, read-only, one query per run
    runs = stored_runs("http://127.0.0.1:5000")            MLflow's client, eight concurrent requests

A local sqlite store is read without MLflow, whose import alone takes longer than the reading. Every failure is raised
as `TrackingError`, with credentials redacted.
"""

from __future__ import annotations

import math
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import unquote, urlparse

from sfpo_bench.core.errors import TrackingError
from sfpo_bench.results.redaction import redact
from sfpo_bench.tracking.mlflow_store import (
    in_plain_words,
    moved_artifacts,
    patience,
    silence,
    sqlite_path,
    store_failures,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_REQUESTS_AT_ONCE = 8
_PAGE = 1000
# MLflow's tables store NaN as 0 with a flag, and infinities as the largest float.
_VALUE = "CASE WHEN is_nan THEN 'nan' ELSE value END"
_NAME_TAG, _PARENT_TAG = "mlflow.runName", "mlflow.parentRunId"

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class StoredRunInfo:
    """A run in the store; `latest` maps each metric to its value at its last step."""

    run_id: str
    name: str
    status: str
    artifacts: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    latest: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class History:
    """Every metric point of a run, as recorded: row i is `keys[i]`, `steps[i]`, `values[i]`, `times_ms[i]`."""

    keys: Sequence[str]
    steps: Sequence[int]
    values: Sequence[float]
    times_ms: Sequence[int]


class StoredRuns(Protocol):
    """Read requests of reports. Deleted runs are excluded."""

    def named(self, name_or_id: str) -> list[StoredRunInfo]:
        """Return the runs with that id or, if there is none, with that name, oldest first."""
        ...

    def children(self, run_id: str) -> list[StoredRunInfo]:
        """Return the runs whose parent is `run_id`, oldest first."""
        ...

    def of_experiment(self, name: str) -> list[StoredRunInfo]:
        """Return the runs of an experiment, oldest first."""
        ...

    def experiments(self) -> list[str]:
        """Return the names of the experiments that are not deleted, sorted."""
        ...

    def histories(self, runs: Sequence[StoredRunInfo]) -> list[History]:
        """Return the metric histories of the runs, in the same order."""
        ...

    def files(self, runs: Sequence[StoredRunInfo], name: str) -> list[bytes | None]:
        """Return each run's artifact `name`, or None if it is missing or not accessible from here."""
        ...


def stored_runs(uri: str, environ: Mapping[str, str] | None = None) -> StoredRuns:
    """Return the runs of the store at `uri`; makes no request yet."""
    shown = redact(uri, dict(os.environ if environ is None else environ))
    path = sqlite_path(uri)
    return ClientRuns(uri, shown) if path is None else SqliteRuns(path)


class SqliteRuns:
    """A local sqlite store, read directly from the tables of MLflow 3. The file is opened read-only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def named(self, name_or_id: str) -> list[StoredRunInfo]:
        with self._reading() as connection:
            return self._infos(connection, "run_uuid = ?", name_or_id) or self._infos(
                connection, "name = ?", name_or_id
            )

    def children(self, run_id: str) -> list[StoredRunInfo]:
        of_parent = "run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value = ?)"
        with self._reading() as connection:
            return self._infos(connection, of_parent, _PARENT_TAG, run_id)

    def of_experiment(self, name: str) -> list[StoredRunInfo]:
        inside = "experiment_id IN (SELECT experiment_id FROM experiments WHERE name = ?)"
        with self._reading() as connection:
            return self._infos(connection, inside, name)

    def experiments(self) -> list[str]:
        with self._reading() as connection:
            rows = connection.execute("SELECT name FROM experiments WHERE lifecycle_stage = 'active'").fetchall()
        return sorted(str(name) for (name,) in rows)

    def histories(self, runs: Sequence[StoredRunInfo]) -> list[History]:
        query = f"SELECT key, step, {_VALUE}, timestamp FROM metrics WHERE run_uuid = ? ORDER BY rowid"
        with self._reading() as connection:
            return [_history(connection.execute(query, (run.run_id,)).fetchall()) for run in runs]

    def files(self, runs: Sequence[StoredRunInfo], name: str) -> list[bytes | None]:
        return [_local_file(run.artifacts, name) for run in runs]

    def _infos(self, connection: sqlite3.Connection, where: str, *values: str) -> list[StoredRunInfo]:
        query = f"SELECT run_uuid, name, status, artifact_uri FROM runs WHERE lifecycle_stage = 'active' AND {where}"
        found = connection.execute(f"{query} ORDER BY start_time, run_uuid", values).fetchall()

        def named(run_id: str, table: str, value: str = "value") -> list[tuple[str, str]]:
            return connection.execute(f"SELECT key, {value} FROM {table} WHERE run_uuid = ?", (run_id,)).fetchall()

        return [
            StoredRunInfo(
                run_id,
                name,
                status,
                moved_artifacts(place or "", self._path),
                dict(named(run_id, "tags")),
                dict(named(run_id, "params")),
                _latest(named(run_id, "latest_metrics", _VALUE)),
            )
            for run_id, name, status, place in found
        ]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self._path.is_file():
            raise TrackingError(
                f"found no tracking store at {self._path}; expected the sqlite file that MLflow wrote: name another "
                "store by its tracking URI"
            )
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise TrackingError(
                f"reading the tracking store {self._path} failed: {error}; expected the tables of MLflow 3: bring the "
                "file back, or start `mlflow server` on it and read from there"
            ) from error


class ClientRuns:
    """Any store that MLflow's client supports, read with the client's public methods."""

    def __init__(self, uri: str, shown: str) -> None:
        self._uri = uri
        self._shown = shown
        self._known: MlflowClient | None = None

    def named(self, name_or_id: str) -> list[StoredRunInfo]:
        quoted = _quoted(name_or_id)
        found = self._search(f"attributes.run_id = {quoted}") or self._search(f"attributes.run_name = {quoted}")
        return [_info(run) for run in found]

    def children(self, run_id: str) -> list[StoredRunInfo]:
        return [_info(run) for run in self._search(f"tags.`{_PARENT_TAG}` = {_quoted(run_id)}")]

    def of_experiment(self, name: str) -> list[StoredRunInfo]:
        with self._asking("looking for an experiment") as client:
            experiment = client.get_experiment_by_name(name)
        return [] if experiment is None else [_info(run) for run in self._search("", [experiment.experiment_id])]

    def experiments(self) -> list[str]:
        with self._asking("looking for experiments") as client:
            return sorted(experiment.name for experiment in client.search_experiments(max_results=_PAGE))

    def histories(self, runs: Sequence[StoredRunInfo]) -> list[History]:
        wanted = [(run.run_id, key) for run in runs for key in run.latest]
        with self._asking("reading metric histories") as client:
            points = _at_once(lambda pair: client.get_metric_history(*pair), wanted)
        rows: dict[str, list[tuple[str, int, float, int]]] = {run.run_id: [] for run in runs}
        for (run_id, key), found in zip(wanted, points, strict=True):
            rows[run_id] += [(key, point.step, point.value, point.timestamp) for point in found]
        return [_history(rows[run.run_id]) for run in runs]

    def files(self, runs: Sequence[StoredRunInfo], name: str) -> list[bytes | None]:
        with self._asking(f"reading {name}") as client:
            return _at_once(lambda run: _local_file(run.artifacts, name) or _downloaded(client, run.run_id, name), runs)

    def _search(self, condition: str, within: Sequence[str] = ()) -> list[Run]:
        """Return the runs of the experiments `within`, by default of all."""
        with self._asking("looking for runs") as client:
            experiments = list(within) or [one.experiment_id for one in client.search_experiments(max_results=_PAGE)]
            found: list[Run] = []
            token: str | None = None
            while experiments:
                page = client.search_runs(
                    experiments, condition, max_results=_PAGE, order_by=["start_time ASC"], page_token=token
                )
                found += page
                token = page.token
                if not token:
                    break
            return found

    @contextmanager
    def _asking(self, doing: str) -> Iterator[MlflowClient]:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        try:
            with patience():
                if self._known is None:
                    from mlflow import MlflowClient

                    silence()
                    self._known = MlflowClient(tracking_uri=self._uri)
                yield self._known
        except store_failures() as error:
            cause = redact(in_plain_words(error), dict(os.environ))
            # Not chained: the traceback would print the store's address with its password.
            raise TrackingError(
                f"tracking store {self._shown} failed while {doing}: {cause}; expected an MLflow store that "
                "answers there: bring it back, or read the comparison from its folder"
            ) from None


def _quoted(text: str) -> str:
    """Quote a string for MLflow's filter language, which has no escape for quotes."""
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    raise TrackingError(f"found both kinds of quotes in the run name {text!r}; expected at most one: give the run's id")


def _info(run: Run) -> StoredRunInfo:
    name = run.info.run_name or run.data.tags.get(_NAME_TAG, "")
    data = run.data
    place = run.info.artifact_uri or ""
    return StoredRunInfo(
        run.info.run_id, name, run.info.status, place, dict(data.tags), dict(data.params), _latest(data.metrics.items())
    )


def _history(rows: Sequence[tuple[str, int, float | str, int]]) -> History:
    keys, steps, values, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    return History(keys, steps, [_logged(value) for value in values], times)


def _latest(rows: Iterable[tuple[str, float | str]]) -> dict[str, float]:
    return {key: _logged(value) for key, value in rows}


def _logged(stored: float | str) -> float:
    """Return the value that was logged, before MLflow clipped infinities."""
    value = float(stored)
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def _local_file(folder: str, name: str) -> bytes | None:
    """Return a file of an artifact folder on this machine, or None if the folder is remote or lacks it."""
    place = urlparse(folder)
    if place.scheme not in ("", "file") or not folder:
        return None
    path = Path(unquote(place.path)) / name
    return path.read_bytes() if path.is_file() else None


def _downloaded(client: MlflowClient, run_id: str, name: str) -> bytes | None:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        try:
            if name not in [found.path for found in client.list_artifacts(run_id)]:
                return None
            return Path(client.download_artifacts(run_id, name, scratch)).read_bytes()
        except MlflowException:
            return None


def _at_once(act: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Apply `act` to every item concurrently; results are in the order of `items`."""
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return list(pool.map(act, items))
