"""Rollouts by the weights of earlier steps: whose they are, what the ratio is to, kills, and several processes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose
from torch import Tensor

from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import GradeStatus, Sampling, Split
from sfpo_bench.models import load as models
from sfpo_bench.rollout.encoding import encode_problems, end_of_sequence_ids
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.rollout.transformers_engine import TransformersEngine
from sfpo_bench.settings.config import from_node, read
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.checkpoint import CheckpointStore
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule, Sampler, Stopwatch
from sfpo_bench.training.tensor_files import read_tensors
from tests.campaigns.left_behind import without_seconds
from tests.conftest import command
from tests.in_process import sfpo_bench
from tests.training.policies import batch, policy
from tests.training.rollout_sources import ByKey, KeyEngine, problems
from tests.training.test_kill_and_resume import _DIE
from tests.training.test_learner import ADAMW
from tests.training.test_runs_in_several_processes import _same, torchrun

STEPS = 5
SHORT = (
    *("tracking=none", "threads=1", "rollout.prompts=4", "rollout.group=8", f"training.steps={STEPS}"),
    *("training.checkpoint_every=1", "training.keep_every=1", "training.samples_every=1", "training.evaluate_every=5"),
    *("evaluation.responses=8", "evaluation.select_responses=8", "evaluation.greedy_problems=0"),
    "learner.learning_rate=2e-3",
)


def learned(stale_steps: int, dtype: torch.dtype, steps: int = STEPS) -> tuple[LocalLearner, list[dict[str, Tensor]]]:
    """A learner after some steps, and the weights, as the policy computes with them, that each step began with."""
    learner = LocalLearner(policy(dtype=dtype), Clipped(), LearnerSettings(**ADAMW), 1.0, stale_steps=stale_steps)
    began = []
    for step in range(1, steps + 1):
        began.append({name: weight.detach().clone() for name, weight in learner.weights().items()})
        assert same(sampled(learner), began[max(0, step - 1 - stale_steps)])
        learner.begin_step(step, batch(4, seed=step))
        learner.optimize(batch(4, seed=step), "pass_1")
        learner.end_step()
    return learner, began


def sampled(learner: LocalLearner) -> dict[str, Tensor]:
    assert learner.earlier is not None
    return dict(learner.earlier.model.named_parameters())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize(("stale_steps", "dtype"), [(1, torch.bfloat16), (2, torch.float64)])
def test_a_step_samples_from_the_weights_that_a_step_so_many_before_it_began_with(
    stale_steps: int, dtype: torch.dtype
) -> None:
    learner, began = learned(stale_steps, dtype)
    assert not same(began[0], began[1]), "they move"
    # What a checkpoint carries is all that a learner needs to go on.
    again = LocalLearner(policy(dtype=dtype), Clipped(), LearnerSettings(**ADAMW), 1.0, stale_steps=stale_steps)
    kept = {name: weight.clone() for name, weight in learner.tensors_beside()["earlier"].items()}
    again.load_beside(lambda part, like: kept)
    for step in range(3):
        shifted = {name: weight + step for name, weight in learner.masters.masters.items()}
        for one in (learner, again):
            assert one.earlier is not None
            one.earlier.follow(STEPS + 1 + step, shifted)
        assert same(sampled(again), sampled(learner)), f"{step} steps later"
    assert not same(sampled(again), began[-1])


def test_a_learner_without_stale_rollouts_holds_no_copies() -> None:
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(**ADAMW), 1.0)
    assert learner.earlier is None and not learner.tensors_beside()


def test_a_ratio_is_to_the_policy_that_drew_the_response() -> None:
    """Trajectories bring the log-probs that earlier weights sampled them with; without such weights they bring none."""

    def count(statuses: Iterable[GradeStatus]) -> None: ...

    present, earlier = KeyEngine(), KeyEngine()
    schedule = ProblemSchedule(problems(8), prompts=2, seed=3)
    plain = Sampler(present, ByKey(), schedule, Sampling(1.0, 6), 4, 3)
    for sampler, asked, brings in ((plain, present, False), (replace(plain, earlier=earlier), earlier, True)):
        present.asked.clear()
        source = sampler.at(1, Stopwatch(), count)
        found = source.with_old_log_probs(GroupCollector().collect(source).trajectories)
        assert len(asked.asked) == 2 and len(present.asked) == 2 * (not brings)
        assert [one.old_log_probs for one in found] == [one.completion.log_probs if brings else None for one in found]
        old_BT = GradedRollouts(found).old_log_probs_BT()
        assert (old_BT is not None and old_BT.nan_to_num(0.0).sum() < 0) == brings


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("rollout=vllm",), r"rollout\.stale_steps = 2 with rollout=vllm.*rollout=transformers"),
        (("learner.engine_correction=truncate",), r"stale_steps = 2 with learner\.engine_correction = truncate"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_loads(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_node(compose("train", ["rollout.stale_steps=2", *overrides]))


# Whole runs.


def train(stale_steps: int, *more: str) -> tuple[str, ...]:
    return ("train", "algorithm=grpo", f"rollout.stale_steps={stale_steps}", *more, *SHORT)


def run_in(folder: Path) -> Path:
    return folder / "results" / "runs" / "arithmetic-grpo-seed0"


def records(run: Path) -> list[Any]:
    return [without_seconds(json.loads(line)) for line in (run / "journal.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("stale_steps", [0, 2, 8])
def test_the_responses_of_a_step_are_those_of_the_weights_of_so_many_steps_before(
    stale_steps: int, tmp_path: Path
) -> None:
    """Drawn again by an engine of its own from the checkpoint of that step: the same texts, token for token, and the
    first pass measures its distance from those weights."""
    done = sfpo_bench(tmp_path, *train(stale_steps))
    assert done.code == 0, done.err
    run = run_in(tmp_path)
    config = read(run / "config.yaml")
    loaded = models.load(config.model, config.learner.precision, "cpu")
    started = {name: weight.detach().clone() for name, weight in loaded.model.named_parameters()}
    engine = TransformersEngine(
        loaded.model, loaded.tokenizer, end_of_sequence_ids(loaded.model, loaded.tokenizer), 1024
    )
    task, rollout = config.policy_task, config.rollouts
    encoded = encode_problems(
        loaded.tokenizer, task, task.problems(Split.train), rollout.max_prompt_tokens, rollout.over_long
    )
    schedule = ProblemSchedule(encoded, rollout.prompts, config.seed)
    stored = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    distances = [record["stages"][0]["kl_to_start"] for record in records(run) if "stages" in record]
    for step in range(1, STEPS + 1):
        behind = max(0, step - 1 - stale_steps)
        checkpoint = CheckpointStore(run / "checkpoints").at(behind)
        assert (checkpoint is None) == (behind == 0)
        engine.load(started if checkpoint is None else checkpoint.weights())
        requests = [Request(one.problem.id, one.prompt_ids, tuple(range(8))) for one in schedule.at(step)]
        drawn = engine.generate(requests, rollout.sampling(), NoiseStream(config.seed, "rollout", step))
        found = [(one["problem_id"], one["sample"], one["response"]) for one in stored if one["step"] == step]
        assert [(one.problem_id, one.sample, one.text) for one in drawn] == found
        moved = step > 1 and stale_steps > 0
        assert (distances[step - 1] > 1e-6) == moved, "the ratio is to the weights that drew the response"


@pytest.mark.slow
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    """Killed in step 4 and taken up from step 3, with three sets of weights to sample from in its checkpoint."""
    dies = "before(engine.TransformersEngine, 'generate', lambda n, s, r, p, noise: "
    dies += "noise == type(noise)(0, 'rollout', 4))"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    died = subprocess.run(command(train(2), _DIE + dies), cwd=killed, capture_output=True, text=True, timeout=280)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    for folder in (killed, whole):
        done = sfpo_bench(folder, *train(2))
        assert done.code == 0, done.err
    assert records(run_in(killed)) == records(run_in(whole))
    last = [run_in(folder) / "checkpoints" / f"step-{STEPS:06d}" for folder in (whole, killed)]
    parts = [{path.name: path.read_bytes() for path in one.glob("*.safetensors")} for one in last]
    assert parts[0] == parts[1] and "earlier.safetensors" in parts[0]
    ages = {int(key.rsplit("/", 1)[1]) for key in read_tensors(last[0], "earlier")}
    assert ages == {0, 1, 2}


@pytest.mark.slow
def test_two_processes_make_the_run_of_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    done = sfpo_bench(one, *train(2))
    assert done.code == 0, done.err
    started = torchrun(2, *train(2))
    spread = subprocess.run(started, cwd=two, capture_output=True, text=True, timeout=280)
    assert spread.returncode == 0, spread.stdout + spread.stderr
    assert _same(records(run_in(two)), records(run_in(one)))
    folders = [run_in(folder) / "checkpoints" / f"step-{STEPS:06d}" for folder in (two, one)]
    kept, alone = (read_tensors(folder, "earlier") for folder in folders)
    assert kept.keys() == alone.keys()
    assert max(float((kept[key] - weight).abs().max()) for key, weight in alone.items()) < 1e-4
