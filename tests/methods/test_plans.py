"""What a plan counts is what the learner does: passes with a gradient, and without one by what they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from sfpo_bench.algorithms.protocols import StepMethod
from sfpo_bench.cli.plan import step_shape, work_lines
from sfpo_bench.experiments.plan import modules_beside
from sfpo_bench.experiments.step_costs import StepCosts
from sfpo_bench.models.load import shape_of
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.step_work import step_work
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.placed_scorer import PlacedScorer
from sfpo_bench.training.reference import ReferenceModel
from tests.methods.members import PRESETS, kinds
from tests.methods.preset_runs import composed, overrides_of
from tests.methods.test_objectives import with_added_terms
from tests.training.policies import batch, policy

COSTS = StepCosts("made up", 10**8, (0.1, 2e-3, 3e-5), (0.01, 1e-4), (0.05, 0.2, 1e-5, 2e-5), 0.3)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often the policy was scored with a gradient and without, and the reference."""
    found: Counter[str] = Counter()
    scores, references = PlacedScorer.score, ReferenceModel.score

    def score(self: PlacedScorer, *arguments: Any, **options: Any) -> Any:
        found["gradient" if torch.is_grad_enabled() else "none"] += 1
        return scores(self, *arguments, **options)

    def score_reference(self: ReferenceModel, *arguments: Any, **options: Any) -> Any:
        found["reference"] += 1
        found["none"] -= 1  # a reference has a scorer of its own, which counts too
        return references(self, *arguments, **options)

    monkeypatch.setattr(PlacedScorer, "score", score)
    monkeypatch.setattr(ReferenceModel, "score", score_reference)
    yield found


def check_passes(config: RunConfig, method: StepMethod, counted: Counter[str]) -> dict[str, int]:
    """Passes without a gradient that one step of the method took, by what for; those with one are within the plan."""
    objective, mini_batches = method.objective, config.learner.mini_batches
    settings = LearnerSettings(mini_batches=mini_batches)
    reference = config.reference if objective.uses_reference else None
    learner = LocalLearner(policy(), objective, settings, 1.0, reference=reference)
    data = batch(4, silent_groups=0)
    names = [name for cls in kinds("algorithm.modules").values() for name in cls().names]
    data = replace(data, scores={name: torch.randn(data.responses_BT.shape, dtype=torch.float64) for name in names})
    counted.clear()
    learner.begin_step(1, data)
    before = counted["none"]
    stages = method.rule.update(learner, data)
    assert counted["gradient"] == len(stages) * mini_batches and len(stages) <= step_work(config).passes
    met = (before // mini_batches, counted["reference"], (counted["none"] - before) // mini_batches)
    return dict(zip(("old log-probs", "the reference", "statistics of the mini-batches"), met, strict=True))


@pytest.fixture(scope="module")
def run() -> RunConfig:
    return from_node(composed("algorithm=repeat", "algorithm.update_rule.passes=2", "rollout.prompts=4"))


@pytest.mark.parametrize("mini_batches", [1, 2])
@pytest.mark.parametrize("kind", kinds("algorithm.objective"))
def test_the_passes_of_a_step_are_those_of_the_plan(
    kind: str, mini_batches: int, run: RunConfig, counted: Counter[str]
) -> None:
    for objective in (kinds("algorithm.objective")[kind](), with_added_terms(kinds("algorithm.objective")[kind]())):
        algorithm = replace(run.algorithm, objective=objective)
        config = replace(run, algorithm=algorithm, learner=replace(run.learner, mini_batches=mini_batches))
        found = check_passes(config, config.method, counted)
        assert {name: count for name, count in found.items() if count} == step_work(config).forwards


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_passes_of_a_step_of_a_preset_are_those_of_its_plan(preset: str, counted: Counter[str]) -> None:
    config = from_node(composed(*overrides_of(preset)))
    each = [check_passes(config, method, counted) for method in config.methods.used]
    most = {name: max(one[name] for one in each) for name in each[0]}
    assert {name: count for name, count in most.items() if count} == step_work(config).forwards


def shaped(*overrides: str) -> tuple[RunConfig, Any]:
    config = from_node(composed(*overrides))
    return config, step_shape(config, 10, shape_of(config.model))


def test_rounds_modules_and_statistics_are_in_the_seconds_of_a_step() -> None:
    config, ppo = shaped("algorithm=ppo", "learner.mini_batches=2")
    critic = next(iter(modules_beside(config, shape_of(config.model)).values())) / shape_of(config.model).parameters
    assert 0.5 < critic < 1.5
    assert ppo.forwards_beside == pytest.approx(2 * critic) and ppo.backwards_beside == pytest.approx(critic)
    _, alone = shaped("algorithm=reinforce_plus_plus", "learner.mini_batches=2")
    assert alone.forwards_beside == alone.backwards_beside == 0, "old log-probs are counted with the passes"
    more = COSTS.predict(ppo).update - COSTS.predict(replace(ppo, forwards_beside=0, backwards_beside=0)).update
    assert more == pytest.approx((1e-5 * 2 + 2e-5) * critic * ppo.tokens)
    _, rounds = shaped("algorithm=dapo")
    _, one_round = shaped("algorithm=dapo", "algorithm.collector.max_rounds=1")
    assert COSTS.predict(rounds).rollout - 0.1 == pytest.approx(10 * (COSTS.predict(one_round).rollout - 0.1))
    assert COSTS.predict(rounds).update == COSTS.predict(one_round).update


def test_the_lines_say_what_the_passes_are_for() -> None:
    config = from_node(composed("algorithm=ppo", "learner.mini_batches=2", "algorithm.objective.kl_coefficient=0.1"))
    assert list(work_lines(step_work(config))) == [
        "  passes over the batch: at most 1 with a gradient; without one: 1 for old log-probs, 1 for the reference",
        "  critic: 1 with a gradient, 1 without, over its share of the batch",
    ]
