"""A run in several processes: torchrun inside the worker, the job or the actor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.launcher import LauncherSettings, LocalLauncher, RayLauncher, SlurmLauncher
from sfpo_bench.training.processes import is_first, world_size
from sfpo_bench.training.run import train
from sfpo_bench.workers.build import build_launcher
from sfpo_bench.workers.job import Job, JobEnding, JobReply
from sfpo_bench.workers.local import slots_for
from sfpo_bench.workers.slots import JobOutcome, WorkerSlots
from sfpo_bench.workers.torchrun import command, run_in_ranks, write_reply
from tests.conftest import TINY, Cli
from tests.extras import needs_launcher


def test_the_command_line_is_torchrun_with_a_rank_per_process() -> None:
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", "--max-restarts=0"]
    job = Job("sfpo_bench.training.run:train", Path("/results/run"))
    assert command(job, 4) == [
        *started,
        "-m",
        "sfpo_bench.workers.rank",
        "sfpo_bench.training.run:train",
        "/results/run",
    ]


def test_a_run_in_several_processes_needs_a_gpu_for_each_where_there_are_any() -> None:
    both = LocalLauncher(gpus_per_run=2, processes_per_run=2)
    assert slots_for(both, ("0", "1", "2", "3"), 0) == 2
    with pytest.raises(ConfigError, match=r"set launcher\.gpus_per_run=2"):
        slots_for(LocalLauncher(processes_per_run=2), ("0", "1"), 1)
    assert slots_for(LocalLauncher(processes_per_run=10**6), (), 0) == 1


def test_a_process_knows_its_place_from_what_torchrun_leaves() -> None:
    assert world_size({}) == world_size({"WORLD_SIZE": "1"}) == 1 and world_size({"WORLD_SIZE": "4"}) == 4
    assert is_first({}) and is_first({"RANK": "0"}) and not is_first({"RANK": "3"})


def ranks_saying(replies: dict[int, JobReply], folder: Path, monkeypatch: pytest.MonkeyPatch) -> JobReply | None:
    """What is made of the replies that the ranks of a job write."""
    lines = [
        f"write_reply(Path({str(folder)!r}), {rank}, JobReply({reply.ending.value!r}, {reply.message!r}))"
        for rank, reply in replies.items()
    ]
    imports = "from pathlib import Path; from sfpo_bench.workers.torchrun import write_reply, JobReply"
    said = [sys.executable, "-c", "\n".join([imports, *lines])]
    monkeypatch.setattr("sfpo_bench.workers.torchrun.command", lambda job, processes: said)
    return run_in_ranks(Job("unused:unused", folder), len(replies), None)


def test_a_job_ends_as_rank_0_says_unless_another_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine, asked = JobReply(JobEnding.finished, ""), JobReply(JobEnding.interrupted, "SIGTERM")
    broken = JobReply(JobEnding.failed, "rank 1 is full")
    write_reply(tmp_path, 1, broken)  # of an earlier process
    assert ranks_saying({0: fine, 1: fine}, tmp_path, monkeypatch) == fine
    assert ranks_saying({0: asked, 1: broken}, tmp_path, monkeypatch) == broken
    assert ranks_saying({1: fine}, tmp_path, monkeypatch) is None


def test_torchrun_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    waiting = (
        "import sys, sfpo_bench.workers.torchrun as t\nfrom pathlib import Path\n"
        "t.command = lambda job, processes: [sys.executable, '-c', "
        "'import os, pathlib, time; pathlib.Path(\"pid\").write_text(str(os.getpid())); time.sleep(60)']\n"
        "t.run_in_ranks(t.Job('unused:unused', Path('.')), 2, None)"
    )
    with subprocess.Popen([sys.executable, "-c", waiting], cwd=tmp_path) as worker:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert worker.poll() is None
            time.sleep(0.02)
        worker.kill()
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline and (Path("/proc") / str(child) / "stat").read_text().split()[2] != "Z":
            os.kill(child, 0)
            time.sleep(0.02)
    assert time.monotonic() < deadline


def outcome_of(launcher: LauncherSettings, folder: Path, log: Path) -> JobOutcome:
    slots = WorkerSlots(build_launcher(launcher, 1, log), 1)
    slots.start(Job.of(train, folder))
    outcomes: list[JobOutcome] = []
    while not outcomes:
        outcomes = list(slots.ended(1.0))
    slots.close()
    return outcomes[0]


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> Path:
    """A run that is prepared and interrupted: it has steps before and behind it."""
    cli("train", *TINY, "tracking=none", "training.steps=2", "run_name=one")
    folder = tmp_path / "results" / "runs" / "one"
    config = OmegaConf.load(folder / "config.yaml")
    config.training.steps = 200
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    return folder


def sessions(run: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in (run / "sessions.jsonl").read_text().splitlines()]


SEVERAL: list[LauncherSettings] = [
    LocalLauncher(processes_per_run=2),
    SlurmLauncher(processes_per_run=2, submit_on="local"),
    RayLauncher(processes_per_run=2),
]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", SEVERAL, ids=lambda launcher: launcher.kind)
def test_every_launcher_starts_the_ranks_and_hears_what_they_say(
    launcher: LauncherSettings, run: Path, tmp_path: Path
) -> None:
    """Both train: the checkpoint has a file of each."""
    needs_launcher(launcher.kind)
    config = OmegaConf.load(run / "config.yaml")
    config.training.steps = 4
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))
    outcome = outcome_of(launcher, run, tmp_path / "log" / "workers.log")
    assert (outcome.ending, outcome.message) == ("finished", "")
    assert len(list((run / "checkpoints" / "step-000004" / "weights").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [LocalLauncher(), SlurmLauncher(submit_on="local")], ids=lambda one: one.kind)
def test_the_signal_before_a_time_limit_ends_a_process_and_the_next_continues(
    launcher: LauncherSettings, run: Path, tmp_path: Path
) -> None:
    """Slurm sends SIGUSR2 some time before the limit: checkpoint, and a further job from there."""
    needs_launcher(launcher.kind)
    slots = WorkerSlots(build_launcher(launcher, 1, tmp_path / "log" / "workers.log"), 1)
    slots.start(Job.of(train, run))
    for turn in (2, 3):
        while len(sessions(run)) < turn or not list(run.glob("checkpoints/step-*")):
            time.sleep(0.02)
        time.sleep(0.5)
        os.kill(sessions(run)[-1]["pid"], signal.SIGUSR2)
    outcomes: list[JobOutcome] = []
    while not outcomes:
        outcomes = list(slots.ended(1.0))
    slots.close()
    assert [outcome.ending for outcome in outcomes] == ["finished"]
    steps = [session["first_step"] for session in sessions(run)]
    assert steps[0] == 1 and steps[1] == 3 < steps[2] < steps[3]
    assert len(list((tmp_path / "log" / "jobs").glob("*_result.pkl"))) in (0, 3)
