"""Converts journal records to MLflow metric points and tags. MLflow itself is not imported.

    reward_mean, entropy, fast_1/loss, report/sampled/accuracy, …   the keys of `curves.parquet`, at the record's step
    prompts, responses, tokens, optimizer_steps, train_seconds,
    total_seconds, cpu_seconds                                      the cost axes, from the first record of each step
    accuracy_by_responses, accuracy_by_train_seconds                the primary accuracy with the cost as MLflow step,
                                                                    because MLflow plots every curve over steps
    event.trigger_fired                                             number of occurrences so far, and its details
                                                                    as event.trigger_fired.z, …; a tag of the same
                                                                    name holds the step of the first occurrence

The points of a record depend only on the journal up to it, so sending them again produces identical rows.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sfpo_bench.core.costs import COST_TYPES, MAIN_AXES
from sfpo_bench.core.types import EvaluationRecord, EventRecord, JournalRecord, Split
from sfpo_bench.results.run_tables import curve_rows

_LONGEST_NAME = 250
# The metrics whose steps are costs, with the cost.
BY_COST = {f"accuracy_by_{axis}": axis for axis in MAIN_AXES}


class MetricPoint(NamedTuple):
    """A value of a metric curve; `time_ms` is the time of the record."""

    key: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True, slots=True)
class PrimaryEvaluation:
    """The evaluation whose accuracy is also plotted over cost."""

    split: Split = Split.report
    mode: str = "sampled"

    def is_shown_by(self, record: JournalRecord) -> bool:
        return isinstance(record, EvaluationRecord) and (record.split, record.mode) == (self.split, self.mode)


@dataclass(frozen=True, slots=True)
class RecordPoints:
    """The MLflow points and tags of a record. `left_out` counts infinities and NaN, which MLflow cannot store."""

    points: tuple[MetricPoint, ...]
    tags: dict[str, str] = field(default_factory=dict)
    left_out: int = 0


def to_points(records: Iterable[JournalRecord], primary: PrimaryEvaluation) -> Iterator[RecordPoints]:
    """Yield the points and tags of each record of a journal, which must start at its beginning."""
    steps_with_costs: set[int] = set()
    events: Counter[str] = Counter()
    for record in records:
        numbers = list(
            _event(record, events) if isinstance(record, EventRecord) else _numbers(record, steps_with_costs)
        )
        numbers += _accuracy_by_cost(record, primary)
        time_ms = round(record.time_unix_s * 1000)
        points = tuple(
            MetricPoint(store_name(key), value, time_ms, step) for key, value, step in numbers if math.isfinite(value)
        )
        yield RecordPoints(points, _first_time(record, events), len(numbers) - len(points))


def store_name(key: str) -> str:
    """Return `key` as a valid MLflow name of at most 250 characters: `lr@0.1[x]` becomes `lr_0.1_x_`."""
    name = re.sub(r"[^\w\-. :/]", "_", key)[:_LONGEST_NAME] or "_"
    plain_path = posixpath.normpath(name) == name and not name.startswith(("/", ".."))
    return name if plain_path and name != "." else re.sub(r"[/.]", "_", name)


def _numbers(record: JournalRecord, steps_with_costs: set[int]) -> Iterator[tuple[str, float, int]]:
    for row in curve_rows(record):
        yield row.key, row.value, record.step
    if record.step in steps_with_costs or isinstance(record, EventRecord):
        return
    steps_with_costs.add(record.step)
    for name in COST_TYPES:
        yield name, float(getattr(record.costs, name)), record.step


def _event(record: EventRecord, events: Counter[str]) -> Iterator[tuple[str, float, int]]:
    events[record.event] += 1
    yield f"event.{record.event}", float(events[record.event]), record.step
    for key, value in record.detail.items():
        yield f"event.{record.event}.{key}", float(value), record.step


def _first_time(record: JournalRecord, events: Counter[str]) -> dict[str, str]:
    if isinstance(record, EventRecord) and events[record.event] == 1:
        return {store_name(f"event.{record.event}"): str(record.step)}
    return {}


def _accuracy_by_cost(record: JournalRecord, primary: PrimaryEvaluation) -> Iterator[tuple[str, float, int]]:
    if isinstance(record, EvaluationRecord) and primary.is_shown_by(record):
        for key, axis in BY_COST.items():
            yield key, record.accuracy, int(record.costs.on(axis))
