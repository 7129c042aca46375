"""Which of the processes of a run this one is, by the environment that torchrun leaves."""

from __future__ import annotations

from collections.abc import Mapping


def world_size(environ: Mapping[str, str]) -> int:
    """The number of processes that train the run, this one included; 1 without torchrun."""
    return int(environ.get("WORLD_SIZE") or 1)


def is_first(environ: Mapping[str, str]) -> bool:
    """True for rank 0, the one that writes and speaks, and without torchrun."""
    return int(environ.get("RANK") or 0) == 0
