"""Names of modules: one name may stand for several, which are numbered."""

from __future__ import annotations

import re


def numbered(name: str, count: int) -> tuple[str, ...]:
    """`critic_1` to `critic_<count>`."""
    return tuple(f"{name}_{number}" for number in range(1, count + 1))


def answers_to(module: str, name: str) -> bool:
    """True where the module is called so, or is one of several that are: `critic_2` answers to `critic`."""
    return re.fullmatch(f"{re.escape(name)}(_[0-9]+)?", module) is not None
