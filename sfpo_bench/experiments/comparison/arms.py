"""Composes the runs of a comparison from one configuration: one per arm and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.override_text import parse_overrides
from sfpo_bench.models.load import pinned
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overrides import composed
from sfpo_bench.settings.overruled import SettingsReader, Written, common_settings, refuse_overruled
from sfpo_bench.settings.stop_checks import check_stopped_comparison
from sfpo_bench.settings.training import TrainingSettings
from sfpo_bench.settings.written import in_overrides
from sfpo_bench.training.run import plain_node, training_of


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm: its name in tables, and the resolved configuration that all its seeds share.

    `unverified` lists the parts of its methods that are our interpretation of a paper."""

    key: str
    label: str
    note: str
    overrides: tuple[str, ...]
    node: DictConfig
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """An arm with a seed, and the folder of its run."""

    arm: str
    seed: int
    folder: Path


def compose_arms(config: RunConfig, config_name: str, overrides: Sequence[str]) -> list[Arm]:
    """Return the arms of `config.comparison`, each composed from the caller's overrides and its own.

    Call inside a Hydra application. Raises `ConfigError` if there are no arms, an arm does not compose, or the caller
    overrides a setting that an arm sets (there is no obvious precedence).
    """
    if not config.comparison.arms:
        raise ConfigError(
            "comparison.arms is empty; choose an experiment that has arms (experiment=arithmetic), or add some: "
            "\"comparison.arms.grpo.overrides=['algorithm=grpo']\" "
            "\"comparison.arms.sfpo.overrides=['algorithm=sfpo']\""
        )
    check_stopped_comparison(config.training, config.comparison)
    shared = [override for override in overrides if not override.lstrip("+~").startswith("comparison.")]
    arms = []
    for key, settings in config.comparison.arms.items():
        own = overrides_of(config.comparison.arms, key)
        refuse_overruled(SettingsReader.arm, in_overrides(own, f"comparison.arms.{key}.overrides: "))
        _refuse_conflicts(key, own, shared)
        try:
            node = composed(config_name, [*shared, *own])
        except ConfigError as error:
            raise ConfigError(f"comparison.arms.{key}.overrides: {error}") from error
        # Remove the settings of the comparison before the arm is checked.
        arm_node = plain_node(node, {**common_settings(config.comparison.threads), "run_name": ""})
        _refuse_own_length(key, arm_node, config.training)
        arm_config = from_node(arm_node)
        arm_node = plain_node(arm_node, pinned(arm_config.model))
        label = arm_config.marked(settings.label or key)
        arms.append(Arm(key, label, settings.note, tuple(own), arm_node, arm_config.unverified))
    return arms


def _refuse_own_length(arm: str, node: DictConfig, training: TrainingSettings) -> None:
    """Raise `ConfigError` for an arm whose steps or target differ because of a group, such as an experiment."""
    own = training_of(node)
    for key in ("steps", "stop_at"):
        if getattr(own, key) != getattr(training, key):
            place = f"comparison.arms.{arm}.overrides lead to training.{key} = {getattr(own, key)}"
            refuse_overruled(SettingsReader.arm, [Written(f"training.{key}", getattr(own, key), place)])


def planned_runs(arms: Sequence[Arm], seeds: Sequence[int], folder: Path) -> list[PlannedRun]:
    """Return every arm with every seed."""
    place = ComparisonFolder(folder)
    return [PlannedRun(arm.key, seed, place.run(arm.key, seed).path) for seed in seeds for arm in arms]


def overrides_of(arms: Mapping[str, ArmSettings], key: str) -> list[str]:
    """Return an arm's overrides after those of the arm in its `like`; its own replace inherited ones with the same key.

    Raises `ConfigError` for an unknown arm in `like`, or a cycle.
    """
    chain = [key]
    while like := arms[chain[-1]].like:
        if like not in arms or like in chain:
            raise ConfigError(
                f"comparison.arms.{chain[-1]}.like = {like!r}; expected another arm, one of "
                f"{', '.join(arm for arm in arms if arm not in chain)}"
            )
        chain.append(like)
    merged: dict[str, str] = {}
    for arm in reversed(chain):
        for text in arms[arm].overrides:
            merged[_key_of(arm, text)] = text
    return list(merged.values())


def _key_of(arm: str, override: str) -> str:
    try:
        return str(parse_overrides([override])[0].key_or_group)
    except ConfigError as error:
        raise ConfigError(f"comparison.arms.{arm}.overrides: {error}") from error


def _refuse_conflicts(arm: str, own: Sequence[str], shared: Sequence[str]) -> None:
    own_keys = {_key_of(arm, override) for override in own}
    for override in parse_overrides(shared):
        if override.key_or_group in own_keys:
            raise ConfigError(
                f"{override.input_line}: arm {arm} sets {override.key_or_group} itself ({', '.join(own)}); change the "
                f"arm instead: 'comparison.arms.{arm}.overrides=[...]'"
            )
