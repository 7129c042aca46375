"""Runs a verb under Hydra, quietly, with one message for every configuration error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.config import OPEN, explain_composition
from sfpo_bench.errors import BenchError, ConfigError
from sfpo_bench.hydra_store import GROUPS, register

# Hydra's own output folder, working directory and log files are of no use here: a run has a folder of its own.
_QUIET = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")
# Flags of Hydra that take a value, and which ones where the value may be left out.
_FLAG_VALUES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), ()),
    **dict.fromkeys(("--config-dir", "-cd", "--experimental-rerun"), ()),
    **dict.fromkeys(("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")),
}
_TOP_GROUPS = ("algorithm", "model", "task", "rollout", "learner", "tracking", "launcher", "experiment", "study")
# Mappings that may get new names; their values are checked against a schema.
_OPEN = (*(f"{holder}.{key}." for holder, key, _ in OPEN), "files.", "responses_per_step_of.")


def run(verb: str, arguments: Sequence[str], act: Callable[[DictConfig], None], primary: str | None = None) -> None:
    """Compose the configuration `primary` (by default that of `verb`) from Hydra's `arguments` and hand it to `act`.

    Hydra's flags (--cfg, --info, --config-dir, --multirun, shell completion …) work as always. Raises `ConfigError`.
    """
    register()
    check_additions([argument for argument in arguments if argument.startswith(("+", "~"))])
    arguments = [_open_key(argument) for argument in arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting by itself.
    completion = any(argument.startswith(("-sc", "--shell")) for argument in arguments)
    if verb == "train" and not any(argument.startswith("hydra/sweeper=") for argument in arguments):
        arguments = [*arguments, "hydra/sweeper=sfpo_bench"]
    sys.argv = [f"sfpo-bench {verb}", *_flags_last([*arguments, *([] if completion else _QUIET)])]
    raised: list[BenchError] = []

    def task(node: DictConfig) -> None:
        # Hydra would print a line of its own about an error that passes through it.
        try:
            act(node)
        except BenchError as error:
            raised.append(error)
        except OSError as error:
            raised.append(BenchError(f"{error}; check that the path is right and may be written, and the disk"))

    app: Any = hydra.main(version_base="1.3", config_path="pkg://sfpo_bench.conf", config_name=primary or verb)(task)
    try:
        app()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain_composition(error)) from error
    if raised:
        raise raised[0]


def _flags_last(arguments: Sequence[str]) -> list[str]:
    """Every override, then the flags of Hydra, whose parser takes overrides in one piece only."""
    flags: list[str] = []
    overrides: list[str] = []
    waiting: Sequence[str] | None = None  # what the flag before may take as its value; empty: anything
    for argument in arguments:
        is_value = waiting is not None and (not waiting or argument in waiting)
        is_flag = not is_value and argument.startswith("-")
        (flags if is_value or is_flag else overrides).append(argument)
        waiting = _FLAG_VALUES.get(argument) if is_flag else None
    return [*overrides, *flags]


def _open_key(argument: str) -> str:
    """`comparison.arms.NAME…=`, `sweep.parameters.NAME…=`, `….options.NAME=` and such may name new keys: those mappings
    are open, and their values are checked against a schema or the user's class. Hydra wants to be told so."""
    key = argument.partition("=")[0]
    is_open = key.startswith(_OPEN) or ".options." in key
    return f"++{argument}" if is_open and "=" in argument else argument


def check_additions(overrides: Sequence[str]) -> None:
    """Refuse `+key=` and `++key=` except for whole groups: an added key would bypass the schema in silence."""
    for override in _parse(overrides):
        key = override.key_or_group
        if (override.is_add() or override.is_force_add()) and key not in (*GROUPS, *_TOP_GROUPS):
            raise ConfigError(
                f"{override.input_line}: `+` may add whole groups only ({', '.join(_TOP_GROUPS)}); "
                f"every setting exists already, write {key}=VALUE"
            )
        if override.is_delete() and key not in _TOP_GROUPS and not key.startswith(_OPEN):
            raise ConfigError(f"{override.input_line}: settings cannot be removed; set {key} to a value instead")


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(
            f"{explain_composition(error)}. Overrides are written key=value, values with special characters in quotes"
        ) from error
