"""From one configuration to the runs of a comparison: every arm composed by Hydra, every seed a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.config import RunConfig, explain_composition, from_node
from sfpo_bench.errors import ConfigError
from sfpo_bench.models.load import pinned
from sfpo_bench.run import plain_node


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its name in tables, and the resolved configuration that all its seeds share."""

    key: str
    label: str
    note: str
    overrides: tuple[str, ...]
    node: DictConfig


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One arm with one seed, and where it lives."""

    arm: str
    seed: int
    folder: Path


def compose_arms(config: RunConfig, config_name: str, overrides: Sequence[str]) -> list[Arm]:
    """The arms of `config.comparison`, each composed from the caller's overrides and its own.

    Call inside a Hydra application. Raises `ConfigError` when there are no arms, an arm does not compose, or the caller
    overrides a setting that an arm sets itself (which of the two should win would be a guess).
    """
    if not config.comparison.arms:
        raise ConfigError(
            "comparison.arms is empty; choose an experiment that has arms (experiment=arithmetic), or add some: "
            "\"comparison.arms.grpo.overrides=['algorithm=grpo']\" "
            "\"comparison.arms.sfpo.overrides=['algorithm=sfpo']\""
        )
    shared = [override for override in overrides if not override.lstrip("+~").startswith("comparison.")]
    arms = []
    for key, settings in config.comparison.arms.items():
        try:
            _refuse_conflicts(key, settings.overrides, shared)
            node = compose(config_name, [*shared, *settings.overrides])
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"comparison.arms.{key}.overrides: {explain_composition(error)}") from error
        changes = {
            "comparison": {},
            "sweep": {},
            "study": {},
            "threads": config.comparison.threads,
            "tracking.mlflow": False,
            "run_name": "",
        }
        # What the comparison asks for is not the arm's business, and is left out before the arm is checked.
        arm_node = plain_node(node, changes)
        arm_node = plain_node(arm_node, pinned(from_node(arm_node).model))
        arms.append(Arm(key, settings.label or key, settings.note, tuple(settings.overrides), arm_node))
    return arms


def planned_runs(arms: Sequence[Arm], seeds: Sequence[int], folder: Path) -> list[PlannedRun]:
    """Every arm with every seed."""
    return [PlannedRun(arm.key, seed, folder / "runs" / arm.key / f"seed-{seed:04d}") for seed in seeds for arm in arms]


def _refuse_conflicts(arm: str, own: Sequence[str], shared: Sequence[str]) -> None:
    parser = OverridesParser.create()
    own_keys = {override.key_or_group for override in parser.parse_overrides(list(own))}
    for override in parser.parse_overrides(list(shared)):
        if override.key_or_group in own_keys:
            raise ConfigError(
                f"{override.input_line}: arm {arm} sets {override.key_or_group} itself ({', '.join(own)}); change the "
                f"arm instead: 'comparison.arms.{arm}.overrides=[...]'"
            )
