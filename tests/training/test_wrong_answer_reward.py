"""A reward for answers that are given and wrong reaches training, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfpo_bench.core.types import Completion, FinishReason, Problem
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.training.rewards import in_training
from tests.conftest import TINY, Cli


def test_a_finished_wrong_answer_earns_it_and_accuracy_does_not_change(tmp_path: Path, cli: Cli) -> None:
    # Nine new tokens cut some responses off; their answers were not given.
    cli(
        "train",
        "tracking=none",
        *TINY,
        "training.steps=1",
        "training.wrong_answer_reward=0.25",
        "rollout.max_new_tokens=9",
    )
    run = tmp_path / "results" / "runs" / "arithmetic-grpo-seed0"
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    for sample in samples:
        given = sample["finish_reason"] == "stopped"
        expected = {"correct": 1.0, "wrong": 0.25 if given else 0.0, "no_answer": 0.0}[sample["status"]]
        assert sample["reward"] == expected
    assert {sample["reward"] for sample in samples} >= {0.0, 0.25}
    [step] = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines() if '"step", "step"' in line]
    assert step["metrics"]["reward_mean"] == pytest.approx(sum(sample["reward"] for sample in samples) / len(samples))
    assert step["metrics"]["correct_share"] == sum(sample["status"] == "correct" for sample in samples) / len(samples)


@pytest.mark.parametrize(
    ("text", "end", "reward"),
    [
        ("1", FinishReason.stopped, 1.0),
        ("2", FinishReason.stopped, 0.25),
        ("2", FinishReason.truncated, 0.0),
        ("", FinishReason.stopped, 0.0),
    ],
)
def test_a_response_without_an_answer_or_cut_off_does_not_earn_it(text: str, end: FinishReason, reward: float) -> None:
    problem = Problem("x/1", "1+0=", "1")
    made = Completion(problem.id, 0, (1,), (1,), (0.0,), text, end)
    assert in_training(Arithmetic(), 0.25).grade(problem, made).reward == reward
