"""The campaign of generated answers: its short form, killed and gone on with, and that it sees what it looks for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sfpo_bench.core.child_processes import child_environment
from tests.campaigns.hostile_answers import MARK, ROOT, Block, Plan, growth, real_responses, watched

PROGRAM = "tests.campaigns.hostile_answers"
SHORT = ("--answers", "240", "--block", "80", "--seed", "7")


def campaign(state: Path) -> list[str]:
    return [sys.executable, "-m", PROGRAM, str(state), *SHORT]


def statuses(state: Path) -> list[object]:
    return [json.loads(line)["statuses"] for line in state.read_text(encoding="utf-8").splitlines()[1:]]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts processes and memory in /proc")
def test_some_hundred_answers_do_no_harm_and_a_killed_campaign_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = subprocess.run(campaign(whole), cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hang 0, executed 0, left-over processes 0, failures 0" in done.stdout
    process = subprocess.Popen(campaign(killed), cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 200
    while not (killed.is_file() and len(killed.read_bytes().splitlines()) >= 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    assert 1 <= len(statuses(killed)) < 3
    with open(killed, "ab") as half:
        half.write(b'{"block": 2, "stat')  # as a kill in the middle of a line leaves it
    done = subprocess.run(campaign(killed), cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0 and "2 sessions" in done.stdout, done.stdout + done.stderr
    assert statuses(killed) == statuses(whole)


def test_answers_are_a_function_of_seed_block_and_number() -> None:
    real = real_responses()
    assert len(real) > 1000
    plan, again, other = Plan(1, 50, real), Plan(1, 50, real), Plan(2, 50, real)
    answers = [plan.pair(3, number) for number in range(48)]
    assert answers == [again.pair(3, number) for number in range(48)]
    assert answers != [other.pair(3, number) for number in range(48)] != [plan.pair(4, n) for n in range(48)]
    assert any(MARK in pair.response for pair in answers), "some hold code that would write a file of this name"


def test_the_watch_sees_programs_files_sockets_and_code() -> None:
    """In a process with the environment of one that grades."""
    deeds = {
        "os.system": "import os; os.system('true')",
        "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
        "open": f"open({MARK!r}, 'w').close()",
        "socket.__new__": "import socket; socket.socket().close()",
        "compile": f"eval('1 # {MARK}')",
    }
    with watched() as seen:
        script = "; ".join(["import os", *deeds.values()])
        subprocess.run([sys.executable, "-c", script], env=child_environment(os.environ), check=True, timeout=60)
        found = {line.split(" ")[0] for line in seen.read_text(encoding="utf-8").splitlines()}
        assert set(deeds) <= found and Path(MARK).is_file()
    assert not Path(MARK).exists()


def test_memory_is_flat_within_each_session_alone() -> None:
    mib = 2**20
    flat = [Block(0, session=1, parent_bytes=100 * mib), Block(1, session=1, parent_bytes=104 * mib)]
    assert growth([*flat, Block(2, session=2, parent_bytes=300 * mib)]) == (4.0, True)
    assert growth([*flat, Block(2, session=1, parent_bytes=120 * mib)]) == (20.0, False)
