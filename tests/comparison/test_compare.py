"""A whole comparison through the command line: killed, resumed, extended, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, command
from tests.processes import children

ARMS = ("~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate", "comparison.targets=[0.05,0.9]")
COMPARE = ("compare", *TINY, *ARMS, "comparison.seeds=2", "comparison.slots=2")


def compare(folder: Path, *more: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command((*COMPARE, *more), prelude), cwd=folder, capture_output=True, text=True, timeout=600)


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results" / "arithmetic" / "summary.json").read_text())
    return content


def curves(folder: Path) -> dict[tuple[str, int], list[tuple[float, ...]]]:
    """Every point of every curve, without seconds."""
    axes = ("step", "prompts", "responses", "tokens", "optimizer_steps", "accuracy", "n")
    return {
        (arm["name"], curve["seed"]): [tuple(point[axis] for axis in axes) for point in curve["points"]]
        for arm in summary(folder)["arms"]
        for curve in arm["curves"]
    }


def tracked(folder: Path) -> dict[str, tuple[str, int]]:
    """Status and number of metric rows of every run in the store, by name."""
    with closing(sqlite3.connect(folder / "results" / "mlflow.db")) as connection:
        rows = connection.execute(
            "SELECT name, status, (SELECT count(*) FROM metrics m WHERE m.run_uuid = r.run_uuid AND key NOT LIKE "
            "'journal%' AND key NOT LIKE '%seconds%') FROM runs r WHERE lifecycle_stage = 'active'"
        ).fetchall()
    assert len({name for name, _, _ in rows}) == len(rows), "a run is in the store once"
    return {name: (status, count) for name, status, count in rows}


def delivered_later(folder: Path, database: Path) -> None:
    """`sfpo-bench sync` of results that no store has heard of."""
    shutil.copy(database, folder / "results" / "mlflow.db")
    shutil.rmtree(folder / "results" / "mlartifacts", ignore_errors=True)
    for left in folder.rglob("delivery.json"):
        left.unlink()
    subprocess.run(command(("sync", "untracked=true")), cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "results").mkdir()
    shutil.copy(migrated_database, folder / "results" / "mlflow.db")
    done = compare(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "figure: results/arithmetic/figure.png" in done.stdout
    return folder


def test_it_leaves_figure_tables_and_summary(finished: Path) -> None:
    names = {path.name for path in (finished / "results" / "arithmetic").iterdir()}
    assert {"summary.json", "report.md", "figure.png", "figure.pdf", "figure.svg", "costs.csv", "curves.csv"} <= names
    content = summary(finished)
    assert content["schema_version"] == 1 and [arm["name"] for arm in content["arms"]] == ["grpo", "sfpo"]
    points = curves(finished)
    assert set(points) == {("grpo", 0), ("grpo", 1), ("sfpo", 0), ("sfpo", 1)}
    for (arm, _), curve in points.items():
        per_step = 4 if arm == "sfpo" else 1
        # step, prompts, responses, tokens, optimizer_steps: four prompts of four responses a step
        assert [point[:3] for point in curve] == [(0, 0, 0), (3, 12, 48), (6, 24, 96)]
        assert [point[4] for point in curve] == [0, 3 * per_step, 6 * per_step]
        assert all(point[6] == 24 for point in curve)


def test_the_report_can_refer_to_another_arm(finished: Path, tmp_path: Path) -> None:
    call = ("report", "results/arithmetic", f"out={tmp_path}")
    done = subprocess.run(command((*call, "baseline=sfpo")), cwd=finished, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    swapped, straight = json.loads((tmp_path / "summary.json").read_text()), summary(finished)
    assert (swapped["baseline"], straight["baseline"]) == ("sfpo", "grpo")
    assert swapped["arms"] == straight["arms"]
    wrong = subprocess.run(command((*call, "baseline=ppo")), cwd=finished, capture_output=True, text=True)
    assert wrong.returncode == 2 and "'ppo' is not an arm; expected one of grpo, sfpo" in wrong.stderr


def test_a_parent_and_its_children_are_in_mlflow(finished: Path) -> None:
    runs = tracked(finished)
    assert set(runs) == {"arithmetic", "grpo seed-0000", "grpo seed-0001", "sfpo seed-0000", "sfpo seed-0001"}
    assert {status for status, _ in runs.values()} == {"FINISHED"}
    with closing(sqlite3.connect(finished / "results" / "mlflow.db")) as connection:
        keys = {row[0] for row in connection.execute("SELECT DISTINCT key FROM metrics")}
        steps = {row[0] for row in connection.execute("SELECT step FROM metrics WHERE key = 'accuracy_by_responses'")}
    assert {"accuracy_by_responses", "accuracy_by_train_seconds", "reward_mean", "fast_1/clip_fraction"} <= keys
    assert steps == {0, 48, 96}
    [figure] = (finished / "results").rglob("mlartifacts/*/artifacts/figure.png")
    assert figure.read_bytes() == (finished / "results" / "arithmetic" / "figure.png").read_bytes()


def test_again_it_keeps_what_is_finished(finished: Path) -> None:
    weights = sorted((finished / "results").rglob("weights.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in weights}
    done = compare(finished)
    assert done.returncode == 0 and "4 of 4 runs finished, 24 of 24 steps done" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in weights} == before


def test_a_changed_setting_is_refused_with_the_difference(finished: Path) -> None:
    done = compare(finished, "learner.beta2=0.9")
    assert done.returncode == 2
    assert "learner.beta2: 0.999 -> 0.9" in done.stderr and "comparison.new_on_change=true" in done.stderr


KILL_ALL = """
import threading, time, os, signal, pathlib
def watch():
    while True:
        time.sleep(0.02)
        if sum(1 for _ in pathlib.Path("results/arithmetic/runs").rglob("step-000002")) >= 1:
            os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
"""


@pytest.mark.slow
def test_killed_as_a_whole_and_started_again_nothing_is_lost_or_doubled(
    finished: Path, tmp_path: Path, migrated_database: Path
) -> None:
    (tmp_path / "results").mkdir()
    shutil.copy(migrated_database, tmp_path / "results" / "mlflow.db")
    killed = compare(tmp_path, prelude=KILL_ALL)
    assert killed.returncode == -signal.SIGKILL
    resumed = compare(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert curves(tmp_path) == curves(finished)
    assert tracked(tmp_path) == tracked(finished)


def workers_of(parent: int) -> list[int]:
    found = []
    for pid in children(parent):
        with suppress(OSError):
            if b"sfpo_bench.workers.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_its_run_resumed(finished: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command((*COMPARE, "tracking=none", "comparison.slots=1")), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as parent:
        runs = tmp_path / "results" / "arithmetic" / "runs"
        while not list(runs.rglob("step-000002")):
            time.sleep(0.02)
        workers = workers_of(parent.pid)
        os.kill(workers[0], signal.SIGKILL)
        _, errors = parent.communicate(timeout=300)
    assert parent.returncode == 0, errors
    assert curves(tmp_path) == curves(finished)
    sessions = [path.read_text().count("\n") for path in runs.rglob("sessions.jsonl")]
    assert sorted(sessions) == [1, 1, 1, 2]


@pytest.mark.slow
def test_workers_end_when_their_parent_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        command((*COMPARE, "tracking=none", "training.steps=4000")), cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as parent:
        runs = tmp_path / "results" / "arithmetic" / "runs"
        while len(list(runs.rglob("checkpoints"))) < 2:
            time.sleep(0.02)
        workers = workers_of(parent.pid)
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    states = [json.loads(path.read_text())["state"] for path in runs.rglob("status.json")]
    assert sorted(states) == ["interrupted", "interrupted"]


@pytest.mark.slow
def test_of_two_that_start_at_the_same_moment_one_trains_and_the_other_says_so(finished: Path, tmp_path: Path) -> None:
    line = command((*COMPARE, "tracking=none"))
    both = [
        subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=600)[1]: process.returncode for process in both}
    assert sorted(said.values()) == [0, 1], said
    [refused] = [errors for errors, code in said.items() if code == 1]
    assert len(refused.splitlines()) == 1 and "in use by another process" in refused
    assert curves(tmp_path) == curves(finished)
    sessions = list((tmp_path / "results").rglob("sessions.jsonl"))
    assert len(sessions) == 4 and all(len(path.read_text().splitlines()) == 1 for path in sessions)


def test_seeds_and_steps_are_added_to_what_is_there(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    done = compare(tmp_path / "copy", "comparison.seeds=3", "training.steps=9")
    assert done.returncode == 0, done.stderr
    longer = curves(tmp_path / "copy")
    assert len(longer) == 6 and all(curve[-1][0] == 9 for curve in longer.values())
    for key, curve in curves(finished).items():
        assert longer[key][: len(curve)] == curve


@pytest.mark.slow
def test_ctrl_c_keeps_everything_and_says_how_to_resume(finished: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command((*COMPARE, "tracking=none")), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as parent:
        while not list((tmp_path / "results").rglob("step-000002")):
            time.sleep(0.02)
        parent.send_signal(signal.SIGINT)
        _, errors = parent.communicate(timeout=120)
    assert parent.returncode == 130
    assert "Run the same command again to resume" in errors
    assert json.loads((tmp_path / "results" / "arithmetic" / "status.json").read_text())["state"] == "interrupted"
    assert compare(tmp_path, "tracking=none").returncode == 0
    assert curves(tmp_path) == curves(finished)


@pytest.mark.slow
def test_settings_can_be_compared_on_select_problems_alone(tmp_path: Path) -> None:
    done = compare(tmp_path, "tracking=none", "comparison.split=select", "evaluation.responses=0")
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path)["split"] == "select"
    assert all(point[6] == 16 for curve in curves(tmp_path).values() for point in curve)


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_are_reported(tmp_path: Path, migrated_database: Path) -> None:
    broken = (
        "comparison.arms.bad.overrides=['algorithm=grpo','learner.learning_rate=1e30','learner.gradient_clip_norm=0']"
    )
    done = compare(tmp_path, "tracking=none", broken)
    assert done.returncode == 1
    assert "2 of 6 runs did not finish" in done.stderr and "bad seed 0" in done.stderr
    report = (tmp_path / "results" / "arithmetic" / "report.md").read_text()
    assert "failed at step" in report and "the policy's logits are not finite" in report
    delivered_later(tmp_path, migrated_database)
    assert tracked(tmp_path)["arithmetic"][0] == "FAILED"
    assert {path.name for path in (tmp_path / "results").rglob("mlartifacts/*/artifacts/*")} >= {
        "summary.json",
        "figure.png",
    }


def test_made_without_tracking_it_is_delivered_later_with_its_end_and_its_report(
    finished: Path, tmp_path: Path, migrated_database: Path
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    delivered_later(tmp_path / "copy", migrated_database)
    assert tracked(tmp_path / "copy") == tracked(finished)
    [figure] = (tmp_path / "copy" / "results").rglob("mlartifacts/*/artifacts/figure.png")
    assert figure.read_bytes() == (finished / "results" / "arithmetic" / "figure.png").read_bytes()


@pytest.mark.slow
def test_when_every_run_fails_the_comparison_has_failed_in_the_store_too(
    tmp_path: Path, migrated_database: Path
) -> None:
    (tmp_path / "results").mkdir()
    shutil.copy(migrated_database, tmp_path / "results" / "mlflow.db")
    broken = "['algorithm=grpo','learner.learning_rate=1e30','learner.gradient_clip_norm=0']"
    done = compare(tmp_path, *(f"comparison.arms.{arm}.overrides={broken}" for arm in ("grpo", "sfpo")))
    assert done.returncode == 1 and "every run failed" in done.stderr
    assert {status for status, _ in tracked(tmp_path).values()} == {"FAILED"} and len(tracked(tmp_path)) == 5
    delivered_later(tmp_path, migrated_database)
    assert {status for status, _ in tracked(tmp_path).values()} == {"FAILED"} and len(tracked(tmp_path)) == 5
