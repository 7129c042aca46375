"""A whole sweep through the command line: slots, pruning in flight, kills, failures, others at the same study."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.conftest import command
from tests.processes import children
from tests.sweep.tiny import TINY_SWEEP, sweep, trials


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    done = sweep(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def runs(folder: Path) -> list[Path]:
    return sorted((folder / "results" / "sweeps" / "tiny" / "trials").glob("*/seed-*"))


@pytest.mark.slow
def test_trials_are_runs_of_equal_cost_whatever_their_batch(finished: Path) -> None:
    found = trials(finished)
    assert [trial["number"] for trial in found] == list(range(5))
    assert {trial["state"] for trial in found} <= {"complete", "pruned"} and found[0]["state"] == "complete"
    for trial, run in zip(found, runs(finished), strict=True):
        status = json.loads((run / "status.json").read_text())
        assert status["steps"] == 16 // trial["point"]["group"]
        if trial["state"] == "pruned":
            assert trial["cause"].startswith("median pruner at") and list(run.glob("checkpoints/step-*"))
        else:
            assert status["state"] == "finished" and set(trial["rungs"]) == {"1", "2"}
            assert trial["values"] == [pytest.approx(trial["rungs"]["2"])]


@pytest.mark.slow
def test_again_it_keeps_what_is_there_and_more_trials_are_added(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    assert sweep(tmp_path).returncode == 0 and trials(tmp_path) == trials(finished)
    assert sweep(tmp_path, "sweep.trials=7").returncode == 0
    more = trials(tmp_path)
    assert len(more) == 7 and more[:5] == trials(finished)
    changed = sweep(tmp_path, "sweep.sampler=random")
    assert changed.returncode == 2 and "search.sampler: tpe -> random" in changed.stderr


def events(folder: Path) -> int:
    """Grows with everything that a sweep writes down."""
    root = folder / "results" / "sweeps" / "tiny"
    while True:
        with suppress(FileNotFoundError):  # a checkpoint was replaced meanwhile: look again
            return sum(
                path.stat().st_size
                for name in ("study.log", "journal.jsonl", "state.json")
                for path in root.rglob(name)
            )


def wait_for_progress(parent: subprocess.Popen[str], folder: Path, changes: int) -> None:
    """Return after so many changes on disk, or when the parent is gone: moments that do not depend on the machine."""
    seen = events(folder)
    while changes and parent.poll() is None:
        time.sleep(0.005)
        with suppress(FileNotFoundError):  # a checkpoint was replaced meanwhile
            now = events(folder)
            changes, seen = changes - (now != seen), now


KILLS = 12  # for each sampler


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_killed_at_many_moments_it_equals_an_uninterrupted_sweep(sampler: str, tmp_path: Path) -> None:
    """Parent, worker or both are killed; whoever is left must not do any harm either.

    Equal are the parameters of every trial, its reports and its values to the last bit; every trial has one folder.
    """
    text = TINY_SWEEP.replace("high: 1e-2}", "high: 1e-2, points: 4}").replace(
        "checkpoint_every: 2", "checkpoint_every: 1"
    )
    text = text.replace("trials: 5", "trials: 8") + f"  sampler: {sampler}\n"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert sweep(whole, text=text).returncode == 0
    (killed / "tiny.yaml").write_text(text)
    draw, kills = random.Random(f"{sampler} 11"), 0
    while True:
        line = command(("sweep", "tiny.yaml"))
        with subprocess.Popen(line, cwd=killed, stderr=subprocess.PIPE, text=True) as parent:
            wait_for_progress(parent, killed, draw.randrange(4, 16) if kills < KILLS else 10**9)
            victim = draw.choice(["parent", "worker", "both"])
            workers = children(parent.pid)
            if parent.poll() is None:
                kills += 1
                if victim != "worker":
                    parent.kill()
                if victim != "parent":
                    for pid in workers:
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                if victim == "worker":
                    wait_for_progress(parent, killed, draw.randrange(4, 16))
                    parent.kill()
            _, errors = parent.communicate()
            if parent.returncode == 0:
                break
            assert parent.returncode == -signal.SIGKILL, errors
    assert kills == KILLS
    assert trials(killed) == trials(whole)
    assert len(runs(killed)) == 8


@pytest.mark.slow
def test_a_second_sweep_of_the_same_name_says_so_and_joins_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SWEEP)
    line = command(("sweep", "tiny.yaml", "sweep.trials=12", "sweep.sampler=random"))
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.DEVNULL) as first:
        while not (tmp_path / "results/sweeps/tiny/trials").is_dir():
            time.sleep(0.05)
        alone = sweep(tmp_path, "sweep.trials=12", "sweep.sampler=random")
        assert alone.returncode == 1 and "another process is working on this sweep" in alone.stderr
        joined = sweep(tmp_path, "sweep.trials=12", "sweep.sampler=random", "sweep.attach=true")
        assert joined.returncode == 0, joined.stderr
        assert first.wait(300) == 0
    found = trials(tmp_path)
    assert len(found) == 12 and {trial["state"] for trial in found} <= {"complete", "pruned"}
    assert len({trial["point"]["rate"] for trial in found}) == 12


@pytest.mark.slow
def test_trials_that_fail_are_named_and_too_many_in_a_row_stop_the_sweep(tmp_path: Path) -> None:
    bad = ("learner.gradient_clip_norm=0", "sweep.parameters.rate.low=1e28", "sweep.parameters.rate.high=1e30")
    few = sweep(tmp_path, *bad, "sweep.trials=1", "name=few")
    assert few.returncode == 1 and "all 1 trials failed, so there is nothing to choose from" in few.stderr, few.stderr
    done = sweep(tmp_path, *bad, "sweep.failures_in_a_row=3")
    assert done.returncode == 1 and "3 trials failed in a row" in done.stderr, done.stderr
    found = trials(tmp_path)
    assert [trial["state"] for trial in found] == ["failed"] * 3
    assert all("not finite" in trial["cause"] for trial in found)
    again = sweep(tmp_path, *bad, "sweep.failures_in_a_row=2", "sweep.retry=true")
    assert again.returncode == 1 and "3 failed trials are tried again" in again.stderr
    assert [trial["retry_of"] for trial in trials(tmp_path)][:5] == [None, None, None, 0, 1]


@pytest.mark.slow
def test_several_seeds_of_a_trial_are_averaged_and_the_best_get_more(tmp_path: Path) -> None:
    more = ("sweep.seeds=2", "sweep.trials=2", "sweep.top_trials=1", "sweep.top_seeds=3", "sweep.pruner=none")
    done = sweep(tmp_path, *more)
    assert done.returncode == 0, done.stderr
    assert sorted(len(list(trial.glob("seed-*"))) for trial in {run.parent for run in runs(tmp_path)}) == [2, 3]
    for trial in trials(tmp_path):
        assert set(trial["rungs"]) == {"1", "2", "3", "4"}
        assert trial["values"] == [pytest.approx(trial["rungs"]["4"])]


FAILING_LATER = """
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench import option
from sfpo_bench.algorithms import Clipped

@dataclass
class Failing(Clipped):
    kind: str = option("failing", "fails once a file is there")

    def loss(self, inputs):
        if Path("fail").exists():
            raise ValueError("told to fail")
        return super().loss(inputs)
"""


@pytest.mark.slow
def test_a_further_seed_that_fails_is_no_success_and_is_made_up_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING_LATER)
    own = ("algorithm/objective=custom", "algorithm.objective.factory=failing:Failing", "algorithm.name=failing")
    one = (*own, "sweep.trials=1", "sweep.pruner=none", "sweep.top_trials=1")
    assert sweep(tmp_path, *one, "sweep.top_seeds=1").returncode == 0
    (tmp_path / "fail").touch()
    done = sweep(tmp_path, *one, "sweep.top_seeds=2")
    assert done.returncode == 1 and "1 runs with further seeds of the best trials failed" in done.stderr, done.stderr
    assert "told to fail" in done.stderr and [trial["state"] for trial in trials(tmp_path)] == ["complete"]
    (tmp_path / "fail").unlink()
    again = sweep(tmp_path, *one, "sweep.top_seeds=2")
    assert again.returncode == 0, again.stderr
    assert len(runs(tmp_path)) == 2


@pytest.mark.slow
def test_a_budget_that_no_step_count_foretells_ends_runs_when_it_is_spent(tmp_path: Path) -> None:
    goal = ("sweep.goals.area.axis=tokens", "sweep.goals.area.budget=400", "training.steps=200")
    done = sweep(tmp_path, *goal, "sweep.trials=2", "sweep.pruner=none")
    assert done.returncode == 0, done.stderr
    for run, trial in zip(runs(tmp_path), trials(tmp_path), strict=True):
        records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
        assert records[-1]["costs"]["tokens"] >= 400 and records[-1]["step"] < 200
        assert trial["state"] == "complete"


@pytest.mark.slow
def test_goals_are_measured_on_a_suite_and_its_role_is_told(tmp_path: Path) -> None:
    base = ("task=arithmetic", "model=embedded", "sweep.trials=1")
    done = sweep(tmp_path, *base, "evaluation.select_suite=embedded_select")
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "results/sweeps/tiny/report.md").read_text().replace("\\", "")
    assert "on problems of the suite embedded_select." in report and "numbers on them" not in report
    named = ("name=forced", "evaluation.select_suite=embedded", "evaluation.allow_report=embedded")
    assert sweep(tmp_path, *base, *named).returncode == 0
    forced = (tmp_path / "results/sweeps/forced/report.md").read_text()
    assert "numbers on them are too good.**" in forced


@pytest.mark.slow
def test_two_goals_are_searched_by_nsga2(tmp_path: Path) -> None:
    goals = ("sweep.goals.area.measure=area", "sweep.goals.cost.measure=cost", "sweep.goals.cost.target=0.9")
    done = sweep(tmp_path, *goals, "sweep.sampler=nsga2", "sweep.pruner=none", "sweep.trials=3")
    assert done.returncode == 0, done.stderr
    found = trials(tmp_path)
    assert all(len(trial["values"]) == 2 and trial["censored"] for trial in found)
    assert all(trial["values"][1] > 64 for trial in found), "a cost that was not reached lies behind the budget"


@pytest.mark.slow
def test_runs_are_children_of_the_sweep_in_mlflow(tmp_path: Path, migrated_database: Path) -> None:
    (tmp_path / "results").mkdir()
    shutil.copy(migrated_database, tmp_path / "results" / "mlflow.db")
    done = sweep(tmp_path, "tracking.store=mlflow", "sweep.trials=2")
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    with closing(sqlite3.connect(tmp_path / "results" / "mlflow.db")) as connection:
        names = dict(connection.execute("SELECT name, run_uuid FROM runs").fetchall())
        parents = connection.execute("SELECT value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall()
    assert set(names) == {"tiny", "trial-0000 seed-0100", "trial-0001 seed-0100"}
    assert parents == [(names["tiny"],)] * 2


@pytest.mark.slow
def test_a_damaged_copy_of_the_trials_is_written_anew(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    (tmp_path / "copy" / "results" / "sweeps" / "tiny" / "trials.json").write_text("{")
    done = sweep(tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    assert trials(tmp_path / "copy") == trials(finished)
    status = json.loads((tmp_path / "copy" / "results" / "sweeps" / "tiny" / "status.json").read_text())
    assert (status["state"], status["step"], status["steps"]) == ("finished", 5, 5)


@pytest.mark.slow
def test_made_without_tracking_it_is_delivered_later_with_its_end_and_its_report(
    finished: Path, tmp_path: Path, migrated_database: Path
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    shutil.copy(migrated_database, tmp_path / "copy" / "results" / "mlflow.db")
    subprocess.run(command(("sync", "untracked=true")), cwd=tmp_path / "copy", check=True, capture_output=True)
    with closing(sqlite3.connect(tmp_path / "copy" / "results" / "mlflow.db")) as connection:
        [(status,)] = connection.execute("SELECT status FROM runs WHERE name = 'tiny'").fetchall()
    assert status == "FINISHED"
    for name in ("report.md", "trials.csv"):
        [uploaded] = (tmp_path / "copy" / "results").rglob(f"mlartifacts/*/artifacts/{name}")
        assert uploaded.read_bytes() == (finished / "results" / "sweeps" / "tiny" / name).read_bytes()


@pytest.mark.slow
def test_ctrl_c_keeps_everything_and_the_next_call_goes_on_at_once(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SWEEP)
    with subprocess.Popen(
        command(("sweep", "tiny.yaml", "sweep.lease_seconds=600")), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as parent:
        while not list((tmp_path / "results").rglob("step-000002")):
            time.sleep(0.02)
        parent.send_signal(signal.SIGINT)
        _, errors = parent.communicate(timeout=120)
    assert parent.returncode == 130 and "Run the same command again to resume" in errors
    assert sweep(tmp_path, "sweep.lease_seconds=600").returncode == 0
    assert trials(tmp_path) == trials(finished)
