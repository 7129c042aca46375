"""A run's metrics as read from `curves.parquet` or from MLflow's metric histories, and their conversion to records.

Both give the same `Numbers`. The Parquet file is exact. The history lacks infinite and NaN values, and its
`total_seconds` of an evaluation is that of the previous training step, a few milliseconds less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfpo_bench.core.costs import COST_TYPES, Costs
from sfpo_bench.core.types import EvaluationRecord, EventRecord, JournalRecord, Split
from sfpo_bench.reports.series import Series, series, series_by_key
from sfpo_bench.results.parquet import read_parquet
from sfpo_bench.tracking.points import store_name
from sfpo_bench.tracking.store import MARKER
from sfpo_bench.tracking.stored_runs import History

_EVALUATION = re.compile(rf"({'|'.join(Split)})/([^/]+)/(.+)")
_FIELDS = ("accuracy", "n", "problems", "truncated", "temperature", "seconds")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The metrics of a run. `costs` (cost axes) and `times` (time stamps) are given at the steps of its evaluations."""

    metrics: Mapping[str, Series]
    evaluations: Mapping[str, Series]
    events: Mapping[str, Series]
    costs: Mapping[str, Series]
    times: Mapping[str, Series]

    def records(self) -> list[JournalRecord]:
        """Return the evaluations, sorted by split, mode and step, and the events."""
        found: list[JournalRecord] = [
            EventRecord(int(step), 0.0, event) for event, one in self.events.items() for step in one.steps
        ]
        for key in self.evaluations:
            named = _EVALUATION.fullmatch(key)
            if named and named[3] == "accuracy":
                found += self._evaluations(Split(named[1]), named[2])
        return found

    def _evaluations(self, split: Split, mode: str) -> list[JournalRecord]:
        start = f"{split}/{mode}/"
        own = {key.removeprefix(start): _by_step(one) for key, one in self.evaluations.items() if key.startswith(start)}
        costs = {axis: _by_step(self.costs[axis]) for axis in COST_TYPES}
        times = _by_step(self.times[f"{start}accuracy"])
        statuses = [name for name in own if name not in _FIELDS]
        return [
            EvaluationRecord(
                step=step,
                time_unix_s=times[step],
                costs=_costs({axis: values[step] for axis, values in costs.items()}),
                split=split,
                mode=mode,
                temperature=own["temperature"][step],
                accuracy=accuracy,
                n=int(own["n"][step]),
                problems=int(own["problems"][step]),
                statuses={name: int(own[name][step]) for name in statuses if step in own[name]},
                truncated=int(own["truncated"][step]),
                seconds=own["seconds"][step],
            )
            for step, accuracy in own["accuracy"].items()
        ]

    def agrees_with(self, latest: Mapping[str, float]) -> bool:
        """Return True if keys and last values equal those that the store reports as `latest`."""
        last = {store_name(key): _last_finite(one) for key, one in {**self.metrics, **self.evaluations}.items()}
        known = {key: value for key, value in last.items() if value is not None}
        return known == {key: value for key, value in latest.items() if not _is_derived(key)}


def numbers_of_parquet(content: bytes) -> Numbers:
    """Return the metrics in a `curves.parquet`; raises `ValueError` or `KeyError` for another file."""
    columns = ["step", "kind", "key", "value", "time_unix_s", *COST_TYPES]
    return numbers_of_table(read_parquet(content, columns, categories=["kind", "key"]))


def numbers_of_table(table: Any) -> Numbers:
    """Return the metrics in an Arrow table of the same columns, with kinds and keys dictionary-encoded."""
    table = table.unify_dictionaries().combine_chunks()
    kind_codes, kinds = _codes(table["kind"])
    codes, names = _codes(table["key"])
    steps, values = table["step"].to_numpy(), table["value"].to_numpy()
    rows = {kind: np.flatnonzero(kind_codes == code) for code, kind in enumerate(kinds)}
    nothing = np.empty(0, dtype=np.int64)

    def of(*wanted: str) -> dict[str, Series]:
        own = np.sort(np.concatenate([rows.get(kind, nothing) for kind in wanted]))
        return series_by_key(names, codes[own], steps[own], values[own])

    evaluated = rows.get("evaluation", nothing)
    at = steps[evaluated]
    times = table["time_unix_s"].to_numpy()[evaluated]
    events = {event: one for event, one in of("event").items() if "." not in event}
    return Numbers(
        metrics=of("step", "stage"),
        evaluations=of("evaluation"),
        events=events,
        costs={axis: series(at, table[axis].to_numpy()[evaluated].astype(np.float64)) for axis in COST_TYPES},
        times=series_by_key(names, codes[evaluated], at, times),
    )


def numbers_of_history(history: History) -> Numbers:
    """Return the metrics in a run's metric history."""
    number_of: dict[str, int] = {}
    codes = np.array([number_of.setdefault(key, len(number_of)) for key in history.keys], dtype=np.int64)
    names, steps = list(number_of), np.asarray(history.steps, dtype=np.int64)
    found = series_by_key(names, codes, steps, np.asarray(history.values, dtype=np.float64))
    evaluated = {key for key in found if _EVALUATION.fullmatch(key)}
    mask = np.isin(codes, [number_of[key] for key in evaluated])
    times = np.asarray(history.times_ms, dtype=np.float64)[mask] / 1000
    events = {key.removeprefix("event."): one for key, one in found.items() if re.fullmatch(r"event\.[^.]+", key)}
    return Numbers(
        metrics={key: one for key, one in found.items() if key not in evaluated and not _is_derived(key)},
        evaluations={key: found[key] for key in found if key in evaluated},
        events=events,
        costs={axis: found[axis] for axis in COST_TYPES if axis in found},
        times=series_by_key(names, codes[mask], steps[mask], times),
    )


def _codes(column: object) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """Return a dictionary-encoded column of one chunk as codes and names."""
    chunk = column.combine_chunks()  # type: ignore[attr-defined]  # pyarrow ships no types
    return chunk.indices.to_numpy().astype(np.int64), chunk.dictionary.to_pylist()


def _is_derived(key: str) -> bool:
    """Return True for keys that a delivery adds: cost axes, accuracy over cost, events, the marker."""
    return key in COST_TYPES or key == MARKER or key.startswith(("event.", "accuracy_by_"))


def _last_finite(one: Series) -> float | None:
    finite = one.values[np.isfinite(one.values)]
    return float(finite[-1]) if len(finite) else None


def _by_step(one: Series) -> dict[int, float]:
    return dict(zip(one.steps.tolist(), one.values.tolist(), strict=True))


def _costs(values: Mapping[str, float]) -> Costs:
    if not all(math.isfinite(value) for value in values.values()):
        raise ValueError(f"found costs {values}; expected finite ones")
    return Costs.of(values)
