"""Recognizes arguments that are names or paths given without `key=`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.cli.usage import POSITIONAL
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.override_text import quoted
from sfpo_bench.results.run_folder import RunFolder

# A setting with a value: `seed=1`, `rollout.group=4`.
_SETTING = re.compile(r"[+~]{0,2}[A-Za-z_][\w.@:-]*=.*", re.DOTALL | re.ASCII)


def is_place(argument: str) -> bool:
    """Return True for a name or path, not a setting or flag: True for `results/runs/my run a=1`, False for `run=1`."""
    if argument.startswith(("-", "+", "~")) or not argument:
        return False
    # `Path.exists` raises for a name that no file system allows, such as one of 300 characters.
    return "=" not in argument or os.path.exists(argument) or not _SETTING.fullmatch(argument)


def named_run(run: str, verb: str) -> RunFolder:
    """Return the folder of a run that the caller named; raises `ConfigError` if none is named."""
    if not run:
        raise ConfigError(f"no run is named; expected sfpo-bench {verb} RUN, a folder that sfpo-bench list shows")
    return RunFolder.existing(Path(run))


def with_names(verb: str, arguments: Sequence[str]) -> list[str]:
    """Add keys to a verb's positional arguments: `RUN` becomes `run='RUN'`."""
    named: list[str] = []
    for key, argument in zip(POSITIONAL.get(verb, ()), arguments, strict=False):
        if not is_place(argument):
            break
        named.append(f"{key}={quoted(argument)}")
    return [*named, *arguments[len(named) :]]
