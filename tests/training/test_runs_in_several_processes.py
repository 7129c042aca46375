"""Whole runs under torchrun: they are the run of one process, survive the death of a rank, and change their number."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sfpo_bench.training.checkpoint import CheckpointStore
from tests.campaigns.left_behind import without_seconds
from tests.conftest import TINY, Cli
from tests.processes import children

RUN = Path("results/runs/arithmetic-sfpo-seed0")
TRAIN = ("train", "algorithm=sfpo", "tracking=none", *TINY)
BOUND_SECONDS = 60.0


def torchrun(processes: int, *arguments: str) -> list[str]:
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*started, "-m", "sfpo_bench", *arguments]


def train(folder: Path, processes: int, *more: str) -> str:
    """What a whole run in so many processes prints."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        torchrun(processes, *TRAIN, *more), cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weights(folder: Path, step: int = 6) -> dict[str, Tensor]:
    checkpoint = CheckpointStore(folder / RUN / "checkpoints").at(step)
    assert checkpoint is not None
    return checkpoint.weights()


def journal(folder: Path) -> list[dict[str, object]]:
    records = [json.loads(line) for line in (folder / RUN / "journal.jsonl").read_text().splitlines()]
    return [record for record in map(without_seconds, records) if isinstance(record, dict)]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by-two")
    assert train(folder, 2).count("finished") == 1, "one process speaks"
    return folder


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by-one")
    train(folder, 1)
    return folder


def test_two_processes_make_the_run_of_one(by_one: Path, by_two: Path) -> None:
    """The same problems, responses, rewards, evaluations and costs; weights and losses to rounding."""
    assert _same(journal(by_two), journal(by_one))
    stored = [(folder / RUN / "samples.jsonl").read_text().splitlines() for folder in (by_two, by_one)]
    assert _same([json.loads(line) for line in stored[0]], [json.loads(line) for line in stored[1]])
    one, two = weights(by_one), weights(by_two)
    assert one.keys() == two.keys()
    assert max(float((two[name] - weight).abs().max()) for name, weight in one.items()) < 1e-4
    files = sorted(path.name for path in (by_two / RUN / "checkpoints" / "step-000006" / "weights").iterdir())
    assert len(files) == 2


def _same(found: object, expected: object) -> bool:
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(_same(found.get(key), value) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and all(_same(a, b) for a, b in zip(found, expected, strict=True))
    return found == (pytest.approx(expected, rel=1e-2, abs=1e-3) if isinstance(expected, float) else expected)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(2, 1), (1, 4), (4, 2)])
def test_a_run_goes_on_in_another_number_of_processes(numbers: tuple[int, int], by_one: Path, tmp_path: Path) -> None:
    before, after = numbers
    train(tmp_path, before, "training.steps=4")
    train(tmp_path, after)
    one, found = weights(by_one), weights(tmp_path)
    assert max(float((found[name] - weight).abs().max()) for name, weight in one.items()) < 1e-4
    sessions = [json.loads(line)["first_step"] for line in (tmp_path / RUN / "sessions.jsonl").read_text().splitlines()]
    assert sessions == [1, 5]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_rank_is_killed_the_others_end_and_the_run_goes_on_to_the_same_bits(
    victim: int, by_two: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(torchrun(2, *TRAIN), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / RUN / "checkpoints" / "step-000002").is_dir():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(rank_of(process.pid, victim), signal.SIGKILL)
        killed = time.monotonic()
        _, said = process.communicate(timeout=BOUND_SECONDS)
        assert time.monotonic() - killed < BOUND_SECONDS and process.returncode != 0
    if victim == 1:
        status = json.loads((tmp_path / RUN / "status.json").read_text())
        assert status["state"] == "failed" and "another process of this run died" in status["cause"]
        assert "Run the same command again to resume" in status["cause"]
        # torchrun may end the process once the status is written, before it prints the same.
        assert status["cause"] in said or "Signal 15 (SIGTERM) received" in said
    train(tmp_path, 2)
    expected, found = weights(by_two), weights(tmp_path)
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    assert journal(tmp_path) == journal(by_two)
    assert (tmp_path / RUN / "samples.jsonl").read_text() == (by_two / RUN / "samples.jsonl").read_text()


def rank_of(torchrun_pid: int, rank: int) -> int:
    """The process id of a rank, a child of torchrun."""
    for pid in children(torchrun_pid):
        with suppress(OSError):  # it ended meanwhile
            if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return pid
    raise AssertionError(f"torchrun has no rank {rank}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("have_met", [False, True])
def test_when_torchrun_is_killed_its_ranks_end(have_met: bool, tmp_path: Path) -> None:
    """Before the ranks have met they would look for each other for half an hour, later train to the end unseen."""
    with subprocess.Popen(
        torchrun(2, *TRAIN, "training.steps=600"), cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as process:
        while len(ranks := children(process.pid)) < 2 or (
            have_met and not (tmp_path / RUN / "checkpoints" / "step-000002").is_dir()
        ):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    deadline = time.monotonic() + BOUND_SECONDS
    while any(Path(f"/proc/{rank}/cwd").exists() for rank in ranks):
        assert time.monotonic() < deadline, "ranks are left behind"
        time.sleep(0.05)
    if have_met:
        assert json.loads((tmp_path / RUN / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.slow
def test_a_stop_file_ends_all_ranks_after_the_same_step(by_two: Path, tmp_path: Path) -> None:
    with subprocess.Popen(torchrun(2, *TRAIN), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / RUN / "checkpoints" / "step-000002").is_dir():
            assert process.poll() is None
            time.sleep(0.01)
        (tmp_path / RUN / "stop").touch()
        _, said = process.communicate(timeout=BOUND_SECONDS)
    assert process.returncode != 0 and said.count("asked to by its stop file") == 1
    assert json.loads((tmp_path / RUN / "status.json").read_text())["state"] == "interrupted"
    train(tmp_path, 2)
    assert all(torch.equal(weights(tmp_path)[name], weight) for name, weight in weights(by_two).items())


@pytest.mark.slow
def test_machines_meet_by_rendezvous(by_two: Path, tmp_path: Path) -> None:
    """Two machines' worth of torchrun, here on one: the run is that of two processes of one torchrun."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=test"]
    machines = [subprocess.Popen([*torchrun, "-m", "sfpo_bench", *TRAIN], cwd=tmp_path) for _ in range(2)]
    assert [machine.wait(timeout=600) for machine in machines] == [0, 0]
    assert all(torch.equal(weights(tmp_path)[name], weight) for name, weight in weights(by_two).items())


@pytest.mark.slow
def test_an_error_of_all_ranks_is_said_once(tmp_path: Path) -> None:
    wrong = subprocess.run(torchrun(2, *TRAIN, "rollout.prompts=0"), cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode != 0 and wrong.stderr.count("sfpo-bench: rollout.prompts") == 1


@pytest.mark.slow
def test_a_sharded_checkpoint_is_exported_and_evaluated_like_any_other(by_two: Path, cli: Cli, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    cli("export", str(by_two / RUN), f"out={tmp_path}/exported")
    exported = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "exported").named_parameters())
    assert all(torch.equal(exported[name], weight) for name, weight in weights(by_two).items())
