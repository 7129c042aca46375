"""Delivery to a real MLflow server on the loopback interface, stopped in the middle and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sfpo_bench.core.errors import TrackingError
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.tracking.delivery import Delivery, RunKey
from sfpo_bench.tracking.mlflow_store import MlflowStore
from tests.tracking import stored
from tests.tracking.records import run_folder, step_record

KEY = RunKey("c1/sfpo/1", "sfpo seed 1", parent_uid="c1", params={"seed": 1})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "mlartifacts")]
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (folder / "server.log").open("ab")
    process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_up(port, process)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.mark.slow
def test_a_server_that_goes_down_in_the_middle_and_comes_back_ends_up_with_everything_once(
    tmp_path: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MlflowStore, "points_per_request", 90)
    records = [step_record(step) for step in range(1, 41)]
    folder = run_folder(tmp_path / "c1" / "run", records)
    folder.write_status(RunStatus(RunState.finished, 40, 40))
    parent = RunFolder(tmp_path / "c1")
    port = free_port()
    address = f"http://ann:S3CRETVALUE@127.0.0.1:{port}"
    delivery = Delivery("test", tmp_path, tracking_uri=address, environ={})
    log, requests = MlflowStore.log, 0

    with server(store_folder, port):
        delivery.open_run(parent, RunKey("c1", "comparison"))
        run_id = delivery.open_run(folder, KEY)

        def stopped_at_the_fifth(self: MlflowStore, *arguments: object) -> None:
            nonlocal requests
            requests += 1
            if requests == 5:
                raise KeyboardInterrupt
            log(self, *arguments)  # type: ignore[arg-type]  # those of `log`

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(MlflowStore, "log", stopped_at_the_fifth)
            delivery.deliver(folder, folder.journal.stat().st_size)

    partial = stored.rows(store_folder, run_id)
    assert 0 < len(partial) < len(stored.told_rows(records))
    started = time.monotonic()
    with pytest.raises(TrackingError, match="bring it back") as caught:
        delivery.deliver(folder, folder.journal.stat().st_size)
    assert time.monotonic() - started < 30
    assert "S3CRET" not in str(caught.value)
    with pytest.raises(TrackingError):
        delivery.finish(folder, RunState.finished)

    with server(store_folder, port):
        found = Delivery("test", tmp_path, tracking_uri=address, environ={}).sync(
            tmp_path, lambda run: run.journal.stat().st_size
        )
        again = Delivery("test", tmp_path, tracking_uri=address, environ={}).sync(
            tmp_path, lambda run: run.journal.stat().st_size
        )
    assert found.runs == 2 and found.records > 0
    assert again.records == 0 and again.already_complete == 2
    assert stored.rows(store_folder, run_id) == stored.told_rows(records)
    assert stored.status(store_folder, run_id) == "FINISHED"
    assert "mlflow.parentRunId" in stored.tags(store_folder, run_id)
    [config] = store_folder.rglob(f"{run_id}/artifacts/config.yaml")
    assert config.read_bytes() == folder.config.read_bytes()
    assert capfd.readouterr() == ("", ""), "neither MLflow's links nor its retries are printed"
