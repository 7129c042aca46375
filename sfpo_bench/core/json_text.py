"""Reads JSON that somebody wrote by hand or by a program, and nothing that JSON does not have."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from sfpo_bench.core.errors import ConfigError


def strict_json(text: str) -> object:
    """The value of a JSON text.

    Raises `ValueError`, with what was found, also for what Python's reader takes in silence: NaN and Infinity, a number
    too large for a float, and a name twice in one object.
    """
    return json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_distinct)


def json_object(text: str, where: str, such_as: str = "such as {...}") -> dict[str, Any]:
    """The object of a line of JSON; raises `ConfigError`, with `where`, for anything else. `such_as` describes one."""
    try:
        row = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: found no JSON ({error}), expected one object per line") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: found a JSON {type(row).__name__}, expected an object {such_as}")
    return row


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text:.40} is too large")
    return value


def _distinct(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found
