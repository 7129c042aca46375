"""A run from a JSON file: the `trainer_state.json` of a Hugging Face trainer, or lines of `{"step": …, "data": {…}}`.

The lines are what verl's file logger writes; lines whose numbers stand beside `step` are read too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from sfpo_bench.errors import ConfigError, MissingDataError
from sfpo_bench.importing.log import LogRow, RunLog


def json_run(path: Path, arm: str, seed: int, step: str = "step") -> RunLog:
    """The run in the file; raises `MissingDataError` without it and `ConfigError` when it is of neither form."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; expected a trainer_state.json, or lines of JSON")
    text = path.read_text(encoding="utf-8", errors="replace")
    entries = list(_history(path, text) if path.suffix == ".json" else _lines(path, text))
    if not entries:
        raise ConfigError(f"{path} holds no logged row; expected at least one")
    rows = tuple(LogRow(_step(entry, step, place), _numbers(entry, step), place) for place, entry in entries)
    return RunLog(arm, seed, str(path), rows)


def _history(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    raw = _parsed(str(path), text)
    history = raw.get("log_history") if isinstance(raw, dict) else None
    if not isinstance(history, list):
        raise ConfigError(f"{path} has no log_history; expected the trainer_state.json of a Hugging Face trainer")
    for number, entry in enumerate(history):
        if isinstance(entry, dict):
            yield f"{path}, log_history[{number}]", entry


def _lines(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        raw = _parsed(place, line)
        if not isinstance(raw, dict):
            raise ConfigError(f"{place} is no JSON object; expected one with a step and numbers")
        inner = raw.get("data")
        yield place, {**inner, "step": raw.get("step")} if isinstance(inner, dict) else raw


def _parsed(place: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{place} is not JSON: {error}") from error


def _step(entry: Mapping[str, object], name: str, place: str) -> int:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < 0:
        raise ConfigError(f"{place}: {name} is {value!r}; expected a whole number, 0 or more (step=NAME names another)")
    return int(value)


def _numbers(entry: Mapping[str, object], step: str) -> dict[str, float]:
    """The finite numbers; texts, lists and what was not a number when it was logged are not there."""
    return {
        name: float(value)
        for name, value in entry.items()
        if name != step and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
