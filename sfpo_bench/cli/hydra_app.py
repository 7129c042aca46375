"""Runs a verb under Hydra, quietly, with one message for every configuration error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.cli.hydra_store import VERB_SETTINGS, register, schema_of
from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.override_text import parse_overrides
from sfpo_bench.core.yaml_files import explain_yaml, not_utf8, read_yaml
from sfpo_bench.settings.composition_errors import explain, explain_composition
from sfpo_bench.settings.overrides import MAPPINGS, check_additions, check_shapes, check_single, mappings_of, opened

# Hydra's own output folder, working directory and log files are of no use here: a run has a folder of its own.
_QUIET = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")
# Flags of Hydra that take a value, and which ones where the value may be left out.
_FLAG_VALUES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), ()),
    **dict.fromkeys(("--config-dir", "-cd", "--experimental-rerun"), ()),
    **dict.fromkeys(("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")),
}


def run(verb: str, arguments: Sequence[str], act: Callable[[DictConfig], None], primary: str | None = None) -> None:
    """Compose the configuration `primary` (by default that of `verb`) from Hydra's `arguments` and hand it to `act`.

    Hydra's flags (--cfg, --info, --config-dir, --multirun, shell completion …) work as always. Raises `ConfigError`.
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
        # Hydra would print a line of its own about an error that passes through it.
        try:
            act(node)
        except OSError as error:
            raised.append(BenchError(f"{error}; check that the path is right and may be written, and the disk"))
        except OmegaConfBaseException as error:
            raised.append(ConfigError(explain(error)))
        except Exception as error:
            # Whatever it is, it is told by the caller, outside Hydra.
            raised.append(error)

    app: Any = hydra.main(version_base="1.3", config_path="pkg://sfpo_bench.conf", config_name=primary or verb)(task)
    try:
        app()
    except BenchError:
        raise
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(_of_files(error, flags)) from error
    except (ValueError, TypeError) as error:  # how Hydra refuses a `defaults` that it cannot use
        if searches:  # then the application runs inside Hydra's call, and the fault may be its own
            raise
        raise ConfigError(_of_files(error, flags)) from error
    if raised:
        raise raised[0]


def _checked(verb: str, overrides: Sequence[str], searches: bool) -> list[str]:
    """The overrides as Hydra takes them, additions to mappings opened. Raises `ConfigError`."""
    parsed = parse_overrides(overrides)
    mappings = mappings_of(VERB_SETTINGS[verb]()) if verb in VERB_SETTINGS else MAPPINGS
    check_additions(parsed, mappings)
    check_shapes(parsed, schema_of(verb)())
    if not searches:
        check_single(parsed)
    return [opened(override, mappings) for override in overrides]


def _of_files(error: Exception, flags: Sequence[str]) -> str:
    """What is wrong with the configuration that could not be composed."""
    if isinstance(error, yaml.YAMLError):
        mark = getattr(error, "problem_mark", None)
        return f"{mark.name if mark is not None else 'a configuration'}{explain_yaml(error)}"
    if not isinstance(error, UnicodeDecodeError):
        return explain_composition(error)
    folders = [flag.partition("=")[2] for flag in flags if flag.startswith(("--config-dir=", "-cd="))]
    for file in (file for folder in folders for file in sorted(Path(folder).rglob("*.yaml"))):
        read_yaml(file)  # raises for the one that it was
    return f"a configuration file: {not_utf8(error)}"


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags of Hydra with their values, and the overrides, which its parser takes in one piece only."""
    flags: list[str] = []
    overrides: list[str] = []
    waiting: Sequence[str] | None = None  # what the flag before may take as its value; empty: anything
    for argument in arguments:
        is_value = waiting is not None and (not waiting or argument in waiting)
        is_flag = not is_value and argument.startswith("-")
        (flags if is_value or is_flag else overrides).append(argument)
        waiting = _FLAG_VALUES.get(argument) if is_flag else None
    return flags, overrides
