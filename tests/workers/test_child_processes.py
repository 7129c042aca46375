"""Whatever starts a process starts one that imports this package, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sfpo_bench
from sfpo_bench.core.child_processes import child_environment, refuse_another_package
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.launcher import LauncherSettings, LocalLauncher, RayLauncher, SlurmLauncher
from sfpo_bench.training.run import train
from sfpo_bench.workers.build import build_launcher, slot_count
from sfpo_bench.workers.job import Job, JobEnding
from sfpo_bench.workers.local import LocalWorker
from sfpo_bench.workers.protocol import Worker
from sfpo_bench.workers.slots import JobOutcome, WorkerSlots
from tests.conftest import TINY
from tests.extras import needs_launcher

OURS = str(Path(sfpo_bench.__file__).resolve())
# A user's folder in which `python -m` would find other modules than are meant.
SHADOWS = {
    "a clone named like the package": "sfpo_bench/README.md",
    "another package of this name": "sfpo_bench/__init__.py",
    "a module named like one of Python's": "json.py",
}
LOCAL, SLURM = LocalLauncher(), SlurmLauncher(submit_on="local")


@pytest.fixture(params=SHADOWS, ids=lambda name: name.replace(" ", "-"))
def shadow(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / SHADOWS[request.param]
    file.parent.mkdir(exist_ok=True)
    file.write_text("raise SystemExit('the wrong one')")
    return tmp_path


def imported(folder: Path, environ: dict[str, str]) -> str:
    """The package that a process started in `folder` imports."""
    code = "import json, sfpo_bench; print(sfpo_bench.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True)
    return str(Path(done.stdout.strip()).resolve()) if done.returncode == 0 else done.stderr


def test_a_child_imports_what_its_parent_imported(shadow: Path) -> None:
    if not (shadow / "sfpo_bench" / "README.md").exists():  # whether that is found first depends on the installation
        assert "the wrong one" in imported(shadow, dict(os.environ))
    assert imported(shadow, child_environment(os.environ)) == OURS
    # What this process starts starts others in turn: the next generation is no worse off.
    assert imported(shadow, child_environment(child_environment(os.environ))) == OURS


def test_modules_of_the_parents_own_search_path_are_the_childs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my methods").mkdir()
    (tmp_path / "my methods" / "my_method.py").write_text("print('mine')")
    monkeypatch.chdir(tmp_path / "my methods")
    monkeypatch.syspath_prepend("")  # as `python -m sfpo_bench` has it
    environ = child_environment(os.environ)
    done = subprocess.run([sys.executable, "-c", "import my_method"], cwd=tmp_path, env=environ, capture_output=True)
    assert done.stdout == b"mine\n"


@pytest.mark.parametrize("launcher", [LOCAL, SLURM], ids=lambda launcher: launcher.kind)
def test_another_package_that_would_be_found_first_is_named_before_anything_starts(
    launcher: LauncherSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_another_package()
    other = tmp_path / "sfpo_bench"
    other.mkdir()
    (other / "__init__.py").touch()
    with pytest.raises(ConfigError, match="the processes that train would import sfpo_bench from") as refused:
        refuse_another_package([str(tmp_path)])
    assert str(other.resolve()) in str(refused.value) and str(Path(OURS).parent) in str(refused.value)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="run the command from another folder"):
        slot_count(launcher, 1)  # what every verb asks before it prepares anything
    with pytest.raises(ConfigError, match="run the command from another folder"):
        build_launcher(launcher, 1, tmp_path / "log" / "workers.log")
    assert not (tmp_path / "log").exists()


def test_ray_whose_actors_look_in_the_present_folder_first_is_refused_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_launcher("ray")
    (tmp_path / "sfpo_bench").mkdir()
    (tmp_path / "sfpo_bench" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="run the command from another folder"):
        build_launcher(RayLauncher(), 1, tmp_path / "workers.log")


class LocalWorkers:
    """A launcher of local workers with an environment of their own."""

    def __init__(self, log: Path, **environment: str) -> None:
        self._log, self._environment = log, environment

    def worker(self, number: int) -> Worker:
        return LocalWorker(self._log, self._environment, 1)

    def close(self) -> None:
        """Workers close themselves."""


def outcome_of(launcher: LocalWorkers, folder: Path) -> JobOutcome:
    slots = WorkerSlots(launcher, 1)
    slots.start(Job.of(train, folder))
    outcomes: list[JobOutcome] = []
    while not outcomes:
        outcomes = list(slots.ended(1.0))
    slots.close()
    return outcomes[0]


def test_a_worker_that_dies_at_its_start_names_its_log_and_the_last_line_of_it(tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    outcome = outcome_of(LocalWorkers(log, PYTHONHASHSEED="no number"), tmp_path)
    last = [line for line in log.read_text().splitlines() if line.strip()][-1].strip()
    assert outcome == JobOutcome(tmp_path, JobEnding.died, f"its process died 3 times; {log} ends with: {last}")
    assert log.read_text().count("Fatal Python error") == 3


@pytest.mark.slow
def test_what_is_printed_at_the_start_of_a_worker_is_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome to this machine')")
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = outcome_of(LocalWorkers(tmp_path / "workers.log"), tmp_path)
    assert outcome.ending == "failed" and "config.yaml" in outcome.message
    assert "welcome to this machine" in (tmp_path / "workers.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [(), ("launcher.processes_per_run=2",), ("launcher=slurm", "launcher.submit_on=local")]
)
def test_a_comparison_trains_from_a_folder_that_shadows_everything(more: tuple[str, ...], tmp_path: Path) -> None:
    for name in SHADOWS.values():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('the wrong one')")
    if any("slurm" in word for word in more):
        needs_launcher("slurm")
    code = "from sfpo_bench.cli import main; main()"
    words = ("compare", *TINY, "tracking=none", "comparison.seeds=1", "~comparison.arms.repeat", *more)
    line = [sys.executable, "-P", "-c", code, *words, "~comparison.arms.grpo_sfpo_rate", "training.steps=2"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[2/2]" in done.stderr


@pytest.mark.parametrize("launcher", [SLURM, RayLauncher()], ids=lambda launcher: launcher.kind)
def test_a_launcher_whose_package_is_missing_is_refused_before_anything_is_prepared(
    launcher: LauncherSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"launcher={launcher.kind} needs \w+: `pip install '\.\[{launcher.kind}\]'"):
        slot_count(launcher, 0)
