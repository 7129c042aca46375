"""Rows from which every form of a paper's table is made, and the data frame of its CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import pandas as pd

from sfpo_bench.core.errors import BenchError
from sfpo_bench.reports.papers.average import averages_of_shown, benchmarks_differ
from sfpo_bench.reports.papers.score import AVERAGE, PAPER_COLUMNS, PaperCheckpoint, PaperScore

LEVEL = 0.05  # threshold of the significance mark
MARK = "*"

_WHOLE = dict.fromkeys(("problems", "seeds", "samples", "max_tokens"), "Int64")
_TEXT = dict.fromkeys(("model", "arm", "checkpoint", "benchmark", "baseline", "prompt", "axis", "source"), "str")
# Column of the frame: its type. `best` and `mark` are computed here, the others are fields of `PaperScore`.
PAPER_FRAME_COLUMNS: Mapping[str, str] = {
    **{name: {**_WHOLE, **_TEXT}.get(name, "float64") for name in PAPER_COLUMNS},
    "best": "bool",
    "mark": "str",
}


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A score, whether it is the best of its model and column, and its significance mark."""

    score: PaperScore
    best: bool
    mark: str


def decimals(source: str) -> int:
    """Return the decimals of a percentage: one for own scores, two for published ones."""
    return 2 if source else 1


def rows_of(scores: Sequence[PaperScore]) -> list[PaperRow]:
    """Return one row per score, in the given order.

    `best`: the highest of its table, model and benchmark after rounding; all of them in a tie, none if all are equal.
    `mark`: `*` if the difference has p at most 0.05, adjusted by Holm over benchmarks; the average has a separate
    p-value. An average that is not the mean of the given scores of its row is recomputed, without interval and test.
    Raises `BenchError` for no score, duplicate scores, or a score outside [0, 1].
    """
    _check(scores)
    shown = averages_of_shown(scores)
    marks = [MARK if _is_significant(score) else "" for score in shown]
    return [PaperRow(score, best, mark) for score, best, mark in zip(shown, _best(shown), marks, strict=True)]


def paper_frame(rows: Sequence[PaperRow]) -> pd.DataFrame:
    """Return the rows as a frame with the columns of `PAPER_FRAME_COLUMNS`; unknown values are NaN or <NA>."""
    frame = pd.DataFrame([astuple(row.score) for row in rows], columns=list(PAPER_COLUMNS))
    frame["checkpoint"] = [row.score.checkpoint.value for row in rows]
    frame["best"] = [row.best for row in rows]
    frame["mark"] = [row.mark for row in rows]
    return frame.astype(dict(PAPER_FRAME_COLUMNS))


def tables_of(rows: Sequence[PaperRow]) -> list[list[PaperRow]]:
    """Return the rows of each table, one table per source and checkpoint; own measurements come first."""
    order = list(PaperCheckpoint)
    found: dict[tuple[bool, str, int], list[PaperRow]] = {}
    for row in rows:
        key = (row.score.source != "", row.score.source, order.index(row.score.checkpoint))
        found.setdefault(key, []).append(row)
    return [found[key] for key in sorted(found)]


def benchmarks_of(table: Sequence[PaperRow]) -> list[str]:
    """Return the benchmarks in order of first appearance, the average last."""
    found = list(dict.fromkeys(row.score.benchmark for row in table))
    return [name for name in found if name != AVERAGE] + [AVERAGE] * (AVERAGE in found)


def _best(scores: Sequence[PaperScore]) -> list[bool]:
    shown: dict[tuple[object, ...], list[float]] = {}
    models: dict[tuple[object, ...], list[PaperScore]] = {}
    for score in scores:
        shown.setdefault(_column(score), []).append(_shown(score))
        models.setdefault(_column(score)[:3], []).append(score)
    unlike = {model for model, own in models.items() if benchmarks_differ(own)}
    return [
        min(own) < _shown(score) == max(own) and not (score.benchmark == AVERAGE and _column(score)[:3] in unlike)
        for score in scores
        for own in [shown[_column(score)]]
    ]


def _column(score: PaperScore) -> tuple[object, ...]:
    """Return the key of the scores that a score is compared with: one model in one column of one table."""
    return (score.source, score.checkpoint, score.model, score.benchmark)


def _shown(score: PaperScore) -> float:
    return round(100 * score.avg_at_k, decimals(score.source))


def _is_significant(score: PaperScore) -> bool:
    p = score.p_value if score.benchmark == AVERAGE else score.p_holm
    return score.difference is not None and p is not None and p <= LEVEL


def _check(scores: Sequence[PaperScore]) -> None:
    if not scores:
        raise BenchError("found no score; expected at least one row, such as a study's scores.csv has")
    seen = set()
    for score in scores:
        if not 0 <= score.avg_at_k <= 1:
            raise BenchError(f"found a score of {score.avg_at_k}; expected a share in [0, 1], not percent")
        place = (*_column(score), score.arm)
        if place in seen:
            where = f"{score.model}, {score.arm}, {score.checkpoint}, {score.benchmark}"
            raise BenchError(f"found two scores of {where}; expected one: name the arm or the model otherwise")
        seen.add(place)
