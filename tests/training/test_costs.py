"""What a run says it has spent, against what it kept of each step: every cost is a sum that can be added up again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from tests.in_process import sfpo_bench

PROMPTS, GROUP, STEPS, PASSES, MINI_BATCHES = 4, 8, 4, 3, 2
SETTINGS = (
    *("tracking=none", "algorithm=sfpo", "algorithm/update_rule/trigger=none", "algorithm.update_rule.fast_passes=2"),
    *(f"rollout.prompts={PROMPTS}", f"rollout.group={GROUP}", "rollout.max_new_tokens=9"),
    *(f"learner.mini_batches={MINI_BATCHES}", "training.evaluate_every=2", "training.samples_every=1"),
    *("evaluation.responses=24", "evaluation.select_responses=16", "evaluation.greedy_problems=8"),
)


@dataclass(frozen=True, slots=True)
class Spent:
    """The records of a run that was stopped once and taken up again, and the seconds that both calls took."""

    steps: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    wall_seconds: float
    cpu_seconds: float


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spent]:
    folder, wall, cpu = tmp_path_factory.mktemp("costs"), time.perf_counter(), time.process_time()
    for steps in (STEPS // 2, STEPS):
        done = sfpo_bench(folder, "train", *SETTINGS, f"training.steps={steps}")
        assert done.code == 0, done.out + done.err
    [run] = folder.glob("results/runs/*")
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    yield Spent(
        [record for record in records if record["kind"] == "step"],
        [record for record in records if record["kind"] == "evaluation"],
        samples,
        time.perf_counter() - wall,
        time.process_time() - cpu,
    )


def costs(spent: Spent, name: str) -> list[float]:
    return [record["costs"][name] for record in spent.steps]


def added(parts: list[float]) -> list[float]:
    return [sum(parts[: count + 1]) for count in range(len(parts))]


def of_step(spent: Spent, step: int) -> list[dict[str, Any]]:
    return [sample for sample in spent.samples if sample["step"] == step]


def test_prompts_and_responses_are_those_of_the_settings_times_the_steps(spent: Spent) -> None:
    assert costs(spent, "prompts") == [PROMPTS * step for step in range(1, STEPS + 1)]
    assert costs(spent, "responses") == [PROMPTS * GROUP * step for step in range(1, STEPS + 1)]
    assert [len(of_step(spent, step)) for step in range(1, STEPS + 1)] == [PROMPTS * GROUP] * STEPS


def test_tokens_are_those_of_the_responses_with_their_end_and_without_their_prompts(spent: Spent) -> None:
    """The model reads and writes characters: a finished response has one token more than its text, the end itself; one
    that was cut off has none, and is as long as the limit."""
    finishes = {sample["finish_reason"] for sample in spent.samples}
    assert finishes == {"stopped", "truncated"}, "both kinds are met"
    for sample in spent.samples:
        ended = sample["finish_reason"] == "stopped"
        assert sample["response_tokens"] == len(sample["response"]) + ended
        assert ended or sample["response_tokens"] == 9
    own = [float(sum(s["response_tokens"] for s in of_step(spent, step))) for step in range(1, STEPS + 1)]
    assert costs(spent, "tokens") == added(own)
    for record, tokens in zip(spent.steps, own, strict=True):
        lengths = [s["response_tokens"] for s in of_step(spent, record["step"])]
        truncated = [s["finish_reason"] == "truncated" for s in of_step(spent, record["step"])]
        metrics = record["metrics"]
        assert metrics["response_tokens_mean"] == pytest.approx(tokens / len(lengths))
        assert metrics["response_tokens_max"] == max(lengths)
        assert metrics["truncated_share"] == pytest.approx(sum(truncated) / len(truncated))


def test_rewards_and_groups_of_a_step_are_those_of_its_samples(spent: Spent) -> None:
    for record in spent.steps:
        rewards = [s["reward"] for s in of_step(spent, record["step"])]
        mean = sum(rewards) / len(rewards)
        spread = (sum((reward - mean) ** 2 for reward in rewards) / len(rewards)) ** 0.5
        groups = [rewards[start : start + GROUP] for start in range(0, len(rewards), GROUP)]
        silent = sum(len(set(group)) == 1 for group in groups) / len(groups)
        found = record["metrics"]
        assert (found["reward_mean"], found["reward_std"]) == pytest.approx((mean, spread))
        assert found["groups_without_signal_share"] == silent
    assert 0 < sum(record["metrics"]["groups_without_signal_share"] for record in spent.steps) < STEPS


def test_optimizer_steps_are_those_of_every_pass_over_every_mini_batch(spent: Spent) -> None:
    assert costs(spent, "optimizer_steps") == [PASSES * MINI_BATCHES * step for step in range(1, STEPS + 1)]


def test_training_seconds_are_those_of_the_steps_and_nothing_else(spent: Spent) -> None:
    seconds = [record["metrics"]["step_seconds"] for record in spent.steps]
    assert costs(spent, "train_seconds") == pytest.approx(added(seconds))
    for record in spent.steps:
        parts = [record["metrics"][f"{part}_seconds"] for part in ("rollout", "grading", "update", "push")]
        assert 0.5 * record["metrics"]["step_seconds"] < sum(parts) <= record["metrics"]["step_seconds"]
        stages = {stage["stage"]: stage["seconds"] for stage in record["stages"]}
        assert list(stages) == ["fast_1", "fast_2", "slow"]
        assert record["metrics"]["fast_seconds"] == pytest.approx(stages["fast_1"] + stages["fast_2"])
        assert record["metrics"]["slow_seconds"] == pytest.approx(stages["slow"])
        assert 0 < record["metrics"]["reposition_seconds"] < record["metrics"]["step_seconds"]


def test_total_seconds_hold_evaluations_too_and_no_more_than_the_calls_took(spent: Spent) -> None:
    """Over a stop and a start: they go on from where they were."""
    total, train = costs(spent, "total_seconds"), costs(spent, "train_seconds")
    evaluated = sum(record["seconds"] for record in spent.evaluations if record["step"] < STEPS)
    assert all(late > early for early, late in pairwise(total))
    assert train[-1] + evaluated < total[-1] < spent.wall_seconds
    for (early, late), seconds in zip(pairwise(total), train[1:], strict=True):
        assert late - early >= 0.99 * (seconds - train[train.index(seconds) - 1])


def test_cpu_seconds_are_those_of_this_process_in_its_steps(spent: Spent) -> None:
    """One thread: no more than the wall clock's seconds of the steps, but for the clocks' own ticks, and than what the
    whole process spent."""
    cpu, train = costs(spent, "cpu_seconds"), costs(spent, "train_seconds")
    assert all(late > early for early, late in pairwise(cpu))
    assert cpu[-1] <= train[-1] * 1.02 + 0.02 and cpu[-1] < spent.cpu_seconds


def test_an_evaluation_costs_what_the_step_before_it_had_cost(spent: Spent) -> None:
    by_step = {record["step"]: record["costs"] for record in spent.steps}
    assert {record["step"] for record in spent.evaluations} == {0, 2, 4}
    for record in spent.evaluations:
        before = by_step.get(record["step"], dict.fromkeys(record["costs"], 0))
        for name, cost in record["costs"].items():
            assert cost == before[name] or (name == "total_seconds" and cost >= before[name])
