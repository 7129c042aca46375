"""A run in two processes with a vLLM in a child of each: its engines compute what the sharded trainer does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import TINY
from tests.vllm.engines import ON_VLLM

pytestmark = ON_VLLM
TRAIN = (
    *("train", "rollout=vllm", "rollout.placement=child_process", "tracking=none", "rollout.kv_cache_mib=64"),
    *("rollout.parity_every=2", *TINY),
)


def test_every_rank_has_an_engine_that_gets_the_gathered_weights(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*torchrun, "-m", "sfpo_bench", *TRAIN], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "runs" / "arithmetic-grpo-seed0"
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    [start] = [record["detail"] for record in records if record.get("event") == "engine_started"]
    assert start["parity_max"] <= start["parity_bound"] == 1e-3 and start["sync_check_parity_max"] <= 2e-2
    steps = [record["metrics"] for record in records if record["kind"] == "step"]
    assert [("parity_max" in step) for step in steps] == [True, True, False, True, False, True]
    assert all(abs(step["engine_ratio_mean"] - 1) < 1e-3 for step in steps)


def test_other_placements_are_refused(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [argument for argument in TRAIN if "placement" not in argument]
    done = subprocess.run([*torchrun, "-m", "sfpo_bench", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "use rollout.placement=child_process" in done.stderr
