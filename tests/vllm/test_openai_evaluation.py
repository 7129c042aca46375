"""`evaluate rollout=openai` against vLLM's own server: seeds, token ids, usage, and what it says of itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sfpo_bench.results.evaluation import read_server
from sfpo_bench.results.sample_store import Sample, SampleStore
from tests.in_process import sfpo_bench
from tests.vllm.engines import ON_VLLM, random_model, saved

pytestmark = ON_VLLM
START_SECONDS = 600.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model over the characters of the shipped problems, with heads that vLLM takes as they are."""
    return saved(random_model("llama", tied=True, head_size=32), tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a vLLM server with the model under the name `small`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    arguments = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)),
        *("--served-model-name", "small", "--dtype", "float32", "--max-model-len", "64", "--enforce-eager"),
        *("--kv-cache-memory-bytes", str(64 * 2**20), "--max-num-seqs", "64"),
    ]
    log_file = tmp_path_factory.mktemp("server") / "log"
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with open(log_file, "wb") as log:
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log_file.read_text()[-3000:]
            with suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5.0).close()
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def evaluated(folder: Path, url: str, model: Path, *more: str) -> tuple[list[Sample], SampleStore]:
    folder.mkdir()
    done = sfpo_bench(
        folder,
        *(
            "evaluate",
            "rollout=openai",
            f"rollout.base_url={url}",
            "rollout.model=small",
            f"rollout.tokenizer={model}",
        ),
        *("suite=embedded", "problems=8", "sampling.samples=3", "sampling.max_new_tokens=12", "tracking=none", *more),
    )
    assert done.code == 0, done.err
    [parts] = folder.glob("results/evaluations/*/*/parts")
    store = SampleStore(parts.parent)
    return sorted(store.samples(), key=lambda one: one.seed), store


def test_a_real_server_gives_every_sample_once_with_its_seed_and_its_tokens(
    url: str, model: Path, tmp_path: Path
) -> None:
    samples, store = evaluated(tmp_path / "a", url, model)
    assert len({one.seed for one in samples}) == len(samples) == 24
    assert all(one.tokens is not None and 0 < one.tokens <= 12 for one in samples)
    found = read_server(store)
    assert found is not None and found.refused == () and found.answers_as == "small" and found.most_tokens == 64
    assert found.weights == str(model)
    # A seed is honoured up to the last bits of the logits, which depend on the batch: one at a time they are the same.
    alone, _ = evaluated(tmp_path / "b", url, model, "rollout.concurrency=1")
    again, _ = evaluated(tmp_path / "c", url, model, "rollout.concurrency=1")
    assert alone == again
    same = sum(one.text == other.text for one, other in zip(samples, alone, strict=True))
    assert same >= len(samples) - 2


def test_what_a_real_server_refuses_is_said_before_the_work(url: str, tmp_path: Path) -> None:
    asked = ("evaluate", "rollout=openai", f"rollout.base_url={url}", "suite=embedded", "tracking=none")
    unknown = sfpo_bench(tmp_path, *asked, "rollout.model=large")
    assert unknown.code == 2 and "the server's models are: small" in unknown.err
    long = sfpo_bench(tmp_path, *asked, "rollout.model=small", "sampling.max_new_tokens=64")
    assert long.code == 2 and "takes 64 tokens" in long.err
