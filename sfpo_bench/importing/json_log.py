"""Reads a run from a JSON file: a Hugging Face `trainer_state.json`, rows as exported by W&B and pandas, or lines.

Lines are `{"step": …, "data": {…}}`, as written by verl's file logger, or have the numbers beside `step`, as in
prime-rl's `metrics.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.entries import Entry, rows_of
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import LogRow, RunLog
from sfpo_bench.importing.reader import Given

_SUFFIX = ".json"
_PRIME_RL = "progress/"
_WRITTEN = "time"
_CHECKPOINT = "progress/ckpt_step"


def json_run(path: Path, arm: str, seed: int, step: str = "", cut_last_line: bool = False) -> RunLog:
    """Return the run in the file; raises `MissingDataError` if there is none and `ConfigError` for another format.

    `cut_last_line`: drop an incomplete last line of a file of lines.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; expected a trainer_state.json, or lines of JSON")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not JSON in UTF-8: {error}") from error
    notes: tuple[str, ...] = ()
    lines = has_lines(path, text)
    if lines and cut_last_line and (whole := _whole_lines(text)) != text:
        notes = (f"{path}: line {whole.count(chr(10)) + 1} was cut off and is left out",)
        text = whole
    entries = list(_lines(path, text) if lines else _document(path, text))
    if not entries:
        raise ConfigError(f"{path} holds no logged row; expected at least one")
    for name in ("arm", "seed"):
        found = list(dict.fromkeys(str(row[name]) for _, row in entries if row.get(name) is not None))
        if len(found) > 1:
            raise ConfigError(
                f"{path} holds rows of several runs: {name} is {', '.join(found[:5])}; expected one run in a file of "
                "JSON. Write a file for each, or all of them as CSV with arm=NAME seed=NAME"
            )
    return RunLog(arm, seed, str(path), rows_of(entries, step), notes=notes)


def has_lines(path: Path, text: str) -> bool:
    """Return True if a JSON file has one object per line; if its first line does not show this, the suffix decides."""
    first, _, rest = text.strip().partition("\n")
    if path.suffix != _SUFFIX:
        return not first.lstrip().startswith("[") and (not _is_whole(first) or "log_history" not in json.loads(first))
    return bool(rest.strip()) and _is_whole(first)


def _is_whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _whole_lines(text: str) -> str:
    """Return the text without its last line if that is incomplete."""
    last = text.rstrip("\n").rpartition("\n")[2]
    return text if _is_whole(last) else text[: text.rfind(last)]


def _document(path: Path, text: str) -> Iterator[Entry]:
    raw = _parsed(str(path), text)
    history = raw.get("log_history") if isinstance(raw, dict) else raw
    if isinstance(raw, dict) and raw and all(isinstance(column, dict) for column in raw.values()):
        yield from _columns(path, raw)
        return
    if not isinstance(history, list):
        raise ConfigError(
            f"{path} has no log_history; expected the trainer_state.json of a Hugging Face trainer, or rows: a list of "
            "JSON objects"
        )
    what = "log_history" if isinstance(raw, dict) else "row "
    for number, entry in enumerate(history):
        place = f"{path}, {what}[{number}]" if isinstance(raw, dict) else f"{path}, {what}{number}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{place} is no JSON object; expected one with a step and numbers")
        yield place, entry


def _columns(path: Path, columns: Mapping[str, Mapping[str, object]]) -> Iterator[Entry]:
    """Yield the rows of pandas' JSON: columns that map row labels to values."""
    for label in dict.fromkeys(label for column in columns.values() for label in column):
        yield f"{path}, row {label}", {name: column.get(label) for name, column in columns.items()}


def _lines(path: Path, text: str) -> Iterator[Entry]:
    lines = text.split("\n")  # `splitlines` would also split at separators inside strings
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


class JsonFile:
    """Reader for JSON files with one run each."""

    kind = "a JSON file"
    looked_for = "trainer_state.json, rows, or an object a line"
    preset = Preset.own
    settings = frozenset({"step", "cut_last_line"})
    in_folders = False

    def recognises(self, path: Path, head: bytes) -> bool:
        return path.suffix in (_SUFFIX, ".jsonl") or head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        arm, seed = given.arm or "run", given.seed or 0
        return [json_run(path, arm, seed, given.names.step, given.form.cut_last_line) for path in files]


class PrimeRlFile(JsonFile):
    """Reader for prime-rl's `metrics.jsonl`.

    prime-rl counts steps from 0 (older versions) or 1 and logs a step's totals at its end, while an evaluation at step
    s is of the policy after s steps. If steps count from 0, training metrics are shifted by one step. The key `time` is
    dropped, because every line has it and evaluations are written late. prime-rl omits non-finite values itself.
    """

    kind = "a metrics.jsonl of prime-rl"
    looked_for = f"lines of JSON with names that begin with {_PRIME_RL}"
    preset = Preset.prime_rl

    def recognises(self, path: Path, head: bytes) -> bool:
        return head[:1] == b"{" and f'"{_PRIME_RL}'.encode() in head

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        return [replace(log, rows=_ends_of_steps(log.rows)) for log in super().runs(root, files, given)]


def _ends_of_steps(rows: Sequence[LogRow]) -> tuple[LogRow, ...]:
    # An evaluation may say which checkpoint it is of.
    is_training = [any(name.startswith(_PRIME_RL) and name != _CHECKPOINT for name in row.values) for row in rows]
    first = min((row.step for row, own in zip(rows, is_training, strict=True) if own), default=1)
    later = 1 if first == 0 else 0
    return tuple(
        replace(row, step=row.step + later * own, values={n: v for n, v in row.values.items() if n != _WRITTEN})
        for row, own in zip(rows, is_training, strict=True)
    )
