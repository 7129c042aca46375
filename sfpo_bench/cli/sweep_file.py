"""Which file a sweep is: one of those that come with the package, by name, or one of the user's, by path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.cli.places import is_place
from sfpo_bench.cli.user_file import hydra_arguments, is_yaml
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.resources import carried


def primary(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The name of the sweep's primary configuration, and Hydra's arguments with which that is found.

    Raises `ConfigError` when no sweep is named, and `MissingDataError` when it is not there.
    """
    folder = carried("sweeps")
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
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
    """The file of a sweep named by path, or by the name of a packaged one; None when there is none."""
    if is_yaml(wanted):
        return Path(wanted) if Path(wanted).is_file() else None
    packaged = carried("sweeps") / f"{wanted}.yaml"
    return packaged if packaged.is_file() else None
