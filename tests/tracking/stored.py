"""Reading a test's MLflow database directly: what is really stored, past MLflow's own views of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sfpo_bench.core.types import JournalRecord
from sfpo_bench.tracking.points import PrimaryEvaluation, to_points
from sfpo_bench.tracking.store import MARKER

Row = tuple[str, float, int, int]


def query(store_folder: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store_folder / "mlflow.db")) as connection:
        return connection.execute(sql, values).fetchall()


def rows(store_folder: Path, run_id: str, *, marker: bool = False) -> list[Row]:
    """Every stored metric row (key, value, time in ms, step), sorted; the delivery's own marker only on request."""
    found = query(store_folder, "SELECT key, value, timestamp, step FROM metrics WHERE run_uuid = ?", run_id)
    return sorted(row for row in found if marker or row[0] != MARKER)


def told_rows(records: Sequence[JournalRecord]) -> list[Row]:
    """The rows that a journal of these records is to leave, each once."""
    return sorted(
        (point.key, point.value, point.time_ms, point.step)
        for told in to_points(records, PrimaryEvaluation())
        for point in told.points
    )


def tags(store_folder: Path, run_id: str) -> dict[str, str]:
    return dict(query(store_folder, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))


def params(store_folder: Path, run_id: str) -> dict[str, str]:
    return dict(query(store_folder, "SELECT key, value FROM params WHERE run_uuid = ?", run_id))


def status(store_folder: Path, run_id: str) -> str:
    return str(query(store_folder, "SELECT status FROM runs WHERE run_uuid = ?", run_id)[0][0])


def active_runs(store_folder: Path) -> list[str]:
    return [row[0] for row in query(store_folder, "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")]


def artifacts(store_folder: Path, run_id: str) -> dict[str, bytes]:
    """The artifacts of a run by their place below its artifact folder."""
    [experiment] = (store_folder / "mlartifacts").glob(f"{run_id}/artifacts")
    return {
        path.relative_to(experiment).as_posix(): path.read_bytes() for path in experiment.rglob("*") if path.is_file()
    }
