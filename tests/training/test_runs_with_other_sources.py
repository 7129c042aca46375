"""Whole runs whose responses or labels come from elsewhere: killed, in two processes, and refused by name."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from hydra import compose

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.config import from_node
from sfpo_bench.training.checkpoint import CheckpointStore
from sfpo_bench.training.tensor_files import read_tensors
from tests.campaigns.left_behind import without_seconds
from tests.conftest import command
from tests.in_process import sfpo_bench
from tests.training.test_kill_and_resume import _DIE
from tests.training.test_runs_in_several_processes import _same, torchrun

SHORT = (
    *("tracking=none", "threads=1", "rollout.prompts=4", "rollout.group=8", "training.steps=3"),
    *("training.checkpoint_every=2", "training.samples_every=1", "training.evaluate_every=3"),
    *("evaluation.responses=8", "evaluation.select_responses=8", "evaluation.greedy_problems=0"),
)
IN_STEP_3 = (
    "before(engine.TransformersEngine, 'generate', lambda n, s, r, p, noise: noise == type(noise)(0, 'rollout', 3))"
)
M_GRPO = ("m_grpo", "algorithm.collector.momentum=0.5", "learner.learning_rate=0.002")
TEMP_SAMP = ("temp_samp",)


def train(method: tuple[str, ...]) -> tuple[str, ...]:
    return ("train", f"algorithm={method[0]}", *method[1:], *SHORT)


def run_of(folder: Path, method: tuple[str, ...]) -> Path:
    return folder / "results" / "runs" / f"arithmetic-{method[0]}-seed0"


def ended(run: Path) -> tuple[dict[str, str], list[object], str]:
    """What a finished run left behind, without seconds and time stamps: checkpoint, journal, samples."""
    last = run / "checkpoints" / "step-000003"
    return (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(last.glob("*.safetensors"))},
        [without_seconds(json.loads(line)) for line in (run / "journal.jsonl").read_text().splitlines()],
        (run / "samples.jsonl").read_text(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", [M_GRPO, TEMP_SAMP], ids=lambda method: method[0])
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(method: tuple[str, ...], tmp_path: Path) -> None:
    """Killed in step 3, taken up from step 2: the momentum policy goes on from where it was."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    started = command(train(method), _DIE + IN_STEP_3)
    died = subprocess.run(started, cwd=killed, capture_output=True, text=True, timeout=280)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    for folder in (killed, whole):
        done = sfpo_bench(folder, *train(method))
        assert done.code == 0, done.err
    assert ended(run_of(killed, method)) == ended(run_of(whole, method))
    parts = set(ended(run_of(whole, method))[0])
    assert parts == {"weights.safetensors", "optimizer.safetensors"} | (
        {"follower.safetensors"} if method is M_GRPO else set()
    )
    if method is M_GRPO:
        before = run_of(killed, method) / "checkpoints" / "step-000002" / "follower.safetensors"
        after = ended(run_of(whole, method))[0]["follower.safetensors"]
        assert hashlib.sha256(before.read_bytes()).hexdigest() != after, "it moves"


@pytest.mark.slow
@pytest.mark.parametrize("method", [M_GRPO, TEMP_SAMP], ids=lambda method: method[0])
def test_two_processes_make_the_run_of_one(method: tuple[str, ...], tmp_path: Path) -> None:
    """The same responses, labels, left-out ones and costs; weights to rounding, those of the momentum policy too."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    done = sfpo_bench(one, *train(method))
    assert done.code == 0, done.err
    started = torchrun(2, *train(method))
    spread = subprocess.run(started, cwd=two, capture_output=True, text=True, timeout=280)
    assert spread.returncode == 0, spread.stdout + spread.stderr
    journals, stored, weights = [], [], []
    for folder in (two, one):
        run = run_of(folder, method)
        journals.append(
            [without_seconds(json.loads(line)) for line in (run / "journal.jsonl").read_text().splitlines()]
        )
        stored.append([json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()])
        checkpoint = CheckpointStore(run / "checkpoints").at(3)
        assert checkpoint is not None
        follower = read_tensors(checkpoint.path, "follower") if method is M_GRPO else {}
        weights.append(checkpoint.weights() | {f"follower {name}": weight for name, weight in follower.items()})
    assert _same(*journals) and _same(*stored)
    assert max(float((weights[0][name] - weight).abs().max()) for name, weight in weights[1].items()) < 1e-4
    assert all(bool(torch.isfinite(weight).all()) for weight in weights[0].values())


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("algorithm=m_grpo", "rollout=vllm"), r"m_grpo also samples from .* a second model.*rollout=transformers"),
        (("algorithm=m_grpo", "algorithm/advantage=leave_one_out"), r"m_grpo leaves responses out .*advantage=group"),
        (("algorithm=m_grpo", "rollout.group=2"), r"rollout\.group = 2 with algorithm\.collector\.momentum_share"),
        (
            ("algorithm=temp_samp", "algorithm/update_rule=slow_fast"),
            r"update_rule takes 4 passes .* temp_samp, .*no policy sampled them.*one_pass",
        ),
        (("algorithm=temp_samp", "algorithm/update_rule=repeat"), r"takes 4 passes .* temp_samp"),
        (("algorithm=temp_samp", "learner.mini_batches=2"), r"learner\.mini_batches = 2 with .* temp_samp"),
        (("algorithm=temp_samp", "learner.mini_batch_prompts=2"), r"learner\.mini_batch_prompts = 2 and .* temp_samp"),
        (
            ("algorithm=temp_samp", "algorithm.advantage.treatment=anchor", "rollout.group=2"),
            r"rollout\.group = 2 with algorithm\.advantage\.treatment = anchor",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_loads(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_node(compose("train", list(overrides)))


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    "overrides",
    [
        ("algorithm=m_grpo", "algorithm/update_rule=slow_fast"),
        ("algorithm=m_grpo", "algorithm.collector.momentum_share=0", "rollout=vllm"),
        ("algorithm=m_grpo", "algorithm.collector.filters=false", "algorithm/advantage=leave_one_out"),
        ("algorithm=m_grpo", "learner.mini_batches=2", "algorithm/selection=dppo_prune"),
        ("algorithm=temp_samp", "rollout=vllm"),
        ("algorithm=temp_samp", "algorithm/advantage=leave_one_out"),
    ],
)
def test_what_makes_sense_composes(overrides: tuple[str, ...]) -> None:
    from_node(compose("train", list(overrides)))


def test_a_task_without_solutions_is_refused_before_the_model_loads(tmp_path: Path) -> None:
    rows = [{"problem": f"{n}+1", "answer": str(n + 1), "solution": f"{n + 1}" if n % 2 else ""} for n in range(40)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ("task=jsonl", "task.path=own.jsonl", "task.chat=false", "task.report_share=0.3")
    done = sfpo_bench(tmp_path, "train", "algorithm=temp_samp", *SHORT, *asked)
    assert done.code != 0 and "training problems of jsonl have no reference solution" in done.err
    done = sfpo_bench(tmp_path, "train", "algorithm=temp_samp", *SHORT, *asked, "task.solution_field=worked")
    assert done.code != 0 and "training problems of jsonl have no reference solution" in done.err
