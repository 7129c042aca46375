"""vLLM in a child process: killed, hung or out of its mind, the trainer notices within a bound and says so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfpo_bench.core.errors import EngineFailed
from sfpo_bench.core.types import Sampling
from sfpo_bench.rollout.protocol import NoiseStream
from sfpo_bench.rollout.vllm_backend import Backend
from sfpo_bench.rollout.vllm_child import ChildVllm
from tests.vllm.engines import ON_VLLM, REQUESTS, Side, largest_difference, random_model, saved

pytestmark = ON_VLLM
NOISE, SAMPLING = NoiseStream(0, "rollout", 1), Sampling(1.0, 24)
START_SECONDS, SECONDS = 300.0, 20.0


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side.of(saved(random_model("qwen2", tied=True), tmp_path))


class Children:
    """Starts children and remembers them, to do them harm."""

    def __init__(self, side: Side, folder: Path) -> None:
        self.side, self.folder = side, folder
        self.all: list[ChildVllm] = []

    def start(self) -> Backend:
        self.all.append(ChildVllm(self.side.launch(), self.folder, START_SECONDS, SECONDS))
        return self.all[-1]


@pytest.fixture
def children(side: Side, tmp_path: Path) -> Iterator[Children]:
    folder = tmp_path / "transfer"
    folder.mkdir()
    made = Children(side, folder)
    yield made
    for child in made.all:
        child.close()
    assert list(folder.iterdir()) == [], "no weights are left behind"


def test_killed_it_is_started_again_with_the_present_weights_and_then_given_up(side: Side, children: Children) -> None:
    engine = side.engine(children.start, restarts=1)
    side.shake(1)
    engine.load(side.learner.weights())
    before = engine.generate(REQUESTS, SAMPLING, NOISE)
    os.kill(children.all[0].pid, signal.SIGKILL)
    after = engine.generate(REQUESTS, SAMPLING, NOISE)
    assert len(children.all) == 2 and engine.metrics()["engine_restarts"] == 1
    assert [c.response_ids for c in after] == [c.response_ids for c in before], "same weights, same seeds, same batch"
    assert largest_difference(side, engine, after) <= 1e-4
    os.kill(children.all[1].pid, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(EngineFailed, match="signal 9"):
        engine.generate(REQUESTS, SAMPLING, NOISE)
    assert time.monotonic() - started < SECONDS


def test_hung_it_is_killed_when_its_time_is_over(side: Side, children: Children) -> None:
    engine = side.engine(children.start)
    os.kill(children.all[0].pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(EngineFailed, match="did not answer `draw` within 20 s"):
        engine.generate(REQUESTS, SAMPLING, NOISE)
    assert SECONDS <= time.monotonic() - started < SECONDS + 10


def test_what_it_cannot_do_is_told_with_its_cause(side: Side, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="failed while starting it"):
        ChildVllm(side.launch(model=str(tmp_path / "nothing")), tmp_path, START_SECONDS, SECONDS)
