"""Composes a verb's configuration with Hydra and turns every configuration error into one message."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.cli.hydra_store import VERB_SETTINGS, register, schema_of
from sfpo_bench.cli.verb_help import other_places
from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.override_text import parse_overrides
from sfpo_bench.core.yaml_files import explain_yaml, not_utf8, read_yaml
from sfpo_bench.settings.composition_errors import explain, explain_composition
from sfpo_bench.settings.overrides import MAPPINGS, check_additions, check_shapes, check_single, mappings_of, opened

# Disable Hydra's output folder, working directory and log files: every run has its own folder.
_QUIET = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")
# Hydra flags that take a value. Where the value is optional, the tuple lists the possible values.
_FLAG_VALUES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), ()),
    **dict.fromkeys(("--config-dir", "-cd", "--experimental-rerun"), ()),
    **dict.fromkeys(("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")),
}


def run(verb: str, arguments: Sequence[str], act: Callable[[DictConfig], None], primary: str | None = None) -> None:
    """Compose the configuration `primary` (default: that of `verb`) from Hydra's `arguments` and pass it to `act`.

    Hydra's own flags (--cfg, --info, --config-dir, --multirun, shell completion) are supported. Raises `ConfigError`.
    """
    register()
    flags, overrides = _apart(arguments)
    searches = bool({"--multirun", "-m"} & set(flags))
    overrides = _checked(verb, overrides, searches)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting by itself.
    completion = any(argument.startswith(("-sc", "--shell")) for argument in arguments)
    if verb == "train" and not any(override.startswith("hydra/sweeper=") for override in overrides):
        overrides.append("hydra/sweeper=sfpo_bench")
    sys.argv = [f"sfpo-bench {verb}", *overrides, *([] if completion else _QUIET), *flags]
    raised: list[Exception] = []

    def task(node: DictConfig) -> None:
        # Hydra prints an extra line about any exception that leaves this function.
        try:
            act(node)
        except OSError as error:
            raised.append(_of_system(error))
        except OmegaConfBaseException as error:
            raised.append(ConfigError(explain(error, hint_for=partial(other_places, verb))))
        except Exception as error:
            # Re-raised below, outside Hydra.
            raised.append(error)

    app: Any = hydra.main(**VERSION_BASE, config_path="pkg://sfpo_bench.conf", config_name=primary or verb)(task)
    try:
        app()
    except BenchError:
        raise
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(_of_files(verb, error, flags)) from error
    except (ValueError, TypeError) as error:  # Hydra raises these for an invalid `defaults` list
        if searches:  # the error may come from `act`, which then runs inside Hydra's call
            raise
        raise ConfigError(_of_files(verb, error, flags)) from error
    if raised:
        raise raised[0]


def _of_system(error: OSError) -> Exception:
    """Return the message for an error of the system; a broken pipe stays, since `cli.main` ends it without one."""
    if isinstance(error, BrokenPipeError):
        return error
    return BenchError(f"{error}; check that the path is right and may be written, and the disk")


def _checked(verb: str, overrides: Sequence[str], searches: bool) -> list[str]:
    """Check the overrides and return them in Hydra's syntax, with `+` for new mapping keys. Raises `ConfigError`."""
    parsed = parse_overrides(overrides)
    mappings = mappings_of(VERB_SETTINGS[verb]()) if verb in VERB_SETTINGS else MAPPINGS
    for override in parsed:
        if not override.key_or_group:
            raise ConfigError(f"{override.input_line} has no name of a setting; expected KEY=VALUE")
    check_additions(parsed, mappings)
    check_shapes(parsed, schema_of(verb)())
    if not searches:
        check_single(parsed)
    return [opened(override, mappings) for override in overrides]


def _of_files(verb: str, error: Exception, flags: Sequence[str]) -> str:
    """Return the message for an error in composing the configuration."""
    if isinstance(error, yaml.YAMLError):
        mark = getattr(error, "problem_mark", None)
        return f"{mark.name if mark is not None else 'a configuration'}{explain_yaml(error)}"
    if not isinstance(error, UnicodeDecodeError):
        return explain_composition(error, partial(other_places, verb))
    folders = [flag.partition("=")[2] for flag in flags if flag.startswith(("--config-dir=", "-cd="))]
    for file in (file for folder in folders for file in sorted(Path(folder).rglob("*.yaml"))):
        read_yaml(file)  # raises for the file that is not UTF-8
    return f"a configuration file: {not_utf8(error)}"


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into Hydra's flags with their values, and overrides; Hydra needs overrides contiguous."""
    flags: list[str] = []
    overrides: list[str] = []
    waiting: Sequence[str] | None = None  # values the previous flag accepts; empty: any
    for argument in arguments:
        is_value = waiting is not None and (not waiting or argument in waiting)
        is_flag = not is_value and argument.startswith("-")
        (flags if is_value or is_flag else overrides).append(argument)
        waiting = _FLAG_VALUES.get(argument) if is_flag else None
    return flags, overrides
