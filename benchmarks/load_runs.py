"""Seconds to load a comparison from MLflow alone: 100 runs, 10 metrics, 1000 points each, unless told otherwise.

    python benchmarks/load_runs.py [RUNS] [METRICS] [POINTS] [--server]

Fills an sqlite store of its own in a temporary folder, then loads the comparison in new processes: from the runs'
Parquet files, from the metric history of the file, and with --server through `mlflow server` on this machine, with and
without the Parquet files. Prints wall-clock seconds (on a shared machine they contain waiting) and CPU seconds of the
loading process; its start and the import of sfpo_bench.reports are left out and shown apart.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from sfpo_bench.tracking.mlflow_store import create_sqlite

EXPERIMENT, PARENT = 1, "f" * 32
EVALUATION = {"accuracy": 0.5, "n": 768.0, "problems": 768.0, "truncated": 0.0, "temperature": 1.0, "seconds": 0.1}
LOAD = """
import sys, time
start = time.perf_counter()
from sfpo_bench.reports import load_from_mlflow
loaded, cpu = time.perf_counter(), time.process_time()
comparison = load_from_mlflow("benchmark", sys.argv[1])
end = time.perf_counter()
values = sum(len(one.values) for run in comparison.runs for one in run.metrics.values())
print(f"{end - loaded:.2f} s ({time.process_time() - cpu:.2f} s of CPU; import {loaded - start:.2f} s): "
      f"{len(comparison.runs)} runs, {values:,} values, {sum(len(run.curve) for run in comparison.runs)} evaluations")
"""


def fill(folder: Path, runs: int, metrics: int, points: int) -> None:
    """A store with one comparison, as a delivery leaves it; rows are written directly because a delivery is slower."""
    path = folder / "mlflow.db"
    create_sqlite(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, workspace)"
            " VALUES (?, 'benchmark', ?, 'active', 'default')",
            (EXPERIMENT, (folder / "mlartifacts").as_uri()),
        )
        add_run(connection, folder, PARENT, "benchmark", {"sfpo_bench.kind": "comparison"})
        plan = {
            "schema_version": 1, "name": "benchmark", "baseline": "grpo", "experiment": "", "axes_note": "",
            "targets": [0.5], "split": "report", "mode": "sampled", "temperature": 1.0, "seeds": list(range(runs)),
            "steps": points, "code_version": "", "arms": {"grpo": {"label": "GRPO"}},
        }  # fmt: skip
        artifact(folder, PARENT, "comparison.json").write_text(json.dumps(plan), encoding="utf-8")
        for seed in range(runs):
            run_id = f"{seed:032x}"
            tags = {"mlflow.parentRunId": PARENT, "arm": "grpo", "seed": str(seed), "sfpo_bench.state": "finished"}
            add_run(connection, folder, run_id, f"grpo seed-{seed:04d}", tags)
            frame = curves(seed, metrics, points)
            frame.to_parquet(artifact(folder, run_id, "curves.parquet"))
            add_metrics(connection, run_id, frame)


def curves(seed: int, metrics: int, points: int) -> pd.DataFrame:
    """What a run of `points` steps records: `metrics` numbers a step, an evaluation every 50 steps."""
    step = np.arange(1, points + 1)
    values = np.random.default_rng(seed).random((metrics, points))
    parts = [frame("step", f"metric_{number}", step, row) for number, row in enumerate(values)]
    evaluated = np.arange(0, points + 1, 50)
    for name, value in EVALUATION.items():
        parts.append(frame("evaluation", f"report/sampled/{name}", evaluated, np.full(len(evaluated), value)))
    return pd.concat(parts, ignore_index=True)


def frame(kind: str, key: str, step: np.ndarray, value: np.ndarray) -> pd.DataFrame:
    whole = {axis: step * 32 for axis in ("prompts", "responses", "tokens", "optimizer_steps")}
    seconds = {axis: step * 0.1 for axis in ("train_seconds", "total_seconds", "cpu_seconds")}
    return pd.DataFrame(
        {"step": step, "kind": kind, "key": key, "value": value, **whole, **seconds, "time_unix_s": 1.8e9}
    )


def add_run(connection: sqlite3.Connection, folder: Path, run_id: str, name: str, tags: dict[str, str]) -> None:
    place = artifact(folder, run_id, "").as_uri()
    connection.execute(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, source_version, user_id, status,"
        " start_time, end_time, lifecycle_stage, artifact_uri, experiment_id)"
        " VALUES (?, ?, 'UNKNOWN', '', '', '', '', 'FINISHED', 1, 2, 'active', ?, ?)",
        (run_id, name, place, EXPERIMENT),
    )
    rows = [(key, value, run_id) for key, value in {**tags, "mlflow.runName": name}.items()]
    connection.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", rows)


def add_metrics(connection: sqlite3.Connection, run_id: str, frame: pd.DataFrame) -> None:
    rows = [(key, value, step) for key, value, step in zip(frame["key"], frame["value"], frame["step"], strict=True)]
    for axis in ("prompts", "responses", "tokens", "optimizer_steps", "train_seconds", "total_seconds", "cpu_seconds"):
        first = frame.drop_duplicates("step")
        rows += [(axis, float(value), step) for value, step in zip(first[axis], first["step"], strict=True)]
    stored = [(key, float(value), 1, run_id, int(step), 0) for key, value, step in rows]
    latest = {row[0]: row for row in sorted(stored, key=lambda row: row[4])}
    for table, own in (("metrics", stored), ("latest_metrics", list(latest.values()))):
        columns = "key, value, timestamp, run_uuid, step, is_nan"
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES (?, ?, ?, ?, ?, ?)", own)


def artifact(folder: Path, run_id: str, name: str) -> Path:
    place = folder / "mlartifacts" / run_id / "artifacts"
    place.mkdir(parents=True, exist_ok=True)
    return place / name if name else place


def load(what: str, uri: str) -> None:
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, "-c", LOAD, uri], stdout=subprocess.PIPE, text=True, env=environ, check=True)
    print(f"{what}: {done.stdout.strip()}", flush=True)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """`mlflow server` with one worker on the store, on a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "mlartifacts")]
    keep_artifacts_in(folder, "mlflow-artifacts:")  # the server sends them, as to another machine
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until_up(uri)
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            keep_artifacts_in(folder, (folder / "mlartifacts").as_uri())


def keep_artifacts_in(folder: Path, place: str) -> None:
    """Say in the store that the artifacts of every run lie below `place`."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", (place,))


def wait_until_up(uri: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("mlflow server did not start")


def main(runs: int, metrics: int, points: int, with_server: bool) -> None:
    print(f"{runs} runs x {metrics} metrics x {points} points, evaluations and cost axes besides")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fill(folder, runs, metrics, points)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        load("sqlite file, Parquet", uri)
        load("sqlite file, Parquet", uri)
        if with_server:
            with server(folder) as address:
                load("server, Parquet", address)
        for path in (folder / "mlartifacts").glob("*/artifacts/curves.parquet"):
            path.unlink()
        load("sqlite file, history", uri)
        load("sqlite file, history", uri)
        if with_server:
            with server(folder) as address:
                load("server, history", address)
        shutil.rmtree(folder / "mlartifacts")


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:] if argument != "--server"]
    main(*(sizes + [100, 10, 1000][len(sizes) :]), with_server="--server" in sys.argv)
