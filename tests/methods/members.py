"""Every method of the package by walking what is registered: a new one is met by being there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from enum import Enum
from importlib.resources import files
from itertools import product
from typing import Any

from sfpo_bench.algorithms.kinds import METHODS
from sfpo_bench.algorithms.protocols import Objective
from sfpo_bench.core.plugins import Custom

OBJECTIVE = "algorithm.objective"
PRESETS = sorted(
    entry.name.removesuffix(".yaml")
    for entry in files("sfpo_bench.conf").joinpath("algorithm").iterdir()
    if entry.name.endswith(".yaml")
)


def kinds(key: str) -> dict[str, type]:
    """The registered classes of a group by kind, without those of users."""
    return {kind: cls for kind, cls in METHODS[key].items() if cls is not Custom}


def objectives() -> dict[str, Objective]:
    """Every registered objective at its defaults, and with one setting of few values at another one of them: the kind
    of a node inside it, a name of a choice, on or off. Settings of such a node are changed inside the first one."""
    registered = kinds(OBJECTIVE)
    return {
        f"{kind}{name}": one
        for n, (kind, cls) in enumerate(registered.items())
        for name, one in _changed(cls(), OBJECTIVE, deep=n == 0)
    }


def combined_objectives() -> dict[str, Objective]:
    """Every registered objective with every combination of the kinds of the nodes inside it."""
    found: dict[str, Objective] = {}
    for kind, cls in kinds(OBJECTIVE).items():
        nodes = [entry.name for entry in fields(cls()) if f"{OBJECTIVE}.{entry.name}" in METHODS]
        for chosen in product(*(kinds(f"{OBJECTIVE}.{name}").items() for name in nodes)):
            named = " ".join(f"{name}={inner}" for name, (inner, _) in zip(nodes, chosen, strict=True))
            found[f"{kind} {named}"] = cls(**{name: node() for name, (_, node) in zip(nodes, chosen, strict=True)})
    return found


def _changed(one: Any, key: str, *, deep: bool = False) -> Iterator[tuple[str, Any]]:
    """A method at its defaults and with one setting changed, with what was changed."""
    yield "", one
    for entry in fields(one):
        now, inner = getattr(one, entry.name), f"{key}.{entry.name}"
        values: list[tuple[str, Any]] = []
        if inner in METHODS:
            nodes = ((kind, _changed(cls(), inner) if deep else [("", cls())]) for kind, cls in kinds(inner).items())
            values = [(f"{kind}{more}", node) for kind, each in nodes for more, node in each if node != now]
        elif isinstance(now, Enum):
            values = [(str(value), value) for value in type(now) if value is not now]
        elif isinstance(now, bool):
            values = [(str(not now), not now)]
        for name, value in values:
            yield f" {entry.name}={name}", replace(one, **{entry.name: value})


def why_not_plain(one: Any) -> str:
    """Why the gradient of a method, or of a node inside it, is not A grad log pi where every ratio is one; empty where
    it is."""
    inner = [getattr(one, entry.name) for entry in fields(one)]
    return " ".join(filter(None, (getattr(node, "not_plain", "") for node in (one, *inner))))
