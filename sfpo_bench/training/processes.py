"""Rank and world size of this process, read from torchrun's environment."""

from __future__ import annotations

from collections.abc import Mapping


def world_size(environ: Mapping[str, str]) -> int:
    """The number of processes that train the run; 1 without torchrun."""
    return int(environ.get("WORLD_SIZE") or 1)


def is_first(environ: Mapping[str, str]) -> bool:
    """True for rank 0, which writes files and prints, and without torchrun."""
    return int(environ.get("RANK") or 0) == 0
