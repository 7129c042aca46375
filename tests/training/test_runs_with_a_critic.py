"""Whole runs with a critic: it survives a kill with the same bits, and does not touch a policy that ignores it."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hydra import compose
from torch import Tensor

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.models.arithmetic_character import FOLDER
from sfpo_bench.models.load import Policy, load
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.training import build
from sfpo_bench.training.inputs import with_inputs
from sfpo_bench.training.ranks import ALONE
from tests.campaigns.left_behind import without_seconds
from tests.conftest import command
from tests.in_process import sfpo_bench
from tests.training.test_kill_and_resume import _DIE

SHORT = (
    *("tracking=none", "threads=1", "rollout.prompts=4", "rollout.group=4", "training.steps=3"),
    *("training.checkpoint_every=2", "training.samples_every=1", "training.evaluate_every=3"),
    *("evaluation.responses=8", "evaluation.select_responses=8", "evaluation.greedy_problems=0"),
)
PPO = ("train", "algorithm=ppo", *SHORT)
IN_STEP_3 = (
    "before(engine.TransformersEngine, 'generate', lambda n, s, r, p, noise: noise == type(noise)(0, 'rollout', 3))"
)

DEAF = """
from sfpo_bench.algorithms import GroupAdvantage

class Deaf(GroupAdvantage):
    modules = ("critic",)
"""


def ended(run: Path) -> tuple[dict[str, str], list[object], str]:
    """What a finished run left behind, without seconds and time stamps: checkpoint, journal, samples."""
    last = run / "checkpoints" / "step-000003"
    return (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(last.glob("*.safetensors"))},
        [without_seconds(json.loads(line)) for line in (run / "journal.jsonl").read_text().splitlines()],
        (run / "samples.jsonl").read_text(),
    )


@pytest.mark.slow
def test_a_run_with_a_critic_that_is_killed_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    """Killed in step 3, taken up from step 2."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    run = Path("results") / "runs" / "arithmetic-ppo-seed0"
    died = subprocess.run(command(PPO, _DIE + IN_STEP_3), cwd=killed, capture_output=True, text=True, timeout=280)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    for folder in (killed, whole):
        done = sfpo_bench(folder, *PPO)
        assert done.code == 0, done.err
    assert ended(killed / run) == ended(whole / run)
    parts = {f"{module}{part}.safetensors" for module in ("", "critic-") for part in ("weights", "optimizer")}
    assert set(ended(whole / run)[0]) == parts
    first = killed / run / "checkpoints" / "step-000002" / "critic-weights.safetensors"
    assert hashlib.sha256(first.read_bytes()).hexdigest() != ended(whole / run)[0][first.name], "the critic learns"


def test_a_critic_that_nobody_listens_to_changes_neither_policy_nor_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deaf.py").write_text(DEAF)
    monkeypatch.syspath_prepend(tmp_path)
    listening = ("algorithm/advantage=custom", "algorithm.advantage.factory=deaf:Deaf", "algorithm/modules=critic")
    found = []
    for name, more in (("plain", ()), ("beside", listening)):
        train = ("train", "algorithm=grpo", f"run_name={name}", *SHORT, *more)
        done = sfpo_bench(tmp_path, *train)
        assert done.code == 0, done.err
        found.append(ended(tmp_path / "results" / "runs" / name))
    (plain, journal, samples), (beside, _, beside_samples) = found
    assert {part: beside[part] for part in plain} == plain and len(beside) == len(plain) + 2
    assert samples == beside_samples and '"step"' in json.dumps(journal)


def ppo(*overrides: str) -> tuple[RunConfig, Policy]:
    config = from_node(compose("train", ["algorithm=ppo", *overrides]))
    return config, load(config.model, config.learner.precision, "cpu")


def critic(config: RunConfig, policy: Policy) -> dict[str, Tensor]:
    return dict(build._modules(config, policy, "cpu", ALONE).tensors()["critic-weights"])


@pytest.mark.usefixtures("hydra")
def test_a_critic_begins_from_the_folder_that_is_named_and_its_content_is_part_of_the_run(tmp_path: Path) -> None:
    copied = shutil.copytree(FOLDER, tmp_path / "copy")
    named = f"algorithm.modules.model_path={copied}"
    own, of_folder = critic(*ppo()), critic(*ppo(named))
    assert all(torch.equal(own[name], weight) for name, weight in of_folder.items()), "the policy's own start"
    other = critic(*ppo(named, "seed=1"))
    assert [name for name in own if not torch.equal(own[name], other[name])] == ["lm_head.weight"]
    assert "algorithm.modules.model_path (content)" in with_inputs({"algorithm.modules.model_path": str(copied)})


@pytest.mark.usefixtures("hydra")
def test_a_critic_that_does_not_know_the_policys_tokens_is_refused(tmp_path: Path) -> None:
    copied = shutil.copytree(FOLDER, tmp_path / "copy")
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["1"], vocabulary["2"] = vocabulary["2"], vocabulary["1"]
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    config, policy = ppo(f"algorithm.modules.model_path={copied}")
    with pytest.raises(ConfigError, match="has another vocabulary than the policy"):
        critic(config, policy)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")
def test_a_critic_of_a_policy_with_adapters_is_trained_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    done = sfpo_bench(tmp_path, *PPO, "learner.lora_rank=2")
    assert done.code == 0, done.err
    last = tmp_path / "results" / "runs" / "arithmetic-ppo-seed0" / "checkpoints" / "step-000003"
    policy, trained = (load_file(last / f"{name}.safetensors") for name in ("weights", "critic-weights"))
    assert all("lora_" in name for name in policy) and not any("lora_" in name for name in trained)
    start = load_file(FOLDER / "model.safetensors")
    moved = [name for name in trained if name in start and not torch.equal(trained[name], start[name])]
    assert len(moved) > 10
