"""A class of a user's own module enters each seam with the one method that has no default."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import sfpo_bench
from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.collectors.protocol import Collector
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import (
    Advantage,
    Objective,
    Phases,
    Reference,
    Rewarded,
    RuleNeeds,
    StepMethod,
    UpdateRule,
)
from sfpo_bench.algorithms.selections.every import Every
from sfpo_bench.algorithms.selections.protocol import Candidates, Selection
from sfpo_bench.algorithms.update_rules import OnePass
from sfpo_bench.core.errors import ConfigError, PluginError
from sfpo_bench.core.plugins import Custom
from sfpo_bench.core.seeding import generator
from sfpo_bench.settings.own_classes import instance_of
from sfpo_bench.training.rollouts import ProblemSchedule
from tests.training.rollout_sources import problems, source_of

MODULE = """
from sfpo_bench.algorithms.collectors.protocol import Collected
from sfpo_bench.algorithms.objectives import PolicyGradient
from sfpo_bench.algorithms.protocols import Loss

class Twice:
    def update(self, learner, batch):
        return learner.optimize(batch, "first"), learner.optimize(batch, "second")

class Plain:
    def loss(self, inputs):
        tokens_BT = -inputs.advantages_BT * inputs.log_probs_BT * inputs.mask_BT
        return Loss(tokens_BT.sum() / inputs.counts.tokens, clipped_tokens=inputs.mask_BT.new_zeros(()))

class Square(PolicyGradient):
    def surrogate(self, log_ratios_BT, inputs):
        return inputs.advantages_BT * log_ratios_BT**2, log_ratios_BT > 1

class Halves:
    def collect(self, source):
        return Collected(source.roll_out(source.problems[: len(source.problems) // 2]))

class Torn:
    def collect(self, source):
        return Collected(source.roll_out(source.problems)[1:])

class Centred:
    def advantages(self, rewarded):
        return rewarded.rewards_PG - rewarded.rewards_PG.mean()

class Flat:
    def advantages(self, rewarded):
        return rewarded.rewards_PG.reshape(-1)

class Short:
    def weights(self, candidates):
        return (candidates.lengths_PG < 3).double()

class Endless:
    def weights(self, candidates):
        return candidates.advantages_PG * float("inf")

class Halfway:
    def follow(self, step):
        return 0.5

class TooFar:
    def follow(self, step):
        return 2.0

class Late:
    def at(self, step, own):
        return own if step > 1 else None

class Pair:
    names = ("first", "second")

class Doubtful:
    names = ("critic",)
    def share(self, name, rewarded, source):
        return rewarded.rewards_PG

class Empty:
    pass
"""


@pytest.fixture(autouse=True)
def my_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_seams")
    exec(MODULE, vars(module))
    monkeypatch.setitem(sys.modules, "my_seams", module)


def test_an_update_rule_needs_no_more_than_update() -> None:
    rule: UpdateRule = instance_of(Custom(factory="my_seams:Twice"), "algorithm.update_rule", UpdateRule)
    assert rule.needs == RuleNeeds() and rule.metrics(()) == {} and rule.state() == {}
    assert rule.observe(1, 0.5) is False
    rule.check("algorithm.update_rule")
    rule.restore({})


def rewarded() -> Rewarded:
    return Rewarded(torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([[3, 2]]))


def test_an_advantage_needs_no_more_than_advantages_and_is_told_what_shape_it_may_have() -> None:
    advantage: Advantage = instance_of(Custom(factory="my_seams:Centred"), "algorithm.advantage", Advantage)
    advantage.check("algorithm.advantage", 1)
    assert advantage.advantages(rewarded()).tolist() == [[0.5, -0.5]]
    flat: Advantage = instance_of(Custom(factory="my_seams:Flat"), "algorithm.advantage", Advantage)
    with pytest.raises(PluginError, match=r"expected a tensor of shape \(1, 2\), a response each, or \(2, 3\)"):
        flat.advantages(rewarded())


def test_a_collector_needs_no_more_than_collect_and_is_told_what_it_may_return() -> None:
    collector: Collector = instance_of(Custom(factory="my_seams:Halves"), "algorithm.collector", Collector)
    collector.check("algorithm.collector", 1)
    source = source_of(ProblemSchedule(problems(9), prompts=4, seed=0), group=2)[0]
    assert [one.group for one in collector.collect(source).trajectories] == [0, 0, 1, 1]
    assert collector.state() == {} and source.spent.responses == 4
    collector.restore({})
    torn: Collector = instance_of(Custom(factory="my_seams:Torn"), "algorithm.collector", Collector)
    with pytest.raises(PluginError, match="trajectories in groups of equal size"):
        torn.collect(source)


def test_modules_need_no_more_than_names_and_are_then_critics_of_all_responses() -> None:
    pair: Modules = instance_of(Custom(factory="my_seams:Pair"), "algorithm.modules", Modules)
    pair.check("algorithm.modules", 2)
    assert (list(pair.names), pair.model_path, pair.passes_of("first")) == (["first", "second"], "", 1)
    assert pair.rate_of("first", 0.25) == 2.5 and pair.parameters("first", 100, 8) == 109
    assert pair.share("first", rewarded(), generator(0, "modules", 1)).all()
    scores_BT, returns_BT = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    assert pair.losses("first", scores_BT, returns_BT).tolist() == [[4.0, 0.0]]
    doubtful: Modules = instance_of(Custom(factory="my_seams:Doubtful"), "algorithm.modules", Modules)
    with pytest.raises(PluginError, match=r"expected a tensor of booleans of shape \(1, 2\), a response each"):
        doubtful.share("critic", rewarded(), generator(0, "modules", 1))


def test_a_selection_needs_no_more_than_weights() -> None:
    selection: Selection = instance_of(Custom(factory="my_seams:Short"), "algorithm.selection", Selection)
    seen = rewarded()
    found = selection.weights(Candidates(seen.rewards_PG, seen.lengths_PG, generator(0, "selection", 1)))
    assert selection.needs_weights and found is not None and found.tolist() == [[0.0, 1.0]]
    selection.check("algorithm.selection", 2)
    endless: Selection = instance_of(Custom(factory="my_seams:Endless"), "algorithm.selection", Selection)
    with pytest.raises(PluginError, match="expected finite weights of at least 0"):
        endless.weights(Candidates(seen.rewards_PG, seen.lengths_PG, generator(0, "selection", 1)))


def test_an_objective_needs_a_loss_and_skips_no_row_it_does_not_say() -> None:
    objective: Objective = instance_of(Custom(factory="my_seams:Plain"), "algorithm.objective", Objective)
    assert objective.needs_every_row and not objective.uses_entropy and not objective.uses_reference
    assert not objective.applies_weights and not objective.uses_statistics
    surrogate: Objective = instance_of(Custom(factory="my_seams:Square"), "algorithm.objective", Objective)
    assert surrogate.applies_weights and not surrogate.needs_every_row


def test_a_reference_needs_no_more_than_follow_and_is_told_the_range() -> None:
    reference: Reference = instance_of(Custom(factory="my_seams:Halfway"), "algorithm.reference", Reference)
    reference.check("algorithm.reference")
    assert reference.moves and reference.follow(1) == 0.5
    far: Reference = instance_of(Custom(factory="my_seams:TooFar"), "algorithm.reference", Reference)
    with pytest.raises(PluginError, match="expected a number from 0 to 1"):
        far.follow(1)


def test_phases_need_no_more_than_at() -> None:
    phases: Phases = instance_of(Custom(factory="my_seams:Late"), "algorithm.phases", Phases)
    phases.check("algorithm.phases", 3)
    own = StepMethod(GroupAdvantage(), Every(), Clipped(), OnePass())
    assert phases.at(2, own) is own
    with pytest.raises(PluginError, match=r"expected a sfpo_bench\.algorithms\.protocols\.StepMethod"):
        phases.at(1, own)


@pytest.mark.parametrize(
    ("seam", "method"),
    [
        (UpdateRule, "update"),
        (Objective, "loss"),
        (Advantage, "advantages"),
        (Selection, "weights"),
        (Reference, "follow"),
        (Phases, "at"),
        (Collector, "collect"),
        (Modules, "names"),
    ],
)
def test_a_class_without_it_is_refused_by_name(seam: type, method: str) -> None:
    with pytest.raises(ConfigError, match=f"the class lacks {method}; see sfpo_bench.algorithms."):
        instance_of(Custom(factory="my_seams:Empty"), "algorithm.some", seam)


@pytest.mark.parametrize("path", sorted((Path(sfpo_bench.__file__).parent / "training").glob("*.py")), ids=str)
def test_training_names_no_rule_and_no_trigger(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not modules & {"sfpo_bench.algorithms.update_rules", "sfpo_bench.algorithms.triggers"}
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [text for text in strings if text in ("slow", "fast", "one_pass", "slow_fast", "fast_slow_cosine")]
