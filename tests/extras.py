"""Skips a test whose packages the light `dev` extra leaves out, and says how to have them."""

from __future__ import annotations

from typing import Any

import pytest

# What a launcher's kind needs; the others run with the package's own dependencies.
LAUNCHERS = {"slurm": "submitit", "ray": "ray"}


def needs(module: str) -> Any:
    """The module, or the test is skipped with the line that installs what every test needs."""
    return pytest.importorskip(module, reason=f"needs {module}: pip install -c constraints.txt -e '.[dev-all]'")


def needs_launcher(kind: str) -> None:
    """The test is skipped when the packages of a launcher of this kind are not installed."""
    if kind in LAUNCHERS:
        needs(LAUNCHERS[kind])
