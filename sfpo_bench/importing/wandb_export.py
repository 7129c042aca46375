"""Reads runs from a chart that W&B exported as CSV: columns `RUN - METRIC`, and their `__MIN` and `__MAX`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import LogRow, RunLog, number
from sfpo_bench.importing.naming import NamedRun, identified
from sfpo_bench.importing.reader import Given

_BETWEEN = " - "
_ENDS = ("__MIN", "__MAX")


class WandbChart:
    """Reader for a W&B chart exported as CSV; the first column is the step, whatever its name."""

    kind = "a chart exported from W&B as CSV"
    looked_for = "columns RUN - METRIC beside RUN - METRIC__MIN"
    preset = Preset.own
    settings = frozenset({"run_name"})
    in_folders = False

    def recognises(self, path: Path, head: bytes) -> bool:
        rest = _cells(head.decode("utf-8-sig", "replace").split("\n", 1)[0])[1:]
        return bool(rest) and all(_BETWEEN in name for name in rest) and any(name.endswith(_ENDS) for name in rest)

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        runs = [one for path in files for one in _chart(path)]
        return identified(runs, given.names, given.arm, given.seed)


def _chart(path: Path) -> list[NamedRun]:
    try:
        lines = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no CSV in UTF-8: {error}") from error
    twice = [name for name in lines[0] if lines[0].count(name) > 1]
    if twice:
        raise ConfigError(
            f"{path} has the column {twice[0]!r} twice: two runs of one name, which nothing tells apart; give each a "
            "name of its own in W&B and export again"
        )
    header, body = lines[0], [(at, cells) for at, cells in enumerate(lines[1:], 2) if any(cells)]
    for at, cells in body:
        if len(cells) != len(header):
            raise ConfigError(
                f"{path}, line {at} has {len(cells)} cells under a header of {len(header)}; expected as many"
            )
    columns = [
        (at, *name.rpartition(_BETWEEN)[::2]) for at, name in enumerate(header) if at and not name.endswith(_ENDS)
    ]
    found = []
    for run in dict.fromkeys(name for _, name, _ in columns):
        own = {metric: at for at, name, metric in columns if name == run}
        source = f"{path}, run {run}"
        rows = tuple(_row(path, at, header[0], cells, own) for at, cells in body if any(cells[i] for i in own.values()))
        found.append(NamedRun(run, {}, RunLog(run, 0, source, rows)))
    return found


def _row(path: Path, at: int, step: str, cells: Sequence[str], own: dict[str, int]) -> LogRow:
    place = f"{path}, line {at}"
    texts = {metric: cells[column].strip() for metric, column in own.items() if cells[column].strip()}
    values = {metric: value for metric, text in texts.items() if (value := number(text)) is not None}
    count = number(cells[0].strip())
    if count is None or count != int(count) or count < 0:
        raise ConfigError(f"{place}: {step} is {cells[0]!r}; expected a whole number, 0 or more")
    return LogRow(int(count), values, place, {metric: text for metric, text in texts.items() if metric not in values})


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line.strip()]), [])
    except csv.Error:
        return []
