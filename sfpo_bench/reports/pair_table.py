"""Renders the pairwise comparisons of a summary as a section of the report and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

import pandas as pd

from sfpo_bench.core.costs import MAIN_AXES, CostAxis
from sfpo_bench.reports.axes import known_axes
from sfpo_bench.reports.document import Block, heading, paragraphs, table
from sfpo_bench.reports.formats import ratio_text, reason_marks, reasons_text, target_text
from sfpo_bench.reports.papers.layout import points_text
from sfpo_bench.reports.summary import ACCURACY, PairRow, Summary
from sfpo_bench.statistics import CONFIDENCE, POWER, SEEDS_AT_MOST

PAIRS_SHOWN = 60  # beyond this, the report shows only pairs with the baseline


def pairs_frame(summary: Summary) -> pd.DataFrame:
    """Return every pair, measure and target, one per row: the fields of `PairRow`; accuracies are shares."""
    return pd.DataFrame([asdict(row) for row in summary.pairs], columns=[one.name for one in fields(PairRow)])


def pair_blocks(summary: Summary) -> list[Block]:
    """Return which arms the runs distinguish, and what they could have detected; empty for a single arm."""
    if not summary.pairs:
        return []
    axes = known_axes(summary.axes, MAIN_AXES) if summary.targets else ()
    shown = [(row, _cost_row(summary, row, axes[0]) if axes else None) for row in _shown(summary)]
    rows = [row for pair in shown for row in pair if row is not None]
    marks = reason_marks(row.reason for row in rows)
    return [
        heading(2, "What these runs could tell apart"),
        *paragraphs([_introduction(summary, axes)]),
        table(
            ("pair", "seeds", *_columns(axes), "told apart"),
            [_cells(summary, accuracy, cost, marks) for accuracy, cost in shown],
            left=1,
            arms=[accuracy.second for accuracy, _ in shown],
        ),
        *paragraphs([reasons_text(marks)]),
    ]


def _shown(summary: Summary) -> list[PairRow]:
    rows = [row for row in summary.pairs if row.measure == ACCURACY]
    return rows if len(rows) <= PAIRS_SHOWN else [row for row in rows if row.first == summary.baseline]


def _cost_row(summary: Summary, pair: PairRow, axis: CostAxis) -> PairRow:
    """Return the pair's row at the highest target with the most information."""
    rows = [
        row for row in summary.pairs if (row.first, row.second, row.measure) == (pair.first, pair.second, axis.value)
    ]
    return max(rows, key=lambda row: (row.detectable is not None, row.seen is not None, row.target))


def _columns(axes: Sequence[CostAxis]) -> list[str]:
    found = ["final accuracy, points", "would detect, points", "seeds needed"]
    return [*found, f"ratio of {axes[0].noun}", "would detect, ratio", "seeds needed"] if axes else found


def _introduction(summary: Summary, axes: Sequence[CostAxis]) -> str:
    pairs, level = sum(row.measure == ACCURACY for row in summary.pairs), f"{1 - CONFIDENCE:.2g}"
    costs = ""
    if axes:
        family = next(row.family for row in summary.pairs if row.measure == axes[0].value)
        costs = (
            f", {level}/{family} for the ratio of costs (first over second: above 1 the second is cheaper), which is "
            "shown at the highest target that has an interval"
        )
    few = "" if pairs <= PAIRS_SHOWN else f" Of {pairs:,} pairs those with the baseline are shown; pairs.csv has all."
    return (
        "Final accuracy: the second arm minus the first, in points, over finished runs. Would detect: the smallest "
        f"difference that these seeds, with their observed spread, find with {100 * POWER:.0f} % power at Holm's level "
        f"for the smallest p-value of all pairs: {level}/{pairs} for accuracy{costs}. Seeds needed: per arm, if the "
        f"observed difference is true. Told apart: by Holm's test over all pairs.{few}"
    )


def _cells(summary: Summary, accuracy: PairRow, cost: PairRow | None, marks: Mapping[str, str]) -> tuple[str, ...]:
    labels = [summary.arm(name).label for name in (accuracy.first, accuracy.second)]
    both = (accuracy, cost or accuracy)
    most = max(row.first_seeds for row in both), max(row.second_seeds for row in both)
    found = [" and ".join(labels), f"{most[0]}, {most[1]}"]
    seen = accuracy.seen
    found += [_with_mark("" if seen is None else points_text(seen, 1), accuracy, marks)]
    found += ["" if accuracy.detectable is None else f"{100 * accuracy.detectable:.1f}", _needed(accuracy)]
    if cost is not None:
        goal = f" (to {target_text(cost.target or 0)})"
        found += [_with_mark("" if cost.seen is None else f"{ratio_text(cost.seen)}{goal}", cost, marks)]
        found += ["" if cost.detectable is None else ratio_text(cost.detectable), _needed(cost)]
    apart = [words for row, words in ((accuracy, "accuracy"), (cost, "cost")) if row is not None and row.separated]
    return (*found, " and ".join(apart) or "no")


def _with_mark(text: str, row: PairRow, marks: Mapping[str, str]) -> str:
    """Append the letter of the reason why a number is missing."""
    return " ".join(part for part in (text, marks.get(row.reason, "")) if part)


def _needed(row: PairRow) -> str:
    if row.detectable is None:
        return ""
    return f"more than {SEEDS_AT_MOST:,}" if row.seeds_needed is None else f"{row.seeds_needed:,}"
