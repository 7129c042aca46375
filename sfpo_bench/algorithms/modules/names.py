"""Names of modules; one name may stand for several numbered ones."""

from __future__ import annotations

import re


def numbered(name: str, count: int) -> tuple[str, ...]:
    """The names `<name>_1` to `<name>_<count>`."""
    return tuple(f"{name}_{number}" for number in range(1, count + 1))


def answers_to(module: str, name: str) -> bool:
    """True where the module has this name or a numbered form of it: `critic_2` matches `critic`."""
    return re.fullmatch(f"{re.escape(name)}(_[0-9]+)?", module) is not None
