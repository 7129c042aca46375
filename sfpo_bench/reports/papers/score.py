"""A cell of a paper's table: the score of an arm on a benchmark at a checkpoint.

`scores.csv` of a study has one row per model, arm, checkpoint and benchmark, and one per average.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from sfpo_bench.core.errors import BenchError, MissingDataError
from sfpo_bench.results.csv_text import rows_csv, text_of
from sfpo_bench.results.names import PAPER_SCORES_TABLE
from sfpo_bench.results.stored_files import write_atomically

AVERAGE = "average"


class PaperCheckpoint(StrEnum):
    """Which weights of a run were scored.

    `last`: after the last step. `best_on_select`: the best kept checkpoint on select problems. `equal_budget`: at the
    largest budget that all arms share on one axis. `best_on_report`: the best on the benchmarks shown, as in many
    published tables; studies do not use it. `start`: the model before training. `unknown`: not stated.
    """

    last = "last"
    best_on_select = "best_on_select"
    equal_budget = "equal_budget"
    best_on_report = "best_on_report"
    start = "start"
    unknown = "unknown"


@dataclass(frozen=True, slots=True)
class PaperScore:
    """A score in [0, 1] (shares, not percent). Unknown or inapplicable fields are None.

    `benchmark` is a name in `evaluations/benchmarks` or `average`, which weights benchmarks equally. `low` to `high` is
    the 95 % interval over problems, and over training seeds if there are several. `difference` is this arm minus
    `baseline` at the same checkpoint, paired by problem; None for the baseline. `p_value` is from a permutation test,
    `p_holm` is adjusted by Holm over benchmarks (None for the average). `smallest_detectable`: the smallest true
    difference found with 80 % power. `steps` and `budget` (of `axis`, such as `responses`) are means over seeds.
    `source` is empty for own measurements, else the publication.
    """

    model: str
    arm: str
    checkpoint: PaperCheckpoint
    benchmark: str
    avg_at_k: float
    low: float | None = None
    high: float | None = None
    problems: int | None = None
    seeds: int | None = None
    samples: int | None = None
    baseline: str = ""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    smallest_detectable: float | None = None
    truncated_share: float | None = None
    no_answer_share: float | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    prompt: str = ""
    steps: float | None = None
    budget: float | None = None
    axis: str = ""
    source: str = ""


PAPER_COLUMNS = tuple(field.name for field in fields(PaperScore))
_TEXT = frozenset({"model", "arm", "benchmark", "baseline", "prompt", "axis", "source"})
_WHOLE = frozenset({"problems", "seeds", "samples", "max_tokens"})
_NEEDED = frozenset({"checkpoint", "avg_at_k"})
_SHARES = frozenset(("avg_at_k", "p_value", "p_holm", "truncated_share", "no_answer_share"))


def write_paper_scores(path: Path, scores: Sequence[PaperScore]) -> None:
    """Write the rows as CSV with columns `PAPER_COLUMNS`; None is an empty cell, floats keep all digits."""
    rows = ({name: getattr(score, name) for name in PAPER_COLUMNS} for score in scores)
    write_atomically(path, rows_csv(PAPER_COLUMNS, rows))


def read_paper_scores(path: Path) -> list[PaperScore]:
    """Return the rows of a file written by `write_paper_scores`.

    Raises `MissingDataError` if there is no file, and `BenchError`, with line and column, for other columns, a row of
    another length, and a cell that is not what its column holds.
    """
    if not path.is_file():
        raise MissingDataError(
            f"{path} is not there; expected the scores.csv of a study or the {PAPER_SCORES_TABLE} of `scores`"
        )
    with path.open(encoding="utf-8-sig", newline="") as handle:
        table = csv.reader(handle, strict=True)
        try:
            header = next(table, [])
            if tuple(header) != PAPER_COLUMNS:
                beside = path.with_name(PAPER_SCORES_TABLE)
                hint = f"; {beside} beside it has them" if beside.is_file() and beside != path else ""
                raise BenchError(f"{path} has the columns {header}, expected {', '.join(PAPER_COLUMNS)}{hint}")
            return [_score(row, f"{path} line {table.line_num}") for row in table if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise BenchError(f"{path} line {table.line_num}: found no CSV in UTF-8 ({error})") from error


def _score(row: Sequence[str], where: str) -> PaperScore:
    if len(row) != len(PAPER_COLUMNS):
        raise BenchError(
            f"{where}: found {len(row)} cells, expected {len(PAPER_COLUMNS)}; a decimal comma cuts a cell in two"
        )
    values = {name: _value(name, cell, where) for name, cell in zip(PAPER_COLUMNS, row, strict=True)}
    return PaperScore(**values)  # type: ignore[arg-type]  # by the fields' declared types


def _value(name: str, cell: str, where: str) -> object:
    if name in _TEXT:
        return text_of(cell)
    if not cell and name not in _NEEDED:
        return None
    try:
        if name == "checkpoint":
            return PaperCheckpoint(cell)
        number = int(cell) if name in _WHOLE else float(cell)
    except ValueError:
        expected = "one of " + ", ".join(PaperCheckpoint) if name == "checkpoint" else "a number"
        raise BenchError(f"{where}, column {name}: found {cell!r:.80}, expected {expected}") from None
    # Ends of intervals and detectable effects of few problems may lie outside of [0, 1].
    if not math.isfinite(number) or (name in _SHARES and not 0 <= number <= 1):
        expected = "a share in [0, 1], not percent" if name in _SHARES else "a finite number"
        raise BenchError(f"{where}, column {name}: found {cell!r:.80}, expected {expected}")
    return number
