"""Lines of MLPerf's logs, `:::MLLOG {json}`: read from and written to text. The owner of the words of that format.

A line stands alone or behind other text, such as the rank that printed it. Its object has `key`, `value`, `metadata`,
`time_ms` and `event_type`; `metadata` of evaluations tells `samples_count`, the samples trained on by then, which for
GRPO are responses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sfpo_bench.core.errors import ConfigError

TOKEN = ":::MLLOG "


class Kind(StrEnum):
    """`event_type` of a line."""

    start = "INTERVAL_START"
    end = "INTERVAL_END"
    point = "POINT_IN_TIME"


class Key(StrEnum):
    """The keys that mean something here."""

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
ARM, STATE = "arm", "state"  # ours: the label of a run's arm, and how the run ended, in `metadata` beside `STATUS`


@dataclass(frozen=True, slots=True)
class Event:
    """One line. `place` says where it stands, for errors."""

    key: str
    value: object
    time_ms: int
    kind: Kind = Kind.point
    metadata: Mapping[str, object] = field(default_factory=dict)
    place: str = ""

    def line(self) -> str:
        """The event as a line of a log."""
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
    """The events of a log; raises `ConfigError`, with the line, for one that is none. A last line that is cut off is
    left out, with a note, where asked for."""
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
            raise ConfigError(f"{place} is not JSON behind {TOKEN.strip()}: {error}{hint}") from error
        yield _event(place, raw)


def _event(place: str, raw: object) -> Event:
    wanted = "expected an object with key, value, metadata, time_ms and event_type"
    if not isinstance(raw, dict) or not {"key", "value", "time_ms"} <= raw.keys():
        raise ConfigError(f"{place}: found {json.dumps(raw)[:80]}; {wanted}")
    kind, metadata, time_ms = raw.get("event_type", Kind.point.value), raw.get("metadata"), raw["time_ms"]
    if kind not in [one.value for one in Kind]:
        raise ConfigError(f"{place}: event_type is {kind!r}; expected one of {', '.join(Kind)}")
    if isinstance(time_ms, bool) or not isinstance(time_ms, (int, float)):
        raise ConfigError(f"{place}: time_ms is {time_ms!r}; expected milliseconds")
    told = metadata if isinstance(metadata, dict) else {}
    return Event(str(raw["key"]), raw["value"], int(time_ms), Kind(kind), told, place)
