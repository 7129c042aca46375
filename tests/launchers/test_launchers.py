"""Every launcher trains the same runs: on this machine, as jobs of submitit, as actors of Ray."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.launchers.local import share, slots_for, visible_gpus
from sfpo_bench.launchers.protocol import Launcher, Reply, Seat
from sfpo_bench.launchers.slots import Slots
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.settings.launcher import LocalLauncher
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


class FakeSeat:
    """A seat whose run takes as long as its folder's name says and ends when its stop file appears."""

    def train(self, folder: Path) -> Reply | None:
        end = time.monotonic() + float(folder.name)
        while time.monotonic() < end:
            if RunFolder(folder).stop_file.exists():
                return Reply("interrupted", "asked")
            time.sleep(0.01)
        return Reply("finished", "")

    def stop(self, *, now: bool) -> None:
        """Nothing to end."""

    def last_words(self) -> str:
        return "the last words of its seat"

    def close(self) -> None:
        """Nothing to give back."""


class FakeLauncher:
    def seat(self, number: int) -> Seat:
        return FakeSeat()

    def close(self) -> None:
        """Nothing to give back."""


def test_a_slot_that_is_done_takes_the_next_run_while_the_slowest_still_trains(tmp_path: Path) -> None:
    launcher: Launcher = FakeLauncher()
    slots, waiting, order = Slots(launcher, 2), ["0.9", "0.1", "0.15", "0.2"], []
    for name in waiting:
        (tmp_path / name).mkdir()
    while waiting or slots.busy:
        while waiting and slots.free:
            slots.start(tmp_path / waiting.pop(0))
        order += [outcome.folder.name for outcome in slots.ended(1.0)]
    assert order == ["0.1", "0.15", "0.2", "0.9"]


def test_one_run_can_be_ended_and_a_stop_file_of_old_does_not_end_the_next(tmp_path: Path) -> None:
    slots, run = Slots(FakeLauncher(), 1), tmp_path / "30"
    run.mkdir()
    slots.start(run)
    slots.end(run)
    assert [outcome.outcome for outcome in slots.ended(5.0)] == ["interrupted"]
    short = tmp_path / "0.05"
    short.mkdir()
    RunFolder(short).stop_file.touch()
    slots.start(short)
    assert [outcome.outcome for outcome in slots.ended(5.0)] == ["finished"]


class LimitedSeat(FakeSeat):
    """A seat that takes a run off after some steps of its three, as a job's time limit does."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def train(self, folder: Path) -> Reply | None:
        done = min(3, RunFolder(folder).status().step + self._steps)
        RunFolder(folder).write_status(RunStatus(RunState.interrupted, done, 3))
        return Reply("finished", "") if done == 3 else Reply("interrupted", "SIGUSR2")


class LimitedLauncher(FakeLauncher):
    def __init__(self, steps: int) -> None:
        self._steps = steps

    def seat(self, number: int) -> Seat:
        return LimitedSeat(self._steps)


@pytest.mark.parametrize(("steps", "outcome"), [(1, "finished"), (2, "finished"), (0, "failed")])
def test_turns_that_end_unasked_follow_each_other_while_they_come_further(
    steps: int, outcome: str, tmp_path: Path
) -> None:
    slots = Slots(LimitedLauncher(steps), 1)
    slots.start(tmp_path)
    [ended] = slots.ended(5.0)
    assert ended.outcome == outcome
    assert outcome == "finished" or ended.message == "turns end before a step is done (SIGUSR2); allow more"


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
