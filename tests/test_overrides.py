"""An override means the same on the command line, in an arm, as the key of a sweep and in `--multirun`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf, open_dict

from sfpo_bench.algorithms.update_rules import OnePass
from sfpo_bench.cli.hydra_app import run
from sfpo_bench.cli.hydra_store import register
from sfpo_bench.cli.multirun import sweep_overrides
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.options import option
from sfpo_bench.experiments.comparison.arms import compose_arms, overrides_of
from sfpo_bench.experiments.sweep.plan import PreparedSweep, composer, plan_of
from sfpo_bench.experiments.sweep.tune import Tuned, tune_arms, tuning_blocks
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.overrides import composed, opened
from sfpo_bench.training.run import plain_node


@dataclass
class Wide(OnePass):
    kind: str = option("wide", "name")
    width: float = option(0.5, "width", above=0.0)
    inner: dict[str, Any] = option({}, "more")


RULE = ("algorithm/update_rule=custom", "algorithm.update_rule.factory=wide_rules:Wide")
WIDTH = "algorithm.update_rule.options.width"


@pytest.fixture(autouse=True)
def hydra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = ModuleType("wide_rules")
    vars(module)["Wide"] = Wide
    monkeypatch.setitem(sys.modules, "wide_rules", module)
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        yield


def width(node: DictConfig) -> float:
    rule = from_node(plain_node(node, {"comparison": {}})).rule
    assert isinstance(rule, Wide)
    return rule.width


def on_the_command_line(*overrides: str) -> DictConfig:
    return composed("train", [*RULE, *overrides])


def in_an_arm(*overrides: str) -> DictConfig:
    config = from_node(compose("train"))
    config.comparison.arms = {"grpo": ArmSettings(overrides=[*RULE, *overrides])}
    [arm] = compose_arms(config, "train", ["comparison.baseline=grpo"])
    return arm.node


def shared_by_arms(*overrides: str) -> DictConfig:
    """What Hydra hands on of the command line has its marks already."""
    config = from_node(compose("train"))
    config.comparison.arms = {"grpo": ArmSettings(overrides=["learner.learning_rate=1e-4"])}
    [arm] = compose_arms(config, "train", [opened(override) for override in (*RULE, *overrides)])
    return arm.node


def as_a_key_of_a_sweep(*overrides: str) -> DictConfig:
    *fixed, last = overrides
    key, _, value = last.partition("=")
    space = {"x": {"key": key, "kind": "categorical", "choices": [OmegaConf.create(f"v: {value}").v, 0.25]}}
    node = plain_node(composed("train", RULE), {"comparison": {}, "sweep.parameters": space})
    plan = plan_of(from_node(node), composer("train", [*RULE, *fixed]))
    return plan.node({"x": plan.space.parameters[0].choices[0]})


def in_a_multirun(*overrides: str) -> DictConfig:
    seen: list[DictConfig] = []

    def load(further: Sequence[str]) -> DictConfig:
        node = compose("train", list(further))
        with open_dict(node):
            node.hydra = {}
        seen.append(node)
        return node

    class Enough(Exception):
        pass

    def no_training(*_: object) -> None:
        raise Enough

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sfpo_bench.cli.multirun.check_before_torch", no_training)
        with pytest.raises(Enough):
            sweep_overrides(
                "train", [opened(one) for one in (*RULE, *overrides, "learner.learning_rate=1e-4,2e-4")], load
            )
    return seen[-1]


PLACES = (on_the_command_line, in_an_arm, shared_by_arms, as_a_key_of_a_sweep, in_a_multirun)


@pytest.mark.parametrize("place", PLACES)
def test_options_of_a_class_of_ones_own_are_set_alike_everywhere(place: Any) -> None:
    assert width(place(f"{WIDTH}=0.75")) == 0.75


@pytest.mark.parametrize("place", (on_the_command_line, in_an_arm, shared_by_arms, in_a_multirun))
def test_options_are_set_as_a_mapping_too(place: Any) -> None:
    node = place("algorithm.update_rule.options={width: 0.75, inner: {a: 1}}")
    assert width(node) == 0.75 and node.algorithm.update_rule.options.inner.a == 1


@pytest.mark.parametrize("place", (on_the_command_line, in_an_arm))
@pytest.mark.parametrize(
    ("override", "message"),
    (
        ("+learner.speed=3", "may add whole groups only"),
        ("++learner.beta2=0.9", "write learner.beta2=VALUE"),
        ("~learner.beta2", "settings cannot be removed"),
        ("learner.beta3=0.9", "beta3 is not a setting; did you mean beta2"),
        ("learner.beta2", "sets nothing; expected KEY=VALUE"),
        ("learner.beta2=0.9,0.99", "is several values; expected one"),
    ),
)
def test_what_is_refused_on_the_command_line_is_refused_in_an_arm(place: Any, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        place(override)


def test_a_searched_option_is_checked_like_any_setting() -> None:
    with pytest.raises(ConfigError, match=r"update_rule\.width = -1 is out of range"):
        as_a_key_of_a_sweep(f"{WIDTH}=-1.0")


def test_open_names_of_other_verbs_are_those_of_their_settings() -> None:
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", sys.argv)
        patch.setattr("hydra.main", lambda **_: lambda task: lambda: seen.append(sys.argv[1]))
        run("import", ["files.grpo=[a.json]"], lambda node: None)
        run("train", ["files.grpo=[a.json]"], lambda node: None)
    assert seen == ["++files.grpo=[a.json]", "files.grpo=[a.json]"]


# --- arms like others -------------------------------------------------------------------------------------------------


def arms() -> dict[str, ArmSettings]:
    return from_node(compose("train")).comparison.arms


def test_an_arm_like_another_differs_by_its_own_overrides_alone() -> None:
    config = from_node(compose("train"))
    half = ArmSettings(like="sfpo", overrides=["algorithm.update_rule.alpha=0.5"])
    quarter = ArmSettings(like="half", overrides=["algorithm.update_rule.alpha=0.25"])
    config.comparison.arms = {**arms(), "half": half, "quarter": quarter}
    nodes = {arm.key: arm.node for arm in compose_arms(config, "train", [])}
    for key, alpha in (("half", 0.5), ("quarter", 0.25)):
        assert nodes[key] == plain_node(nodes["sfpo"], {"algorithm.update_rule.alpha": alpha})


@pytest.mark.parametrize(("like", "other"), (("nobody", ""), ("half", ""), ("sfpo", "half")))
def test_an_arm_is_like_another_one_that_is_there(like: str, other: str) -> None:
    given = {**arms(), "half": ArmSettings(like=like)}
    given["sfpo"].like = other
    with pytest.raises(ConfigError, match=r"comparison\.arms\..*\.like = '.+'; expected another arm, one of "):
        overrides_of(given, "half")


# --- arms that follow a search ----------------------------------------------------------------------------------------


def tuned_with_rates(monkeypatch: pytest.MonkeyPatch, changed: dict[str, ArmSettings], tmp_path: Any) -> Any:
    """What tuning makes of the default arms when the best rate of SFPO is 3e-4 and that of all others 1e-3."""
    file = tmp_path / "rates.yaml"
    file.write_text(
        "sweep:\n  parameters: {rate: {key: learner.learning_rate, kind: log, low: 1e-4, high: 1e-2}}\n"
        "  trials: 3\n  first_seed: 100\n"
    )
    ran: list[str] = []

    def search(arm: str, plan: PreparedSweep, run: Any) -> Tuned:
        ran.append(arm)
        return Tuned(arm, {"rate": 3e-4 if arm == "sfpo" else 1e-3}, 0.5, 3, 100.0, (), ())

    monkeypatch.setattr("sfpo_bench.experiments.sweep.tune._search", search)
    config = from_node(compose("train"))
    config.comparison.arms = {**arms(), **changed}
    made = compose_arms(config, "train", [])
    settings, found = tune_arms(config, made, "train", [], file, lambda plan: None)
    config.comparison.arms = dict(settings)
    rates = {arm.key: from_node(arm.node).learner.learning_rate for arm in compose_arms(config, "train", [])}
    return rates, ran, markdown(tuning_blocks(found))


def test_grpo_at_sfpos_rate_has_the_rate_that_was_found_for_sfpo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    half = ArmSettings(like="sfpo", overrides=["algorithm.update_rule.alpha=0.5"], tune=False)
    rates, ran, table = tuned_with_rates(monkeypatch, {"half": half}, tmp_path)
    assert rates == {"grpo": 1e-3, "sfpo": 3e-4, "repeat": 1e-3, "grpo_sfpo_rate": 3e-4, "half": 3e-4}
    assert ran == ["grpo", "sfpo", "repeat"], "one that follows is not searched"
    [row] = [line for line in table.splitlines() if r"grpo\_sfpo\_rate" in line or "grpo_sfpo_rate" in line]
    assert "0.0003" in row and "as sfpo" in row


@pytest.mark.parametrize("leader", ("nobody", "grpo_sfpo_rate", "fixed"))
def test_an_arm_follows_one_that_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, leader: str) -> None:
    changed = {"follower": ArmSettings(tuned_as=leader), "fixed": ArmSettings(tune=False)}
    with pytest.raises(ConfigError, match=rf"tuned_as = {leader}, .* expected one of grpo, sfpo, repeat"):
        tuned_with_rates(monkeypatch, changed, tmp_path)
