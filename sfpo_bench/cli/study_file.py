"""Resolves the first argument of `study`: a packaged study by name, or a YAML file by path."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from sfpo_bench.cli.places import is_place
from sfpo_bench.cli.user_file import hydra_arguments, is_yaml
from sfpo_bench.core.errors import ConfigError, MissingDataError

PRIMARY = "study"


def primary(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the name of Hydra's primary configuration for this study, and the arguments that select it.

    Raises `ConfigError` if no study is named and `MissingDataError` if it does not exist.
    """
    known = ", ".join(known_studies())
    if not arguments or not is_place(arguments[0]):
        raise ConfigError(f"no study is named; expected sfpo-bench study NAME, one of {known}, or FILE.yaml")
    wanted, rest = arguments[0], [_long(argument) for argument in arguments[1:]]
    if wanted in known_studies():
        return PRIMARY, [f"study={wanted}", *rest]
    file = Path(wanted)
    if not is_yaml(wanted) or not file.is_file():
        raise MissingDataError(
            f"{wanted} is neither a file nor a packaged study; expected one of {known}, or FILE.yaml"
        )
    name, found = hydra_arguments(file, PRIMARY)
    return name, [*rest, *found]


def known_studies() -> list[str]:
    """Return the names of the packaged studies."""
    folder = files("sfpo_bench.conf") / "study"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _long(argument: str) -> str:
    """Expand `data.*=` and `tune=`, which users write without their sections."""
    if argument.startswith("tune="):
        return f"comparison.{argument}"
    return f"study.{argument}" if argument.startswith("data.") else argument
