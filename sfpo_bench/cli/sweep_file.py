"""Resolves the first argument of `sweep`: a packaged sweep by name, or a YAML file by path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.cli.places import is_place
from sfpo_bench.cli.user_file import hydra_arguments, is_yaml
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.resources import carried, packaged_sweeps


def primary(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the name of Hydra's primary configuration for this sweep, and the arguments that select it.

    Raises `ConfigError` if no sweep is named and `MissingDataError` if it does not exist.
    """
    known = packaged_sweeps()
    if not arguments or not is_place(arguments[0]):
        raise ConfigError(f"no sweep is named; expected sfpo-bench sweep NAME, one of {known}, or FILE.yaml")
    wanted, rest = arguments[0], list(arguments[1:])
    file = sweep_file(wanted)
    if file is None:
        raise MissingDataError(
            f"{wanted} is neither a file nor a packaged sweep; expected one of {known}, or FILE.yaml"
        )
    name, found = hydra_arguments(file, "train")
    return name, [*rest, *found]


def sweep_file(wanted: str) -> Path | None:
    """Return the file of a sweep given by path or packaged name, or None if there is none."""
    if is_yaml(wanted):
        return Path(wanted) if Path(wanted).is_file() else None
    packaged = carried("sweeps") / f"{wanted}.yaml"
    return packaged if packaged.is_file() else None


def tuning_file(name: str) -> Path | None:
    """Return the sweep file that `comparison.tune` names, None if it is empty; raises `MissingDataError` if missing."""
    file = sweep_file(name) if name else None
    if name and file is None:
        raise MissingDataError(
            f"comparison.tune = {name!r} is neither a file nor a packaged sweep; expected one of {packaged_sweeps()}, "
            "or FILE.yaml"
        )
    return file
