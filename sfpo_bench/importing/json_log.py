"""A run from a JSON file: the `trainer_state.json` of a Hugging Face trainer, or lines of `{"step": …, "data": {…}}`.

The lines are what verl's file logger writes; lines whose numbers stand beside `step` are read too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.log import LogRow, RunLog

Entry = tuple[str, Mapping[str, object]]


def json_run(path: Path, arm: str, seed: int, step: str = "step", cut_last_line: bool = False) -> RunLog:
    """The run in the file; raises `MissingDataError` without it and `ConfigError` when it is of neither form.

    `cut_last_line`: leave out the last line of a file of lines where it is not whole.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; expected a trainer_state.json, or lines of JSON")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not JSON in UTF-8: {error}") from error
    notes: tuple[str, ...] = ()
    if path.suffix != ".json" and cut_last_line and (whole := _whole_lines(text)) != text:
        notes = (f"{path}: line {whole.count(chr(10)) + 1} was cut off and is left out",)
        text = whole
    entries = list(_history(path, text) if path.suffix == ".json" else _lines(path, text))
    if not entries:
        raise ConfigError(f"{path} holds no logged row; expected at least one")
    return RunLog(arm, seed, str(path), tuple(_row(entry, step, place) for place, entry in entries), notes=notes)


def _whole_lines(text: str) -> str:
    """The text up to its last line, with that one where it is whole."""
    last = text.rstrip("\n").rpartition("\n")[2]
    try:
        json.loads(last)
    except ValueError:
        return text[: text.rfind(last)]
    return text


def _history(path: Path, text: str) -> Iterator[Entry]:
    raw = _parsed(str(path), text)
    history = raw.get("log_history") if isinstance(raw, dict) else None
    if not isinstance(history, list):
        raise ConfigError(f"{path} has no log_history; expected the trainer_state.json of a Hugging Face trainer")
    for number, entry in enumerate(history):
        if not isinstance(entry, dict):
            raise ConfigError(f"{path}, log_history[{number}] is no JSON object; expected one with a step and numbers")
        yield f"{path}, log_history[{number}]", entry


def _lines(path: Path, text: str) -> Iterator[Entry]:
    lines = text.split("\n")  # not `splitlines`, which also splits inside of texts
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=0)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        raw = _parsed(place, line, "; a line that was cut off is left out with cut_last_line=true" * (number == last))
        if not isinstance(raw, dict):
            raise ConfigError(f"{place} is no JSON object; expected one with a step and numbers")
        inner = raw.get("data")
        yield place, {**inner, "step": raw.get("step")} if isinstance(inner, dict) else raw


def _parsed(place: str, text: str, hint: str = "") -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is not JSON: {error}{hint}") from error


def _row(entry: Mapping[str, object], step: str, place: str) -> LogRow:
    """Null is not there, as an empty cell is not; truth values, texts and lists are kept as texts."""
    told = {name: value for name, value in entry.items() if name != step and value is not None}
    values = {name: float(value) for name, value in told.items() if _is_number(value)}
    unread = {name: json.dumps(value)[:80] for name, value in told.items() if name not in values}
    return LogRow(_step(entry, step, place), values, place, unread)


def _step(entry: Mapping[str, object], name: str, place: str) -> int:
    value = entry.get(name)
    if not _is_number(value) or value != int(value) or value < 0:
        raise ConfigError(f"{place}: {name} is {value!r}; expected a whole number, 0 or more (step=NAME names another)")
    return int(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    """True for a number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the floats
        return False
