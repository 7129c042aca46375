"""Every setting that a comparison takes reaches all its runs, or is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.experiments.comparison.arms import compose_arms
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overruled import SettingsReader, Written, overruled, refuse_overruled

# What the parent of the runs reads; each has tests of its own.
PARENTS = {"comparison", "sweep", "study", "launcher", "tracking", "name", "description", "output_root", "device"}


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        yield


def leaves(settings: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every setting of a tree that holds one value, by its whole name."""
    if is_dataclass(settings):
        for field in fields(settings):
            yield from leaves(getattr(settings, field.name), f"{path}.{field.name}" if path else field.name)
    elif isinstance(settings, (bool, int, float, str, Enum)):
        yield path, settings


def others(value: object) -> list[object]:
    """Values of the same type, one of which is in the range of most settings."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, Enum):
        return [member.value for member in type(value) if member is not value]
    if isinstance(value, int):
        return [value + 1, value - 1, 2 * value]
    if isinstance(value, float):
        return [value + 0.125, value / 2, value * 2, 1.0]
    return [f"{value}x"]


def shown(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def keys() -> list[str]:
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        config = from_node(compose("train"))
    return [key for key, _ in leaves(config) if key.split(".")[0] not in PARENTS and not key.endswith("kind")]


def default(key: str) -> object:
    value: object = from_node(compose("train"))
    for part in key.split("."):
        value = getattr(value, part)
    return value


def in_arms(key: str, value: object) -> list[object]:
    """The setting in each arm of the default comparison, as composed when the caller sets it."""
    override = f"{key}={shown(value)}"
    refuse_overruled(SettingsReader.compare, [Written(key, shown(value), override)])
    config: RunConfig = from_node(compose("train", [override]))
    arms = compose_arms(config, "train", [override])
    return [OmegaConf.select(arm.node, key) for arm in arms]


@pytest.mark.slow
@pytest.mark.parametrize("key", keys())
def test_a_setting_of_a_comparison_is_that_of_all_its_arms_or_is_refused_by_name(key: str) -> None:
    refusals = []
    for value in others(default(key)):
        try:
            found = in_arms(key, value)
        except ConfigError as error:
            refusals.append(str(error))
            continue
        assert {repr(shown(each)) for each in found} == {repr(shown(value))}, key
        return
    assert all(key.rpartition(".")[2] in refusal for refusal in refusals), refusals


@pytest.mark.parametrize("key", keys())
def test_what_a_sweep_overrules_is_no_parameter_of_it_either(key: str) -> None:
    assert overruled(SettingsReader.sweep, key) is None or overruled(SettingsReader.parameter, key) is not None
