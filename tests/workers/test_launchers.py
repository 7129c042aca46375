"""Every launcher trains the same runs: on this machine, as jobs of submitit, as actors of Ray."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.settings.launcher import LocalLauncher
from sfpo_bench.workers.drive import drive
from sfpo_bench.workers.job import Job, JobEnding, JobReply
from sfpo_bench.workers.local import Local, share, slots_for, visible_gpus
from sfpo_bench.workers.protocol import Launcher, Worker
from sfpo_bench.workers.slots import WorkerSlots
from tests.extras import needs_launcher
from tests.sweep.tiny import sweep, trials


def test_gpus_are_divided_among_slots() -> None:
    four = ("0", "1", "2", "3")
    assert [share(four, 2, number) for number in range(2)] == [("0", "1"), ("2", "3")]
    assert [share(four, 0, number) for number in range(5)] == [("0",), ("1",), ("2",), ("3",), ("0",)]
    assert share((), 1, 0) == ()
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2, GPU-5c"}) == ("2", "GPU-5c")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == ()
    assert slots_for(LocalLauncher(gpus_per_run=2), four, 0) == 2
    with pytest.raises(ConfigError, match="expected at most 2 slots"):
        slots_for(LocalLauncher(gpus_per_run=2), four, 3)


def job(folder: Path) -> Job:
    return Job("unused:unused", folder)


class FakeWorker:
    """A worker whose job takes as long as its folder's name says and ends when its stop file appears."""

    def run(self, job: Job) -> JobReply | None:
        end = time.monotonic() + float(job.folder.name)
        while time.monotonic() < end:
            if RunFolder(job.folder).stop_file.exists():
                return JobReply(JobEnding.interrupted, "stop file")
            time.sleep(0.01)
        return JobReply(JobEnding.finished, "")

    def stop(self, *, now: bool) -> None:
        """Nothing to end."""

    def log_hint(self) -> str:
        return "no log"

    def close(self) -> None:
        """Nothing to give back."""


class FakeLauncher:
    def worker(self, number: int) -> Worker:
        return FakeWorker()

    def close(self) -> None:
        """Nothing to give back."""


def test_a_slot_that_is_free_takes_the_next_job_while_the_slowest_still_runs(tmp_path: Path) -> None:
    launcher: Launcher = FakeLauncher()
    jobs, order = [job(tmp_path / name) for name in ("0.9", "0.1", "0.15", "0.2")], list[str]()
    for each in jobs:
        each.folder.mkdir()
    drive(WorkerSlots(launcher, 2), jobs, lambda outcome: order.append(outcome.folder.name), lambda: False)
    assert order == ["0.1", "0.15", "0.2", "0.9"]


def test_one_run_can_be_ended_and_a_stop_file_of_old_does_not_end_the_next(tmp_path: Path) -> None:
    slots, run = WorkerSlots(FakeLauncher(), 1), tmp_path / "30"
    run.mkdir()
    slots.start(job(run))
    slots.end(run)
    assert [outcome.ending for outcome in slots.ended(5.0)] == ["interrupted"]
    short = tmp_path / "0.05"
    short.mkdir()
    RunFolder(short).stop_file.touch()
    slots.start(job(short))
    assert [outcome.ending for outcome in slots.ended(5.0)] == ["finished"]


class LimitedWorker(FakeWorker):
    """A worker that interrupts a job after some steps of its three, as a scheduler's time limit does."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def run(self, job: Job) -> JobReply | None:
        folder = RunFolder(job.folder)
        done = min(3, folder.status().step + self._steps)
        folder.write_status(RunStatus(RunState.interrupted, done, 3))
        return JobReply(JobEnding.finished, "") if done == 3 else JobReply(JobEnding.interrupted, "SIGUSR2")


class LimitedLauncher(FakeLauncher):
    def __init__(self, steps: int) -> None:
        self._steps = steps

    def worker(self, number: int) -> Worker:
        return LimitedWorker(self._steps)


@pytest.mark.parametrize(("steps", "ending"), [(1, "finished"), (2, "finished"), (0, "failed")])
def test_a_job_that_is_interrupted_from_outside_is_continued_while_it_comes_further(
    steps: int, ending: str, tmp_path: Path
) -> None:
    slots = WorkerSlots(LimitedLauncher(steps), 1)
    slots.start(job(tmp_path))
    [ended] = slots.ended(5.0)
    assert ended.ending == ending
    limit = "its process is stopped before a step is done (SIGUSR2); allow more time"
    assert ending == "finished" or ended.message == limit


# Work of a package that this one does not know: a worker needs its name, a folder, and nothing else.
OWN_WORK = """
def count(folder, stop):
    numbers = folder / "numbers"
    numbers.write_text(numbers.read_text() + "1") if numbers.exists() else numbers.write_text("0")

def give_up(folder, stop):
    raise ValueError("not today")
"""


def test_a_worker_does_work_of_any_module_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_work.py").write_text(OWN_WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    folders, log = [tmp_path / "first", tmp_path / "second"], tmp_path / "workers.log"
    for folder in folders:
        folder.mkdir()
    slots = WorkerSlots(Local(LocalLauncher(), 1, log, ()), 1)
    endings = []
    for job in [*(Job("own_work:count", folder) for folder in folders), *(_failing(folders[1]))]:
        slots.start(job)
        endings += [(outcome.ending, outcome.message) for outcome in slots.ended(60.0)]
    slots.close()
    assert [ending for ending, _ in endings] == ["finished", "finished", "failed", "failed", "failed"]
    assert [(folder / "numbers").read_text() for folder in folders] == ["0", "0"]
    assert [message.split(":")[0] for _, message in endings[2:]] == [
        "ValueError",
        "AttributeError",
        "ModuleNotFoundError",
    ]
    assert "not today" in log.read_text() and RunFolder(folders[1]).status().state is RunState.failed


def _failing(folder: Path) -> list[Job]:
    return [Job(name, folder) for name in ("own_work:give_up", "own_work:no_such_function", "no_such_module:count")]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    assert sweep(folder).returncode == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [("launcher=slurm", "launcher.submit_on=local"), ("launcher=ray",)], ids=str)
def test_jobs_and_actors_train_what_local_workers_train(launcher: tuple[str, ...], local: Path, tmp_path: Path) -> None:
    needs_launcher(launcher[0].partition("=")[2])
    done = sweep(tmp_path, *launcher)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trials(tmp_path) == trials(local)
    if "slurm" in launcher[0]:
        assert list((tmp_path / "results/sweeps/tiny/jobs").glob("*_result.pkl"))
    shutil.rmtree(tmp_path / "results")


@pytest.mark.slow
def test_without_sbatch_slurm_is_refused_with_a_way_to_try_it(tmp_path: Path) -> None:
    needs_launcher("slurm")
    if shutil.which("sbatch"):
        pytest.skip("this machine has Slurm")
    done = sweep(tmp_path, "launcher=slurm")
    assert done.returncode == 2 and "launcher.submit_on=local" in done.stderr
