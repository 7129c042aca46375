"""Common form of a run's log: rows of numbers."""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sfpo_bench.results.run_folder import RunState


class Decimal(StrEnum):
    """Decimal separator of numbers."""

    point = "point"
    comma = "comma"


_NUMBERS = {
    Decimal.point: re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"),
    Decimal.comma: re.compile(r"[+-]?([0-9]+,?[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?"),
}


def number(text: str, decimal: Decimal = Decimal.point) -> float | None:
    """Return the finite number that `text` is, or None for any other text, such as one with thousands separators."""
    if not _NUMBERS[decimal].fullmatch(text):
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None


def whole_number(text: str, separator: Decimal = Decimal.point) -> int | None:
    """Return the whole number that `text` is, exactly, or None for any other text: 100 for `100`, `100.0` and `1e2`.

    Not through a float: from 2^53 on it is not every whole number, and two seeds would become one.
    """
    if number(text, separator) is None:
        return None
    exact = decimal.Decimal(text.replace(",", "."))
    return int(exact) if exact == exact.to_integral_value() else None


@dataclass(frozen=True, slots=True)
class LogRow:
    """Values logged together at `step`: finite numbers by name. `place` is the location for errors: `line 12`.

    `unread` maps names to the text of values that are not finite numbers.
    """

    step: int
    values: Mapping[str, float]
    place: str
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunLog:
    """A run: its arm, seed, rows in the order of logging, and final state.

    `source` is the file or run, for errors and provenance. `one_value_a_step`: of two values of a name at one step the
    later one is used, as in a tracking store; otherwise they are an error. `notes` list what was left out.
    """

    arm: str
    seed: int
    source: str
    rows: tuple[LogRow, ...]
    state: RunState = RunState.finished
    one_value_a_step: bool = False
    notes: tuple[str, ...] = ()


def in_order(log: RunLog) -> RunLog:
    """Return the log sorted by step if the steps of no number in it go back, else unchanged.

    Some trainers write an evaluation after later training steps; that does not indicate a resume.
    """
    last: dict[str, int] = {}
    for row in log.rows:
        for name in _names(row):
            if row.step < last.get(name, row.step):
                return log
            last[name] = row.step
    return replace(log, rows=tuple(sorted(log.rows, key=lambda row: row.step)))


def as_resumed(log: RunLog) -> RunLog:
    """Return the log without records that a resume undid.

    If the steps of a number go back, all earlier rows from that step on are dropped; of two values at one step the
    later one is used."""
    kept: list[LogRow] = []
    undone: list[LogRow] = []
    last: dict[str, int] = {}
    for row in log.rows:
        if any(row.step < last.get(name, row.step) for name in _names(row)):
            undone += [one for one in kept if one.step >= row.step]
            kept = [one for one in kept if one.step < row.step]
            last = {name: one.step for one in kept for name in _names(one)}
        kept.append(row)
        last |= {name: max(row.step, last.get(name, row.step)) for name in _names(row)}
    steps = [row.step for row in undone]
    notes = (
        [f"{log.source}: {len(undone)} rows of steps {min(steps)} to {max(steps)} were replaced by later ones"]
        if undone
        else []
    )
    rows = tuple(sorted(kept, key=lambda row: row.step))
    return replace(log, rows=rows, one_value_a_step=True, notes=(*log.notes, *notes))


def _names(row: LogRow) -> tuple[str, ...]:
    """Return the names in a row, except the tracker's clock and counter, which are in every row and start with `_`.

    A row without numbers is ordered like other rows without numbers."""
    return tuple(name for name in (*row.values, *row.unread) if not name.startswith("_")) or ("",)
