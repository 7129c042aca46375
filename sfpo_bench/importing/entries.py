"""Converts JSON objects that were logged at once, with the step among their names, to rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing.log import LogRow

# Location in the log, and the values by name.
Entry = tuple[str, Mapping[str, object]]
# Names of the step, most reliable first. `_step` of W&B and Trackio counts rows; it is not the training step if the
# trainer logs that as well, as Hugging Face does in `train/global_step` and prime-rl in `step`.
STEP_NAMES = ("step", "train/global_step", "_step")


def step_name(entries: Sequence[Entry], named: str = "") -> str:
    """Return the name of the step in the entries: `named` if given, else the first of `STEP_NAMES` that occurs."""
    return named or next((name for name in STEP_NAMES if any(name in entry for _, entry in entries)), STEP_NAMES[0])


def rows_of(entries: Sequence[Entry], named: str = "") -> tuple[LogRow, ...]:
    """Return a row for every entry; raises `ConfigError` if a step is not an integer."""
    step = step_name(entries, named)
    return tuple(_row(entry, step, place) for place, entry in entries)


def rows_with_a_step(entries: Sequence[Entry], source: str, named: str = "") -> tuple[tuple[LogRow, ...], list[str]]:
    """Return rows of a tracker's log, whose entries may lack the step, and notes on the entries left out for that."""
    step = step_name(entries, named)
    whole = [one for one in entries if one[1].get(step) is not None]
    lacking = [entry for _, entry in entries if entry.get(step) is None]
    names = list(dict.fromkeys(name for entry in lacking for name in entry if not name.startswith("_")))
    if not names:
        return rows_of(whole, step), []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    note = f"{source}: {len(lacking)} rows without {step} are left out, with {', '.join(names[:5])}{more}; step=NAME"
    return rows_of(whole, step), [note]


def _row(entry: Mapping[str, object], step: str, place: str) -> LogRow:
    """Return a row; null values are skipped, booleans, strings and lists are kept as text."""
    present = {name: value for name, value in entry.items() if name != step and value is not None}
    values = {name: float(value) for name, value in present.items() if is_number(value)}
    unread = {name: json.dumps(value)[:80] for name, value in present.items() if name not in values}
    return LogRow(_step(entry, step, place), values, place, unread)


def _step(entry: Mapping[str, object], name: str, place: str) -> int:
    value = entry.get(name)
    if not is_number(value) or value != int(value) or value < 0:
        raise ConfigError(f"{place}: {name} is {value!r}; expected a whole number, 0 or more (step=NAME names another)")
    return int(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for a number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def flat(value: object, prefix: str = "") -> dict[str, str]:
    """Return settings as text, nested ones as `outer.inner`; names with a leading `_` are the tracker's, skipped."""
    found: dict[str, str] = {}
    for key, own in value.items() if isinstance(value, Mapping) else ():
        if str(key).startswith("_"):
            continue
        if isinstance(own, Mapping):
            found |= flat(own, f"{prefix}{key}.")
        elif own is not None:
            found[f"{prefix}{key}"] = own if isinstance(own, str) else json.dumps(own)
    return found
