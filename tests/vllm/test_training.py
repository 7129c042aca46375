"""A run on vLLM, through the command line: it trains, and the death of its engine costs it nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import TINY, Cli
from tests.vllm.engines import ON_VLLM

pytestmark = ON_VLLM
RUN = Path("results/runs/arithmetic-grpo-seed0")
TRAIN = ("train", "rollout=vllm", "tracking=none", "rollout.kv_cache_mib=64", "rollout.parity_every=2", *TINY)

# The child dies when it is asked for the rollouts of the fifth step, as if the kernel had killed it.
KILL_AT_STEP_5 = """
import os, signal
import sfpo_bench.rollout.vllm_engine as engine
inner = engine.VllmEngine.generate
def generate(self, requests, sampling, noise):
    if (noise.purpose, noise.step) == ("rollout", 5):
        os.kill(self._backend.pid, signal.SIGKILL)
    return inner(self, requests, sampling, noise)
engine.VllmEngine.generate = generate
"""


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_the_engines_death_leaves_a_checkpoint_of_all_that_was_done_and_the_run_goes_on_from_there(
    tmp_path: Path, cli: Cli
) -> None:
    arguments = (*TRAIN, "rollout.placement=child_process")
    done = cli(*arguments, "training.checkpoint_every=3", prelude=KILL_AT_STEP_5, check=False)
    assert done.returncode == 1 and "signal 9" in done.stderr, done.stderr
    status = json.loads((tmp_path / RUN / "status.json").read_text())
    assert (status["state"], status["step"]) == ("failed", 4) and "signal 9" in status["cause"]
    assert (tmp_path / RUN / "checkpoints" / "step-000004").is_dir(), "not only the regular one of step 3"
    cli(*arguments, "training.checkpoint_every=3")
    records = journal(tmp_path / RUN)
    steps = [record for record in records if record["kind"] == "step"]
    assert [record["step"] for record in steps] == [1, 2, 3, 4, 5, 6]
    evaluated = [record["step"] for record in records if record["kind"] == "evaluation" and record["mode"] == "greedy"]
    assert evaluated == [0, 3, 6]
    starts = [record for record in records if record.get("event") == "engine_started"]
    assert [record["step"] for record in starts] == [0, 4]
    for start in starts:
        assert start["detail"]["parity_max"] <= start["detail"]["parity_bound"] == 1e-3
        assert start["detail"]["sync_check_parity_max"] <= 1e-3 and start["detail"]["start_seconds"] > 0
    checked = [record["step"] for record in steps if "parity_max" in record["metrics"]]
    # Pushes 1, 2 and 4 of the first process; the second process pushes once to resume.
    assert checked == [1, 2, 4, 5]
    for record in steps:
        metrics = record["metrics"]
        assert abs(metrics["engine_ratio_mean"] - 1) < 1e-3 and metrics["engine_effective_sample_share"] > 0.999
        assert metrics["push_seconds"] > 0 and metrics["engine_restarts"] == 0
    first = min(record["costs"]["train_seconds"] for record in steps)
    assert first < starts[0]["detail"]["start_seconds"] + 60, "the start is no training time"
