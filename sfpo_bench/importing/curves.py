"""Converts a log's rows to evaluations with costs, and to metrics of the training steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from sfpo_bench.core.costs import CostAxis, Costs
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import EvaluationRecord, Split, StepRecord
from sfpo_bench.importing.costs import StatedCosts, Total, named, totals
from sfpo_bench.importing.fields import Fields
from sfpo_bench.importing.log import RunLog, in_order
from sfpo_bench.results.run_folder import RunState


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run in this package's form. `axes` are the costs that its log has for every evaluation; the others are 0.

    `notes` list what was left out of the log.
    """

    arm: str
    seed: int
    source: str
    state: RunState
    evaluations: tuple[EvaluationRecord, ...]
    steps: tuple[StepRecord, ...]
    axes: frozenset[str]
    notes: tuple[str, ...]


def imported_run(
    log: RunLog, fields: Fields, stated: StatedCosts, scale: float = 1.0, temperature: float = 1.0
) -> ImportedRun:
    """Return the run of a log; accuracies are multiplied by `scale`, 0.01 for percent.

    Totals are interpolated linearly at the steps of evaluations. If only the last evaluation is after the last record
    of a cost, it is dropped; if several are, the cost is dropped. Raises `ConfigError`, with the place, for decreasing
    steps, two values at one step, an accuracy or cost that is not a finite number, an accuracy outside [0, 1], a
    decreasing cost, and a log without evaluations.
    """
    log = in_order(log)
    _check_order(log)
    found = [(step, value * scale, place) for step, value, place in named(log, fields.accuracy)]
    _check_accuracies(log, fields, found)
    known = totals(log, fields, stated)
    last = found[-1][0]
    late = {axis: sum(total.at(step) is None for step, _, _ in found) for axis, total in known.items()}
    notes = [*log.notes, *_ends_early(log, [step for step, _, _ in found]), *_unread_metrics(log, fields)]
    notes += [f"{log.source}: {axis} ends at step {known[axis].steps[-1]}" for axis, count in late.items() if count > 1]
    known = {axis: total for axis, total in known.items() if late[axis] <= 1}
    if 1 in late.values() and len(found) > 1:
        notes.append(f"{log.source}: the evaluation at step {last} is left out, no cost was logged by then")
        found = [one for one in found if one[0] < last]
    sizes = {step: (value, place) for step, value, place in named(log, fields.n)}
    evaluations = tuple(
        _evaluation(step, accuracy, _size(sizes, step, stated), _costs(known, step), temperature)
        for step, accuracy, _ in found
    )
    axes = frozenset(axis for axis, total in known.items() if all(total.at(step) is not None for step, _, _ in found))
    return ImportedRun(
        log.arm, log.seed, log.source, log.state, evaluations, _steps(log, fields, known), axes, tuple(notes)
    )


def _evaluation(step: int, accuracy: float, n: int, costs: Costs, temperature: float) -> EvaluationRecord:
    """Return an evaluation of which a log has only accuracy and size."""
    return EvaluationRecord(
        step=step,
        time_unix_s=0.0,
        costs=costs,
        split=Split.report,
        mode="sampled",
        temperature=temperature,
        accuracy=accuracy,
        n=n,
        problems=0,
        statuses={},
        truncated=0,
        seconds=0.0,
    )


def _check_order(log: RunLog) -> None:
    before = 0
    for row in log.rows:
        if row.step < before:
            raise ConfigError(
                f"{row.place}: step {row.step} comes after step {before} in arm {log.arm!r}, seed {log.seed}; expected "
                "increasing steps: sort the rows, or separate the runs with arm=NAME seed=NAME. If the run was "
                "resumed, use the later rows: later_wins=true"
            )
        before = row.step


def _ends_early(log: RunLog, steps: list[int]) -> list[str]:
    """Return a note if the log continues after the last evaluation to where another was due, or further."""
    end, apart = max(row.step for row in log.rows), max((b - a for a, b in pairwise(steps)), default=0)
    if end - steps[-1] < apart or end == steps[-1]:
        return []
    return [
        f"{log.source}: arm {log.arm}, seed {log.seed} continues to step {end}; its last accuracy is of {steps[-1]}"
    ]


def _unread_metrics(log: RunLog, fields: Fields) -> list[str]:
    """Return a note for every metric with values that are not finite numbers; those values are left out."""
    rows = {name: [row for row in log.rows if name in row.unread] for name in fields.metrics}
    return [
        f"{found[0].place}, column {name}: {found[0].unread[name]} is left out, with {len(found) - 1} others like it"
        for name, found in rows.items()
        if found
    ]


def _check_accuracies(log: RunLog, fields: Fields, found: list[tuple[int, float, str]]) -> None:
    if not found:
        raise ConfigError(
            f"{log.source}: arm {log.arm!r}, seed {log.seed} has no {fields.accuracy}; expected at least one"
        )
    for _, value, place in found:
        if not 0 <= value <= 1:
            raise ConfigError(
                f"{place}: {fields.accuracy} is {value:g}; expected a share in [0, 1]: percent=true for percentages"
            )


def _size(sizes: Mapping[int, tuple[float, str]], step: int, stated: StatedCosts) -> int:
    if step not in sizes:
        return stated.evaluation_responses
    value, place = sizes[step]
    if value < 1 or value != int(value):
        raise ConfigError(f"{place}: n is {value:g}; expected a whole number of responses, 1 or more")
    return int(value)


def _costs(known: Mapping[CostAxis, Total], step: int) -> Costs:
    return Costs.of({axis: total.at(step) or 0.0 for axis, total in known.items()})


def _steps(log: RunLog, fields: Fields, known: Mapping[CostAxis, Total]) -> tuple[StepRecord, ...]:
    """Return a record for every step with known metrics; of two values at one step the later one is used."""
    found: dict[int, dict[str, float]] = {}
    for row in log.rows:
        own = {key: row.values[name] for name, key in fields.metrics.items() if name in row.values}
        if own:
            found.setdefault(row.step, {}).update(own)
    return tuple(StepRecord(step, 0.0, _costs(known, step), metrics, ()) for step, metrics in sorted(found.items()))
