"""Read runs from MLPerf's logs: accuracies with the samples and seconds of training before them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing.entries import is_number
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import LogRow, RunLog
from sfpo_bench.importing.mllog import (
    ABORTED,
    ARM,
    EPOCH,
    SAMPLES,
    STATE,
    STATUS,
    STEP,
    SUCCESS,
    TOKEN,
    Event,
    Key,
    events,
)
from sfpo_bench.importing.naming import NamedRun, identified
from sfpo_bench.importing.reader import Given
from sfpo_bench.results.run_folder import RunState

# A value that is added to an evaluation's row; the preset `mllog` of `fields.py` reads it.
SECONDS = "train_seconds"
# An aborted run missed its target but was complete. Our own logs have the state in addition.
_STATES = {SUCCESS: RunState.finished, ABORTED: RunState.finished, RunState.failed.value: RunState.failed}
_BEFORE_RUN = (Key.cache_clear, Key.init_start, Key.benchmark)


class MlperfLog:
    """Reader for a log of MLPerf, with one run or several in sequence, or a folder of such logs."""

    kind = "a log of MLPerf"
    looked_for = f"lines with {TOKEN}{{…}}"
    preset = Preset.mllog
    settings = frozenset({"run_name", "arm", "seed", "cut_last_line"})
    in_folders = True

    def recognises(self, path: Path, head: bytes) -> bool:
        return TOKEN.encode() in head

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        runs = [one for path in files for one in _runs(path, given.form.cut_last_line)]
        return identified(runs, given.names, given.arm, given.seed)


def _runs(path: Path, cut_last_line: bool) -> list[NamedRun]:
    notes: list[str] = []
    text = path.read_bytes().decode("latin-1")  # the encoding of MLPerf's own checker
    parts: list[list[Event]] = [[]]
    for event in events(str(path), text, cut_last_line, notes):
        if event.key in _BEFORE_RUN and any(one.key == Key.run_start for one in parts[-1]):
            parts.append([])
        parts[-1].append(event)
    names = [path.stem if len(parts) == 1 else f"{path.stem}#{number}" for number in range(len(parts))]
    return [_run(path, name, part, notes) for name, part in zip(names, parts, strict=True)]


@dataclass(slots=True)
class _Clock:
    """Seconds since `run_start`, excluding evaluations.

    `is_running` is false for a log in which all lines have the same time: it has no time information.
    """

    is_running: bool
    began_ms: int | None = None
    evaluating_ms: int = 0
    evaluation_began_ms: int | None = None

    def see(self, event: Event) -> None:
        if event.key == Key.run_start:
            self.began_ms = event.time_ms
        elif event.key == Key.eval_start and self.evaluation_began_ms is None:
            self.evaluation_began_ms = event.time_ms
        elif event.key == Key.eval_stop and self.evaluation_began_ms is not None:
            self.evaluating_ms += event.time_ms - self.evaluation_began_ms
            self.evaluation_began_ms = None

    def seconds(self, event: Event) -> float | None:
        if self.began_ms is None or not self.is_running:
            return None
        now_ms = event.time_ms if self.evaluation_began_ms is None else self.evaluation_began_ms
        return (now_ms - self.began_ms - self.evaluating_ms) / 1000


@dataclass(slots=True)
class _Part:
    told: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    rows: list[tuple[float, LogRow]] = field(default_factory=list)
    state: RunState = RunState.running


def _run(path: Path, name: str, part: Sequence[Event], notes: Sequence[str]) -> NamedRun:
    found, clock = _Part(), _Clock(is_running=len({event.time_ms for event in part}) > 1)
    for event in part:
        clock.see(event)
        if event.key in (Key.eval_accuracy, Key.tracked_stats):
            found.rows.append(_row(event, clock))
        elif event.key == Key.run_stop:
            status = event.metadata.get(STATE, event.metadata.get(STATUS))
            found.state = (
                RunState.finished if status == RunState.finished else _STATES.get(str(status), RunState.failed)
            )
        elif isinstance(event.value, (str, int, float)):
            found.told.setdefault(event.key, event.value if isinstance(event.value, str) else json.dumps(event.value))
            if is_number(event.value):
                found.numbers.setdefault(event.key, float(event.value))
    if not found.rows:
        raise ConfigError(f"{path}, run {name} has no {Key.eval_accuracy}; expected at least one")
    rows = [_counted(row, step, found) for step, (_, row) in zip(_steps(found), found.rows, strict=True)]
    run_name = found.told.get(ARM) or found.told.get(Key.benchmark) or name
    log = RunLog(
        "", 0, f"{path}, run {name}" if "#" in name else str(path), tuple(rows), found.state, notes=tuple(notes)
    )
    return NamedRun(run_name, found.told, log)


def _steps(part: _Part) -> list[int]:
    """Return the steps of the rows: those in the rows if all have one, else the number of batches, else of samples."""
    told = [row.values.get(STEP) for _, row in part.rows]
    steps = [int(step) for step in told if step is not None and step == int(step)]
    if len(steps) == len(part.rows):
        return steps
    batch = part.numbers.get(Key.batch, 0)
    whole = batch > 0 and all(samples % batch == 0 for samples, _ in part.rows)
    return [int(samples // batch if whole else samples) for samples, _ in part.rows]


def _row(event: Event, clock: _Clock) -> tuple[float, LogRow]:
    """Return the number of samples trained on so far, and the row; its step is set later."""
    samples = event.metadata.get(SAMPLES, event.metadata.get(EPOCH))
    if not is_number(samples) or samples != int(samples) or samples < 0:
        raise ConfigError(
            f"{event.place}: {event.key} has {SAMPLES} {samples!r} in its metadata; expected a whole number, 0 or more"
        )
    stats = event.value if isinstance(event.value, dict) else {str(event.key): event.value}
    told: dict[str, object] = {
        **{name: value for name, value in event.metadata.items() if name not in ("file", "lineno", EPOCH)},
        **stats,
        SAMPLES: samples,
    }
    seconds = clock.seconds(event)
    if seconds is not None:
        told.setdefault(SECONDS, seconds)
    values = {name: float(value) for name, value in told.items() if is_number(value)}
    unread = {name: json.dumps(value)[:80] for name, value in told.items() if name not in values and value is not None}
    return samples, LogRow(0, values, event.place, unread)


def _counted(row: LogRow, step: int, part: _Part) -> LogRow:
    """Return the row with its step. An evaluation without its own `eval_samples` gets the run's value."""
    size = part.numbers.get(Key.eval_samples)
    values = dict(row.values)
    if size is not None and (Key.eval_accuracy in values or Key.eval_accuracy in row.unread):
        values.setdefault(Key.eval_samples, size)
    return LogRow(step, values, row.place, row.unread)
