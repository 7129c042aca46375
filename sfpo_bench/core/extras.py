"""Install commands for the extras of pyproject.toml; the package is not on an index."""

from __future__ import annotations

import shlex
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def install_extra(name: str, package: Path = _PACKAGE) -> str:
    """The command that installs the extra `name`: by name in a checkout, else by its requirements."""
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file():
        return f"`pip install '.[{name}]'` in {checkout}"
    return f"`pip install {shlex.join(_requirements(name))}`"


def _requirements(name: str) -> list[str]:
    try:
        lines = [line.partition(";") for line in requires("sfpo-bench") or ()]
    except PackageNotFoundError:
        lines = []
    # In a wheel's metadata an extra is the marker `extra == "name"`.
    found = [need.strip() for need, _, marker in lines if f'extra == "{name}"' in marker.replace("'", '"')]
    return found or [f"sfpo-bench[{name}]"]
