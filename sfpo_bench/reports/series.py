"""The metrics that a run recorded at its steps: one `Series` per key, `entropy`, `fast_1/clip_fraction`, …"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfpo_bench.core.types import JournalRecord, StepRecord
from sfpo_bench.results.run_tables import curve_rows

Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """`values[i]` was recorded at step `steps[i]`; steps are increasing. Infinities and NaN are kept."""

    steps: Integers
    values: Floats

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        return np.array_equal(self.steps, other.steps) and np.array_equal(self.values, other.values, equal_nan=True)

    def up_to(self, step: int) -> Series:
        """Return the values recorded up to and including that step."""
        kept = self.steps <= step
        return self if kept.all() else Series(self.steps[kept], self.values[kept])

    __hash__ = None  # type: ignore[assignment]  # arrays can change


def series(steps: Sequence[int] | Integers, values: Sequence[float] | Floats) -> Series:
    """Return a series from unsorted records; of several values at one step the last one is kept."""
    at, numbers = np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64)
    if len(at) > 1 and not np.all(at[1:] > at[:-1]):
        order = np.argsort(at, kind="stable")
        at, numbers = at[order], numbers[order]
        last = np.append(at[1:] != at[:-1], True)
        at, numbers = at[last], numbers[last]
    return Series(at, numbers)


def series_of_journal(records: Iterable[JournalRecord]) -> dict[str, Series]:
    """Return every metric of the step records by key, including those of the passes."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for record in records:
        if isinstance(record, StepRecord):
            for row in curve_rows(record):
                steps, values = found.setdefault(row.key, ([], []))
                steps.append(row.step)
                values.append(row.value)
    return {key: series(steps, values) for key, (steps, values) in found.items()}


def series_by_key(names: Sequence[str], codes: Integers, steps: Integers, values: Floats) -> dict[str, Series]:
    """Return one series per key of a long table: row i has key `names[codes[i]]`; rows are in recording order."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    parts = np.split(order, ends[:-1]) if len(names) else []
    return {name: series(steps[part], values[part]) for name, part in zip(names, parts, strict=True) if len(part)}


def wide(
    runs: Iterable[Mapping[str, Series]], key: str
) -> tuple[Integers, np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Return the steps at which any of `runs` recorded `key`, and one row of values per such run, NaN where missing."""
    held = [run[key] for run in runs if key in run]
    steps = np.unique(np.concatenate([one.steps for one in held])) if held else np.empty(0, dtype=np.int64)
    rows = np.full((len(held), len(steps)), np.nan)
    for row, one in zip(rows, held, strict=True):
        row[np.searchsorted(steps, one.steps)] = one.values
    return steps, rows
