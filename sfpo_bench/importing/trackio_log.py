"""Reads runs from the SQLite file of a Trackio project, `PROJECT.db` in its cache folder.

Table `metrics` has a row per call of `log`: run, step, and the numbers as JSON, with NaN and infinities as strings.
Table `configs` has the settings of each run. Runs have an id since 2026; before, their name was the key.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing.entries import Entry, flat, rows_with_a_step
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import RunLog
from sfpo_bench.importing.naming import NamedRun, identified
from sfpo_bench.importing.reader import Given

_MAGIC = b"SQLite format 3\x00"
_COLUMNS = {"run_name", "step", "metrics"}


class TrackioProject:
    """Reader for a Trackio project."""

    kind = "a project of Trackio"
    looked_for = f"a SQLite file whose table metrics has the columns {', '.join(sorted(_COLUMNS))}"
    preset = Preset.own
    settings = frozenset({"step", "run_name", "arm", "seed"})
    in_folders = False

    def recognises(self, path: Path, head: bytes) -> bool:
        if not head.startswith(_MAGIC):
            return False
        try:
            with closing(_opened(path)) as database:
                return _columns(database, "metrics") >= _COLUMNS
        except sqlite3.DatabaseError:
            return False

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        runs = [one for path in files for one in _runs(path, given.names.step)]
        return identified(runs, given.names, given.arm, given.seed)


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def _runs(path: Path, step: str) -> list[NamedRun]:
    try:
        with closing(_opened(path)) as database:
            has_id = "run_id" in _columns(database, "metrics")
            key = "run_id" if has_id else "run_name"
            settings = _settings(database, key)
            logged = list(database.execute(f"SELECT {key}, run_name, step, metrics FROM metrics ORDER BY id"))
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a project of Trackio: {error}") from error
    if not logged:
        raise ConfigError(f"{path} holds no logged row; expected at least one")
    if not all(isinstance(name, str) and name for _, name, _, _ in logged):
        raise ConfigError(f"{path} has a row without the name of its run; expected one in every row")
    return [
        _run(path, name, list(_entries(path, key, logged)), settings.get(key, {}), step)
        for key, name in {row[0]: row[1] for row in logged}.items()
    ]


def _run(path: Path, name: str, entries: Sequence[Entry], settings: Mapping[str, str], step: str) -> NamedRun:
    source = f"{path}, run {name}"
    rows, notes = rows_with_a_step(entries, source, step)
    if not rows:
        raise ConfigError(f"{source} holds no row with a step; {'; '.join(notes)}")
    return NamedRun(name, settings, RunLog("", 0, source, rows, notes=tuple(notes)))


def _entries(path: Path, run: str, logged: Sequence[tuple[str, str, int, str]]) -> Iterator[Entry]:
    for own, name, step, text in logged:
        if own == run:
            place = f"{path}, run {name}, step {step}"
            yield place, {"_step": step, **_object(place, text)}


def _settings(database: sqlite3.Connection, key: str) -> dict[str, Mapping[str, str]]:
    """Return the settings of the runs that logged some."""
    if not {key, "config"} <= _columns(database, "configs"):
        return {}
    rows = database.execute(f"SELECT {key}, config FROM configs")
    return {run: flat(_object(f"the settings of run {run}", text)) for run, text in rows}


def _object(place: str, text: str | bytes) -> Mapping[str, object]:
    try:
        raw = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{place}: found what is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{place}: found {str(raw)!r:.80}; expected a JSON object")
    return raw
