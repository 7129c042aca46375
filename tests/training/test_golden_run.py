"""A committed run: ten steps of SFPO on the embedded experiment, with the numbers it gave.

A change of these numbers is a change of the method, the sampling or the task, and must be meant. They are compared with
a tolerance that other processors need; the first steps agree to rounding.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli

GOLDEN = Path(__file__).with_name("golden_run.json")
RUN = ("train", "algorithm=sfpo", "tracking=none", "training.steps=10", "rollout.prompts=16", "evaluation.responses=64",
       "evaluation.select_responses=0", "evaluation.greedy_problems=0")  # fmt: skip


def numbers(journal: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    return [
        {
            "reward_mean": record["metrics"]["reward_mean"],
            "entropy": record["metrics"]["entropy"],
            "displacement": record["metrics"]["displacement"],
            "fast_1_loss": record["stages"][0]["loss"],
            "slow_loss": record["stages"][-1]["loss"],
            "slow_clip_fraction": record["stages"][-1]["clip_fraction"],
        }
        for record in records
        if record["kind"] == "step"
    ]


def test_ten_steps_give_the_committed_numbers(tmp_path: Path, cli: Cli) -> None:
    cli(*RUN)
    found = numbers(tmp_path / "results" / "runs" / "arithmetic-sfpo-seed0" / "journal.jsonl")
    golden = json.loads(GOLDEN.read_text())
    assert len(found) == len(golden) == 10
    for step, (now, then) in enumerate(zip(found, golden, strict=True), start=1):
        bound = 1e-5 if step <= 2 else 0.05
        for key, value in then.items():
            assert now[key] == pytest.approx(value, abs=bound), f"step {step}: {key}"
