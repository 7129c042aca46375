"""Parse and write lines of MLPerf's logs, `:::MLLOG {json}`. All names of that format are defined here.

Other text may come before the token, such as the rank that printed the line. The object has `key`, `value`, `metadata`,
`time_ms` and `event_type`. The metadata of an evaluation has `samples_count`, the number of samples trained on so far;
for GRPO these are responses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sfpo_bench.core.errors import ConfigError

TOKEN = ":::MLLOG "


class EventType(StrEnum):
    """The `event_type` of a line."""

    start = "INTERVAL_START"
    end = "INTERVAL_END"
    point = "POINT_IN_TIME"


class Key(StrEnum):
    """The keys that are read or written here."""

    cache_clear = "cache_clear"
    init_start = "init_start"
    init_stop = "init_stop"
    run_start = "run_start"
    run_stop = "run_stop"
    block_start = "block_start"
    block_stop = "block_stop"
    eval_start = "eval_start"
    eval_stop = "eval_stop"
    eval_accuracy = "eval_accuracy"
    eval_samples = "eval_samples"
    train_samples = "train_samples"
    tracked_stats = "tracked_stats"
    benchmark = "submission_benchmark"
    batch = "global_batch_size"
    seed = "seed"


SAMPLES, EPOCH, STATUS, STEP = "samples_count", "epoch_num", "status", "step"  # of `metadata`
SUCCESS, ABORTED = "success", "aborted"  # of `STATUS`
TARGET = "target_accuracy"
# Our additions: the label of a run's arm, and in `metadata` the final state of the run.
ARM, STATE = "arm", "state"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a log. `place` is its location, for errors."""

    key: str
    value: object
    time_ms: int
    kind: EventType = EventType.point
    metadata: Mapping[str, object] = field(default_factory=dict)
    place: str = ""

    def line(self) -> str:
        """Return the event as a line of a log."""
        raw = {
            "namespace": "",
            "time_ms": self.time_ms,
            "event_type": self.kind.value,
            "key": str(self.key),
            "value": self.value,
            "metadata": dict(self.metadata),
        }
        return TOKEN + json.dumps(raw)


def events(source: str, text: str, cut_last_line: bool, notes: list[str]) -> Iterator[Event]:
    """Yield the events of a log. Raises `ConfigError`, with the line, for an invalid one.

    With `cut_last_line` an incomplete last line is dropped, with a note.
    """
    lines = [(at, line) for at, line in enumerate(text.split("\n"), 1) if TOKEN in line]
    for at, line in lines:
        place, content = f"{source}, line {at}", line[line.index(TOKEN) + len(TOKEN) :].strip()
        try:
            raw = json.loads(content)
        except (ValueError, RecursionError) as error:
            if at == lines[-1][0] and cut_last_line:
                notes.append(f"{source}: line {at} was cut off and is left out")
                return
            hint = "; a line that was cut off is left out with cut_last_line=true" if at == lines[-1][0] else ""
            raise ConfigError(f"{place} is not JSON after {TOKEN.strip()}: {error}{hint}") from error
        yield _event(place, raw)


def _event(place: str, raw: object) -> Event:
    wanted = "expected an object with key, value, metadata, time_ms and event_type"
    if not isinstance(raw, dict) or not {"key", "value", "time_ms"} <= raw.keys():
        raise ConfigError(f"{place}: found {json.dumps(raw)[:80]}; {wanted}")
    kind, metadata, time_ms = raw.get("event_type", EventType.point.value), raw.get("metadata"), raw["time_ms"]
    if kind not in [one.value for one in EventType]:
        raise ConfigError(f"{place}: event_type is {kind!r}; expected one of {', '.join(EventType)}")
    if isinstance(time_ms, bool) or not isinstance(time_ms, (int, float)) or not math.isfinite(time_ms):
        raise ConfigError(f"{place}: time_ms is {time_ms!r}; expected milliseconds")
    told = metadata if isinstance(metadata, dict) else {}
    return Event(str(raw["key"]), raw["value"], int(time_ms), EventType(kind), told, place)
