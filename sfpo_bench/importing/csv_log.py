"""Runs from a CSV file: one row per evaluation, columns by name; `arm` and `seed` columns tell the runs apart."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.errors import ConfigError, MissingDataError
from sfpo_bench.importing.log import LogRow, RunLog


@dataclass(frozen=True, slots=True)
class Keys:
    """The columns that say which run and which step a row is of. A file without an arm or seed column is one run."""

    step: str = "step"
    arm: str = "arm"
    seed: str = "seed"


def csv_runs(path: Path, keys: Keys, arm: str = "run", seed: int = 0) -> list[RunLog]:
    """The runs of the file, in the order in which they are met; `arm` and `seed` are those of a file without columns.

    Empty cells are not there; columns of text are left out. Raises `MissingDataError` without the file and
    `ConfigError`, with the line, for a file that is no table, lacks the step, or has a step or seed that is no whole
    number.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} is not there; expected a CSV file with a header")
    with path.open(encoding="utf-8-sig", newline="") as handle:
        try:
            table = csv.DictReader(handle)
            header = list(table.fieldnames or ())
            _check_header(path, header, keys)
            rows = [(f"{path}, line {table.line_num}", row) for row in table]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise ConfigError(f"{path} has a header and no rows; expected at least one")
    names = [name for name in header if name not in (keys.step, keys.arm, keys.seed)]
    texts = {name for name in names if any(not _is_number(row[name]) for _, row in rows if (row[name] or "").strip())}
    numeric = [name for name in names if name not in texts]
    found: dict[tuple[str, int], list[LogRow]] = {}
    for place, row in rows:
        own = _key(row, keys, place, arm, seed)
        found.setdefault(own, []).append(LogRow(_whole(row, keys.step, place), dict(_numbers(row, numeric)), place))
    return [RunLog(name, number, str(path), tuple(own)) for (name, number), own in found.items()]


def _check_header(path: Path, header: list[str], keys: Keys) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ConfigError(f"{path} has the column {', '.join(twice)} twice; expected every name once")
    if keys.step not in header:
        raise ConfigError(
            f"{path} has no column {keys.step!r}; found {', '.join(header) or 'nothing'}: say which one it is with "
            "step=NAME"
        )


def _key(row: Mapping[str, str | None], keys: Keys, place: str, arm: str, seed: int) -> tuple[str, int]:
    name = (row.get(keys.arm) or arm).strip()
    return name, _whole(row, keys.seed, place) if keys.seed in row else seed


def _whole(row: Mapping[str, str | None], name: str, place: str) -> int:
    text = (row[name] or "").strip()
    if not _is_number(text) or float(text) != int(float(text)) or float(text) < 0:
        raise ConfigError(f"{place}: {name} is {text!r}; expected a whole number, 0 or more")
    return int(float(text))


def _numbers(row: Mapping[str, str | None], names: list[str]) -> Iterator[tuple[str, float]]:
    for name in names:
        text = (row[name] or "").strip()
        if text:
            yield name, float(text)


def _is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or ""))
    except ValueError:
        return False
