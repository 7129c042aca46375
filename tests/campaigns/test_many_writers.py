"""The campaign of many writers at one store: a short form of it, and that it sees what is missing or doubled."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from tests.campaigns.many_writers import ALONE, calls_of, campaign, said, wrong

pytestmark = pytest.mark.slow


def test_three_writers_two_of_them_killed_leave_every_run_once(tmp_path: Path) -> None:
    folder = tmp_path / "writers"
    assert campaign(folder, 3, 40.0, 12.0, 0).endswith("3 of them killed and started again")
    runs, faults = wrong(folder)
    assert runs >= 3 and not faults
    assert sum(call.what == "finish" for call in calls_of(folder)) >= runs and "finish: n = " in said(folder)

    for statement, fault in (
        ("DELETE FROM metrics WHERE run_uuid = ? AND step = 2", "differs from the run delivered alone"),
        ("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", "is in the store 0 times"),
        (
            "UPDATE runs SET name = 'writer-0-00000', lifecycle_stage = 'active' "
            "WHERE run_uuid = ? OR name = 'writer-1-00000'",
            "is in the store 2 times",
        ),
    ):
        with closing(connect(folder / "results" / "mlflow.db")) as connection, connection:
            [(uid,)] = connection.execute("SELECT run_uuid FROM runs WHERE name = 'writer-0-00000'").fetchall()
            connection.execute(statement, (uid,))
        assert any(fault in line for line in wrong(folder)[1]), statement
    assert not any(line.startswith(f"{ALONE} ") for line in wrong(folder)[1])
