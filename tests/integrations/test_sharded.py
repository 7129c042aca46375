"""With FSDP2 the weights do not depend on the number of processes, and snapshot, steps and reposition do not talk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.integrations import sharded_worker

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("moments", ["carry", "interpolate"])
@pytest.mark.parametrize("processes", [1, 2])
def test_sharded_weights_are_those_of_one_process_without_sharding(
    processes: int, moments: str, tmp_path: Path
) -> None:
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.integrations.sharded_worker",
                f"{rank}",
                f"{processes}",
                f"{tmp_path}",
                moments,
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    errors = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * processes, errors
    module = sharded_worker.model()
    sharded_worker.train(module, sharded_worker.optimizer_of(module, moments))
    sharded = torch.load(tmp_path / "weights.pt", weights_only=True)
    for expected, found in zip(module.parameters(), sharded, strict=True):
        assert torch.allclose(expected, found, rtol=0, atol=1e-14)
