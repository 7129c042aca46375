"""The processes below a process, as /proc has them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children(parent: int) -> list[int]:
    """The processes that a process started and that run."""
    return _by_parent().get(parent, [])


def descendants(parent: int) -> list[int]:
    """The processes below a process, however deep."""
    started = _by_parent()
    found, ancestors = list[int](), [parent]
    while ancestors:
        below = started.get(ancestors.pop(), [])
        found += below
        ancestors += below
    return found


def _by_parent() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, IndexError, ValueError):  # not a process, or it ended meanwhile
            above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            found.setdefault(above, []).append(int(entry.name))
    return found
