"""Data folders, which are beside the package in a checkout and inside it in an installation."""

from __future__ import annotations

from pathlib import Path

from sfpo_bench.core.errors import MissingDataError

# setup.py puts them into the wheel; they do not count as code of a run.
CARRIED = ("sweeps", "evaluations")

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged_sweeps() -> str:
    """The names of the packaged sweeps, for messages."""
    return ", ".join(sorted(path.stem for path in carried("sweeps").glob("*.yaml")))


def carried(name: str, package: Path = _PACKAGE) -> Path:
    """The folder `name`, one of `CARRIED`: `sfpo_bench/<name>` of an install, else `<name>` of the checkout."""
    for place in (package / name, package.parent / name):
        if name in CARRIED and place.is_dir():
            return place
    raise MissingDataError(
        f"the folder {name} is neither in {package} nor beside it; expected one of {', '.join(CARRIED)}: "
        "install sfpo_bench from its wheel, or run from a whole checkout"
    )
