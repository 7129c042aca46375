"""Which file a sweep is: one of those that come with the package, by name, or one of the user's, by path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.errors import ConfigError, MissingDataError
from sfpo_bench.resources import carried


def primary(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The name of the sweep's primary configuration, and Hydra's arguments with which that is found.

    Raises `ConfigError` when no sweep is named, and `MissingDataError` when it is not there.
    """
    folder = carried("sweeps")
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    if not arguments or "=" in arguments[0] or arguments[0].startswith(("-", "+", "~")):
        raise ConfigError(f"no sweep is named; expected sfpo-bench sweep NAME, one of {known}, or FILE.yaml")
    wanted, rest = arguments[0], list(arguments[1:])
    file = sweep_file(wanted)
    if file is None:
        raise MissingDataError(
            f"{wanted} is neither a file nor a packaged sweep; expected one of {known}, or FILE.yaml"
        )
    if file.stem in ("train", "compare"):
        raise ConfigError(f"{file} has the name of a packaged configuration; rename it")
    return file.stem, [*rest, f"--config-dir={file.parent.resolve()}"]


def sweep_file(wanted: str) -> Path | None:
    """The file of a sweep named by path, or by the name of a packaged one; None when there is none."""
    if wanted.endswith((".yaml", ".yml")):
        return Path(wanted) if Path(wanted).is_file() else None
    packaged = carried("sweeps") / f"{wanted}.yaml"
    return packaged if packaged.is_file() else None
