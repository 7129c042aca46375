"""Hydra overrides from the command line, an arm, or a sweep's parameter."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import IsDataclass, settings
from sfpo_bench.core.override_text import parse_overrides, written
from sfpo_bench.settings.composition_errors import explain_composition
from sfpo_bench.settings.config import KINDS, RunConfig
from sfpo_bench.settings.shapes import check_shape

# Groups that `+` may add, in Hydra's notation.
GROUPS = tuple(key.replace(".", "/") for key in KINDS)
TOP_GROUPS = ("algorithm", "model", "task", "rollout", "learner", "tracking", "launcher", "experiment", "study")


def mappings_of(node: IsDataclass, prefix: str = "") -> tuple[str, ...]:
    """The keys of settings that are mappings with user-chosen names."""
    return tuple(setting.key for setting in settings(node, prefix) if isinstance(setting.value, dict))


# The mappings of a run's configuration, including those of nodes with several kinds, such as the options of a
# user-defined class. Their content is checked against a schema or that class.
MAPPINGS = (
    *mappings_of(RunConfig()),
    *(key for place, kinds in KINDS.items() for cls in kinds.values() for key in mappings_of(cls(), f"{place}.")),
)


def opened(override: str, mappings: Sequence[str] = MAPPINGS) -> str:
    """The override, with Hydra's `++` prefix where it may add a key to a mapping."""
    key = override.partition("=")[0]
    inside = any(key == mapping or key.startswith(f"{mapping}.") for mapping in mappings)
    return f"++{override}" if inside and "=" in override else override


def composed(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration with these overrides, read as on the command line; call it inside a Hydra application."""
    parsed = parse_overrides(
        [override.removeprefix("++") if _is_opened(override) else override for override in overrides]
    )
    check_additions(parsed)
    check_single(parsed)
    check_shapes(parsed, RunConfig())
    try:
        return compose(config_name, [opened(override) for override in overrides])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain_composition(error)) from error


def check_additions(overrides: Sequence[Override], mappings: Sequence[str] = MAPPINGS) -> None:
    """Raise `ConfigError` for `+key=` and `++key=` of anything but groups, which would silently bypass the schema.

    Also for `~key` of anything but groups and entries of mappings.
    """
    for override in overrides:
        key = override.key_or_group
        if (override.is_add() or override.is_force_add()) and key not in (*GROUPS, *TOP_GROUPS):
            raise ConfigError(
                f"{override.input_line}: `+` may add whole groups only ({', '.join(TOP_GROUPS)}); "
                f"every setting exists already, write {key}=VALUE"
            )
        is_named = any(key.startswith(f"{mapping}.") for mapping in mappings)
        if override.is_delete() and key not in TOP_GROUPS and not is_named:
            raise ConfigError(f"{override.input_line}: settings cannot be removed; set {key} to a value instead")


def check_single(overrides: Sequence[Override]) -> None:
    """Raise `ConfigError` for several values of one setting outside a search."""
    for override in overrides:
        if override.is_sweep_override():
            key, _, value = str(override.input_line).partition("=")
            raise ConfigError(
                f"{override.input_line!r} is several values; expected one: write {written(key, value)} for that text, "
                f"{key}=[{value}] for a list, or search over them with `sfpo-bench train --multirun`"
            )


def check_shapes(overrides: Sequence[Override], schema: IsDataclass) -> None:
    """Raise `ConfigError` for a value that is not the expected group, list or single value."""
    for override in overrides:
        if override.is_delete() or override.is_sweep_override():
            continue
        key = override.key_or_group
        value, place = _plain(override.value()), str(override.input_line).removeprefix("++")
        check_shape(schema, key.replace("/", "."), value, place, chooses=key in (*GROUPS, *TOP_GROUPS))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return value.text if isinstance(value, QuotedString) else value


def _is_opened(override: str) -> bool:
    return override.startswith("++") and opened(override.removeprefix("++")) == override
