"""Reads runs from a CSV file with one row per evaluation, identified by `arm` and `seed` columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.entries import STEP_NAMES
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import LogRow, RunLog, number, whole_number
from sfpo_bench.importing.naming import Names
from sfpo_bench.importing.reader import Given, Separator, TextFormat


@dataclass(frozen=True, slots=True)
class _Keys:
    """Names of the columns with step, arm and seed. A file without arm and seed columns is one run."""

    step: str
    arm: str
    seed: str


def _keys(names: Names, header: Sequence[str]) -> _Keys:
    step = names.step or next((name for name in STEP_NAMES if name in header), STEP_NAMES[0])
    return _Keys(step, names.arm or "arm", names.seed or "seed")


class CsvFile:
    """Reader for tables with one row per evaluation."""

    kind = "a CSV file"
    looked_for = "a header with a step, then rows"
    preset = Preset.own
    settings = frozenset({"separator", "decimal", "step", "arm", "seed", "cut_last_line"})
    in_folders = False

    def recognises(self, path: Path, head: bytes) -> bool:
        first = head.partition(b"\n")[0]
        has_cells = any(one.character.encode() in first for one in Separator)
        return b"\0" not in head and (has_cells or path.suffix in (".csv", ".tsv"))

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        arm, seed = given.arm or "run", given.seed or 0
        return [log for path in files for log in csv_runs(path, given.names, arm, seed, given.form)]


@dataclass(frozen=True, slots=True)
class _Line:
    place: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Table:
    keys: _Keys
    lines: tuple[_Line, ...]
    notes: tuple[str, ...]


def csv_runs(path: Path, names: Names, arm: str = "run", seed: int = 0, form: TextFormat | None = None) -> list[RunLog]:
    """Return the runs of the file, in order of appearance; `arm` and `seed` are used for a file without these columns.

    Empty cells are skipped. A cell that is not a finite number is kept as text, and is an error only if that number is
    needed. Raises `MissingDataError` if there is no file, and `ConfigError`, with the line, for a file that is not a
    table, a row with another number of cells than the header, a missing column, a step or seed that is not an integer,
    and an empty arm.
    """
    form = form or TextFormat()
    table = _read(path, names, form)
    keys = table.keys
    if not table.lines:
        raise ConfigError(f"{path} has a header and no rows; expected at least one")
    found: dict[tuple[str, int], list[LogRow]] = {}
    for line in table.lines:
        found.setdefault(_run_of(line, keys, (arm, seed), form), []).append(_row(line, keys, form))
    return [RunLog(name, own, str(path), tuple(rows), notes=table.notes) for (name, own), rows in found.items()]


def _read(path: Path, names: Names, form: TextFormat) -> _Table:
    """Return the stripped cells by the names in the header; empty rows are skipped."""
    text, notes = _text(path, form)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=form.separator.character, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num} is not CSV: {error}") from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    header = tuple(rows[0][1]) if rows else ()
    keys = _keys(names, header)
    _check_header(path, header, keys, names, form)
    body = rows[1:]
    if form.cut_last_line and body and len(body[-1][1]) < len(header):
        notes += (f"{path}: line {body[-1][0]} was cut off and is left out",)
        body = body[:-1]
    for line, cells in body:
        _check_length(f"{path}, line {line}", len(cells), len(header), is_last=line == body[-1][0])
    lines = (_Line(f"{path}, line {line}", dict(zip(header, cells, strict=True))) for line, cells in body)
    return _Table(keys, tuple(lines), notes)


def _text(path: Path, form: TextFormat) -> tuple[str, tuple[str, ...]]:
    """Return the file's text, without an incomplete last line if requested, and notes on that."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; expected a CSV file with a header")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not form.cut_last_line or not text or text.endswith(("\n", "\r")):
        return text, ()
    whole = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    return whole, (f"{path}: line {whole.count(chr(10)) + 1} was cut off and is left out",)


def _check_length(place: str, cells: int, names: int, is_last: bool) -> None:
    if cells > names:
        raise ConfigError(
            f"{place} has {cells} cells under a header of {names}; expected as many: put cells that hold the separator "
            "into quotes, and say how the file is written where it is not with commas and decimal points: "
            "separator=semicolon or tab, decimal=comma"
        )
    if cells < names:
        cut = "; a last line that was cut off is left out with cut_last_line=true" if is_last else ""
        raise ConfigError(
            f"{place} has {cells} cells under a header of {names}; expected as many, empty ones where a number is not "
            f"known{cut}"
        )


def _check_header(path: Path, header: Sequence[str], keys: _Keys, names: Names, form: TextFormat) -> None:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ConfigError(f"{path} has the column {', '.join(twice)} twice; expected every name once")
    other = [one for one in Separator if one is not form.separator and one.character in "".join(header)]
    hint = f"; is it written with another separator? separator={other[0].value}" if other else ""
    if keys.step not in header:
        raise ConfigError(
            f"{path} has no column {keys.step!r}; found {', '.join(header) or 'nothing'}: say which one it is with "
            f"step=NAME{hint}"
        )
    for setting, name in (("arm", names.arm), ("seed", names.seed)):
        if name and name not in header:
            raise ConfigError(
                f"{path} has no column {name!r}; expected {setting}=NAME to be one of {', '.join(header)}"
            )


def _run_of(line: _Line, keys: _Keys, usual: tuple[str, int], form: TextFormat) -> tuple[str, int]:
    """Return arm and seed of a row, or those in `usual` if the file has no such column."""
    arm = line.cells.get(keys.arm, usual[0])
    if not arm:
        raise ConfigError(f"{line.place}, column {keys.arm}: the name of the arm is empty; expected one in every row")
    return arm, _whole(line, keys.seed, form) if keys.seed in line.cells else usual[1]


def _row(line: _Line, keys: _Keys, form: TextFormat) -> LogRow:
    texts = {
        name: text
        for name, text in line.cells.items()
        if name and text and name not in (keys.step, keys.arm, keys.seed)
    }
    read = {name: number(text, form.decimal) for name, text in texts.items()}
    values = {name: value for name, value in read.items() if value is not None}
    unread = {name: text for name, text in texts.items() if read[name] is None}
    return LogRow(_whole(line, keys.step, form), values, line.place, unread)


def _whole(line: _Line, name: str, form: TextFormat) -> int:
    text = line.cells[name]
    value = whole_number(text, form.decimal)
    if value is None or value < 0:
        raise ConfigError(f"{line.place}: {name} is {text!r}; expected a whole number, 0 or more")
    return value
