"""Resolves the first argument of `compare`: nothing (the default), a packaged experiment, or a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from sfpo_bench.cli.places import is_place
from sfpo_bench.cli.user_file import hydra_arguments, is_yaml
from sfpo_bench.core.errors import MissingDataError

PRIMARY = "compare"


def primary(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the name of Hydra's primary configuration for this comparison, and the arguments that select it.

    Raises `MissingDataError` if the file or the experiment does not exist.
    """
    long = [f"comparison.{text}" if text.startswith("tune=") else text for text in arguments]
    if not long or not is_place(long[0]):
        return PRIMARY, long
    wanted, rest = long[0], long[1:]
    if not is_yaml(wanted) and wanted in known_experiments():
        return PRIMARY, [f"experiment={wanted}", *rest]
    file = Path(wanted)
    if not is_yaml(wanted) or not file.is_file():
        raise MissingDataError(
            f"{wanted} is neither a file nor a packaged experiment; expected one of {', '.join(known_experiments())}, "
            "or FILE.yaml"
        )
    name, found = hydra_arguments(file, PRIMARY)
    return name, [*rest, *found]


def known_experiments() -> list[str]:
    """Return the names of the packaged experiments that define arms."""
    folder = files("sfpo_bench.conf") / "experiment"
    named = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    return sorted(name for name, entry in named.items() if "\n  arms:" in entry.read_text(encoding="utf-8"))
