"""examples/plain_sfpo.py is the method: its first steps are those of the trainer, its numbers those of the journal.

Both compute in float64 here, norms included. They sum in different orders (the trainer runs each prompt once and pads
nothing), so rewards are equal, and losses and weights agree to rounding.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.types import EvaluationRecord, StepRecord
from sfpo_bench.models import load as models
from sfpo_bench.results.journal import read_journal, read_samples
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings.models import EmbeddedModel
from sfpo_bench.settings.training import Precision
from sfpo_bench.training.checkpoint import checkpoint_at
from tests.in_process import sfpo_bench
from tests.training.policies import make_norms_exact

PAGE = Path(__file__).parents[1] / "examples" / "plain_sfpo.py"
STEPS = 4
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-13, 1e-10
MOVED = 1e-4  # what four steps move a weight at least: one in each tensor
TINY = {"problems": 4, "group": 4, "evaluated_problems": 24}
TRAINER = (
    *("tracking=none", "learner.precision=float64", f"training.steps={STEPS}", "training.samples_every=1"),
    *("training.evaluate_every=2", "rollout.prompts=4", "rollout.group=4", "evaluation.responses=24"),
    *("evaluation.select_responses=0", "evaluation.greedy_problems=0"),
)


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain_sfpo", PAGE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def exact_policy(*_: object) -> models.Policy:
    """The embedded model in float64; the norms of transformers are fp32 in every model, these are not."""
    found = LOAD(EmbeddedModel(), Precision.float64, "cpu")
    make_norms_exact(found.model)
    return found


LOAD = models.load


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer trains that model too."""
    monkeypatch.setattr(models, "load", exact_policy)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run of `STEPS` steps is compared by; `weights` are those after the last step."""

    rewards: list[list[float]]
    losses: list[list[float]]
    entropies: list[float]
    accuracies: dict[int, float]
    weights: dict[str, Tensor]


def by_the_page(page: ModuleType, name: str, **changes: float) -> Trained:
    policy = exact_policy().model
    run = replace(page.METHODS[name], **TINY, **changes)
    accuracies, steps = {0: page.evaluate(policy, run, 0)}, []
    for number, step in enumerate(islice(page.train(policy, run), STEPS), start=1):
        steps.append(step)
        if number % 2 == 0:
            accuracies[number] = page.evaluate(policy, run, number)
    return Trained(
        rewards=[rewards_PG.flatten().tolist() for rewards_PG, _, _ in steps],
        losses=[losses for _, losses, _ in steps],
        entropies=[entropy for _, _, entropy in steps],
        accuracies=accuracies,
        weights={name: weight.detach() for name, weight in policy.named_parameters()},
    )


def by_the_trainer(folder: Path, *overrides: str) -> Trained:
    done = sfpo_bench(folder, "train", *TRAINER, *overrides)
    assert done.code == 0, done.out + done.err
    [run] = folder.glob("results/runs/*")
    records, samples = read_journal(RunFolder(run).journal), read_samples(RunFolder(run).samples)
    steps = [record for record in records if isinstance(record, StepRecord)]
    return Trained(
        rewards=[[one.reward for one in samples if one.step == step.step] for step in steps],
        losses=[[stage.loss for stage in step.stages] for step in steps],
        entropies=[step.metrics["entropy"] for step in steps],
        accuracies={one.step: one.accuracy for one in records if isinstance(one, EvaluationRecord)},
        weights=checkpoint_at(RunFolder(run), STEPS).weights(),
    )


def assert_same(plain: Trained, trained: Trained) -> None:
    assert plain.rewards == trained.rewards and len(plain.rewards) == STEPS
    assert plain.accuracies == trained.accuracies and set(plain.accuracies) == {0, 2, 4}
    assert [len(losses) for losses in plain.losses] == [len(losses) for losses in trained.losses]
    for found, losses in zip(plain.losses, trained.losses, strict=True):
        assert found == pytest.approx(losses, abs=LOSS_TOLERANCE)
    assert plain.entropies == pytest.approx(trained.entropies, abs=LOSS_TOLERANCE)
    start = {name: weight.detach() for name, weight in exact_policy().model.named_parameters()}
    for name, expected in trained.weights.items():
        assert torch.allclose(plain.weights[name], expected, rtol=0, atol=WEIGHT_TOLERANCE), name
        assert float((start[name] - expected).abs().max()) > MOVED, f"{name} never moved"


@pytest.mark.usefixtures("exact")
def test_grpo_on_the_page_takes_the_trainers_steps(page: ModuleType, tmp_path: Path) -> None:
    plain = by_the_page(page, "grpo")
    assert [len(losses) for losses in plain.losses] == [1] * STEPS
    assert_same(plain, by_the_trainer(tmp_path, "algorithm=grpo", "learner.learning_rate=4e-4"))


@pytest.mark.usefixtures("exact")
def test_sfpo_on_the_page_takes_the_trainers_steps_until_and_after_its_trigger_fires(
    page: ModuleType, tmp_path: Path
) -> None:
    """A window of two fires at the first rise of entropy, here after the second step."""
    plain = by_the_page(page, "sfpo", window=2, threshold=0.5)
    assert len(plain.losses[0]) == 4 and len(plain.losses[-1]) == 1
    trigger = [f"algorithm.update_rule.trigger.{key}" for key in ("window=2", "threshold=0.5")]
    assert_same(plain, by_the_trainer(tmp_path, "algorithm=sfpo", "learner.learning_rate=2e-4", *trigger))


def test_the_page_has_the_settings_of_the_methods_it_names(page: ModuleType) -> None:
    """The tests above change the sizes of a run; what they do not change is compared here."""
    from hydra import compose, initialize_config_module

    from sfpo_bench.cli.hydra_store import register
    from sfpo_bench.settings.config import from_node

    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        config = from_node(compose("train", ["algorithm=sfpo"]))
    run, rule, rollout = page.METHODS["sfpo"], config.algorithm.update_rule, config.rollouts
    assert (run.fast_passes, run.alpha) == (rule.fast_passes, rule.alpha)
    assert (run.window, run.threshold) == (rule.trigger.window, rule.trigger.threshold)
    assert (run.problems, run.group, run.max_new_tokens) == (rollout.prompts, rollout.group, rollout.max_new_tokens)
    assert (run.evaluated_problems, run.clip) == (config.evaluation.responses, config.algorithm.objective.clip_low)


def test_a_method_that_the_page_does_not_have_is_refused_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(PAGE), "ppo"])
    with pytest.raises(SystemExit, match=r"found \['ppo'\], expected one of grpo, sfpo"):
        runpy.run_path(str(PAGE), run_name="__main__")
