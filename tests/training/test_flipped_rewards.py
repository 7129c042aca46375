"""Wrong labels: how many, whose, in training alone, and the same ones whatever shares the batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.errors import ConfigError, RunFailed
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus
from sfpo_bench.settings.config import from_node
from sfpo_bench.training.rewards import FlippedRewards
from sfpo_bench.training.rollouts import ProblemSchedule
from tests.conftest import TINY, Cli
from tests.training.rollout_sources import problems, source_of

COUNT = 6_000


def responses(count: int) -> list[Completion]:
    return [Completion(f"p{n // 8}", n % 8, (1,), (2,), (0.0,), "", FinishReason.stopped) for n in range(count)]


def flips(noise: FlippedRewards, step: int, done: list[Completion]) -> list[bool]:
    grades = [
        Grade(GradeStatus.correct if n % 3 else GradeStatus.wrong, float(n % 3 > 0), "7") for n in range(len(done))
    ]
    found = noise.applied(step, done, grades)
    assert [replace(one, reward=0.0) for one in found] == [replace(one, reward=0.0) for one in grades], "verdicts stay"
    assert all(one.reward in (grade.reward, 1 - grade.reward) for one, grade in zip(found, grades, strict=True))
    return [one.reward != grade.reward for one, grade in zip(found, grades, strict=True)]


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_flipped_labels_is_the_probability(probability: float) -> None:
    """Within 4 standard errors; exactly so at 0 and 1. Right and wrong answers alike."""
    found = flips(FlippedRewards(probability, 3), 1, responses(COUNT))
    error = (probability * (1 - probability) / (COUNT // 3)) ** 0.5
    for rest in range(3):
        part = found[rest::3]
        assert abs(sum(part) / len(part) - probability) <= 4 * error


def test_a_flip_is_a_function_of_seed_step_problem_and_sample() -> None:
    noise, done = FlippedRewards(0.5, 3), responses(256)
    found = flips(noise, 1, done)
    assert flips(noise, 1, done[64:]) == found[64:] and flips(noise, 1, done[::-1])[::-1] == found
    for other in (flips(noise, 2, done), flips(FlippedRewards(0.5, 4), 1, done), found[8:] + found[:8]):
        assert 80 < sum(one != two for one, two in zip(found, other, strict=True)) < 176, "about half, of 256"
    within = [found[n] != found[n + 1] for n in range(0, 256, 2)]
    assert 32 < sum(within) < 96, "and samples of a problem differ"
    assert [
        one for one, more in zip(found, flips(FlippedRewards(0.7, 3), 1, done), strict=True) if one and not more
    ] == []


def test_what_could_not_be_graded_has_no_label_and_a_reward_beyond_0_and_1_none_to_flip() -> None:
    done, noise = responses(2), FlippedRewards(1.0, 0)
    failed = [Grade(GradeStatus.timeout, 0.0, None), Grade(GradeStatus.error, 0.0, None)]
    assert noise.applied(1, done, failed) == failed
    with pytest.raises(RunFailed, match=r"the reward 2 cannot be flipped.*reward_flip_probability"):
        noise.applied(1, done, [Grade(GradeStatus.correct, 2.0, None)] * 2)


def test_the_step_counts_what_was_flipped() -> None:
    schedule = ProblemSchedule(problems(8), prompts=4, seed=0)
    source, _, _ = source_of(schedule, group=8)
    plain = GroupCollector().collect(source).trajectories
    assert "flipped_rewards" not in source.metrics()
    source, _, _ = source_of(schedule, group=8)
    source._sampler = replace(source._sampler, flipped=FlippedRewards(0.3, 0))
    noisy = GroupCollector().collect(source).trajectories
    differ = [one.grade.reward != two.grade.reward for one, two in zip(plain, noisy, strict=True)]
    assert source.metrics()["flipped_rewards"] == sum(differ) > 0
    assert [one.completion for one in plain] == [one.completion for one in noisy]


def test_a_penalty_below_0_is_refused_beside_flipped_labels() -> None:
    register()
    wrong = ["training.reward_flip_probability=0.1", "training.wrong_answer_reward=-0.5"]
    said = r"reward_flip_probability = 0\.1 .*wrong_answer_reward = -0\.5"
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE), pytest.raises(ConfigError, match=said):
        from_node(compose("train", wrong))


@pytest.mark.slow
def test_with_every_label_flipped_training_runs_backwards_and_evaluations_see_the_truth(
    tmp_path: Path, cli: Cli
) -> None:
    plain, flipped = ("run_name=plain",), ("run_name=flipped", "training.reward_flip_probability=1")
    for more in (plain, flipped):
        cli("train", "tracking=none", *TINY, "training.steps=1", *more)
    runs = tmp_path / "results" / "runs"
    run = runs / "flipped"
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert {(one["status"] == "correct", one["reward"]) for one in samples} == {(True, 0.0), (False, 1.0)}
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    [step] = [one for one in records if one["kind"] == "step"]
    assert step["metrics"]["flipped_rewards"] == len(samples)
    assert step["metrics"]["reward_mean"] == pytest.approx(1 - step["metrics"]["correct_share"])
    for one in records:
        if one["kind"] == "evaluation":
            assert one["accuracy"] == one["statuses"].get("correct", 0) / one["n"]
    of_start = [
        [
            (one["split"], one["mode"], one["accuracy"])
            for one in map(json.loads, journal)
            if one["kind"] == "evaluation" and one["step"] == 0
        ]
        for journal in ((runs / name / "journal.jsonl").read_text().splitlines() for name in ("plain", "flipped"))
    ]
    assert of_start[0] == of_start[1] and any(accuracy != 1 - accuracy for _, _, accuracy in of_start[0])
