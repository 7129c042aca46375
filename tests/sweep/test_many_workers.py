"""Eight processes at one sweep on the default stores: the journal file of Optuna, the sqlite file of MLflow."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import command
from tests.sweep.tiny import TINY_SWEEP, sweep, trials

MANY = (
    "sweep.trials=16",
    "sweep.sampler=random",
    "sweep.pruner=none",
    "sweep.lease_seconds=60",
    "tracking.store=mlflow",
)


def check(folder: Path) -> None:
    """Sixteen trials, none twice, each of them delivered whole."""
    found = trials(folder)
    assert [trial["number"] for trial in found] == list(range(16))
    assert {trial["state"] for trial in found} == {"complete"}
    assert len({trial["point"]["rate"] for trial in found}) == 16
    runs = sorted((folder / "results/sweeps/tiny/trials").glob("*/seed-*"))
    assert len(runs) == 16
    for run in runs:
        assert len((run / "sessions.jsonl").read_text().splitlines()) == 1, "no run was begun twice"
    with closing(sqlite3.connect(folder / "results" / "mlflow.db")) as connection:
        states = connection.execute("SELECT name, status FROM runs").fetchall()
        points = dict(
            connection.execute(
                "SELECT runs.name, count(*) FROM metrics JOIN runs USING (run_uuid) "
                "WHERE key LIKE '%accuracy%' GROUP BY run_uuid"
            ).fetchall()
        )
    assert Counter(state for _, state in states) == {"FINISHED": 17} and len(dict(states)) == 17
    for run in runs:
        steps = json.loads((run / "status.json").read_text())["steps"]
        assert points[f"{run.parent.name} {run.name}"] == steps + 1


@pytest.mark.slow
def test_eight_processes_share_a_sweep_without_errors(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SWEEP)
    line = command(("sweep", "tiny.yaml", "sweep.attach=true", *MANY))
    processes = [
        subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for _ in range(8)
    ]
    said = [process.communicate(timeout=1200)[1] for process in processes]
    for process, errors in zip(processes, said, strict=True):
        assert process.returncode == 0, errors
        assert "warning" not in errors and "Traceback" not in errors and "taken over" not in errors, errors
    check(tmp_path)


@pytest.mark.slow
def test_eight_slots_of_one_process_work_without_errors(tmp_path: Path) -> None:
    done = sweep(tmp_path, *MANY, "sweep.slots=8")
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    check(tmp_path)
