"""The tables of the study, and its numbers as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sfpo_bench.reports.document import Block, Picture, heading, paragraph, table
from sfpo_bench.reports.reposition.cells import StudyCell, StudyMethod
from sfpo_bench.reports.reposition.table import Areas, BestRate, ComparedCell
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.statistics.paired import PairedDifference

BEST_RATES, EQUAL_RATE = "best_rates.png", "equal_rate.png"
EQUAL_DISPLACEMENT, CONDITIONS = "equal_displacement.png", "conditions.png"
WORDS: Mapping[str, str] = {
    BEST_RATES: "Area under the learning curve of each rule at its best rate under the first condition, with 95 % "
    "intervals; rates were chosen on other seeds",
    EQUAL_RATE: "SFPO minus Repeat(K + 1) at the same learning rate, over rates, with 95 % intervals",
    EQUAL_DISPLACEMENT: "SFPO minus Repeat(K + 1) at equal displacement, over rates, with 95 % intervals",
    CONDITIONS: "SFPO minus Repeat(K + 1) at equal displacement under each condition, with 95 % intervals",
}


def result_blocks(rows: Sequence[ComparedCell], best: Sequence[BestRate]) -> list[Block]:
    """Return the results: each rule at its best rate, differences at equal rate and equal displacement, figures."""
    found: list[Block] = [heading(2, "Each rule at its best rate"), _best_table(best), _picture(BEST_RATES)]
    for title, method, figure in (
        ("SFPO and Repeat(K + 1) at the same rate", StudyMethod.repeat, EQUAL_RATE),
        ("SFPO and Repeat(K + 1) at equal displacement", StudyMethod.shortened, EQUAL_DISPLACEMENT),
    ):
        found += [heading(2, title), _picture(figure)]
        found.append(_difference_table([one for one in rows if one.control.method is method]))
    return [*found, heading(2, "Conditions"), _picture(CONDITIONS)]


def holm_block(rows: Sequence[ComparedCell]) -> Block:
    """Return a paragraph on areas, intervals, the adjustment of p-values, and the choice of best rates."""
    tested = sum(one.p_holm is not None for one in rows)
    return paragraph(
        "Area is the mean accuracy on select problems over the responses of a run, by the trapezoidal rule. "
        "Differences are paired by seed. Intervals are Student's at 95 %. P-values are adjusted by Holm over all "
        f"{tested} differences at equal rate and at equal displacement. The first half of the seeds chooses the best "
        "rates, the other half reports. A * marks a rate at an end of its range."
    )


def compared_csv(rows: Sequence[ComparedCell]) -> bytes:
    """Return a CSV with one row for each cell of SFPO and control."""
    found = [
        {
            **_named(one.cell),
            "control": one.control.key,
            "seeds": one.difference.pairs,
            "area": one.area,
            "control_area": one.control_area,
            "difference": one.difference.point,
            "low": one.difference.low,
            "high": one.difference.high,
            "spread": one.difference.spread,
            "p": one.difference.p_value,
            "p_holm": one.p_holm,
        }
        for one in rows
    ]
    return csv_bytes(pd.DataFrame(found))


def areas_csv(areas: Areas) -> bytes:
    """Return a CSV with one row for each cell and seed."""
    found = [
        {**_named(cell), "arm": cell.key, "seed": seed, "area": area}
        for cell, own in areas.items()
        for seed, area in sorted(own.items())
    ]
    return csv_bytes(pd.DataFrame(found))


def _named(cell: StudyCell) -> dict[str, object]:
    return {
        "condition": cell.condition,
        "method": cell.method.value,
        "fast_passes": cell.fast_passes,
        "alpha": cell.alpha,
        "rate_factor": cell.rate_factor,
    }


def _picture(name: str) -> Picture:
    return Picture(WORDS[name], name)


def _best_table(rows: Sequence[BestRate]) -> Block:
    header = ("condition", "K", "rule", "rate / tuned", "area (95 %)", "minus best Repeat(K + 1) (95 %)", "seeds")
    cells = [
        [
            one.cell.condition,
            str(one.cell.fast_passes or ""),
            one.cell.rule,
            f"{one.cell.rate_factor:g}" + "*" * one.at_end,
            _with_interval(one.area, ""),
            "" if one.difference is None else _with_interval(one.difference, "+"),
            str(one.area.pairs),
        ]
        for one in rows
    ]
    return table(header, cells, left=(0, 2))


def _difference_table(rows: Sequence[ComparedCell]) -> Block:
    header = (
        "condition",
        "K",
        "alpha",
        "rate / tuned",
        "SFPO",
        "control",
        "difference (95 %)",
        "p",
        "p by Holm",
        "seeds",
    )
    cells = [
        [
            one.cell.condition,
            str(one.cell.fast_passes),
            f"{one.cell.alpha:g}",
            f"{one.cell.rate_factor:g}",
            f"{one.area:.3f}",
            f"{one.control_area:.3f}",
            _with_interval(one.difference, "+"),
            _p_text(one.difference.p_value),
            _p_text(one.p_holm),
            str(one.difference.pairs),
        ]
        for one in rows
    ]
    return table(header, cells, left=1)


def _with_interval(found: PairedDifference, sign: str) -> str:
    text = f"{found.point:{sign}.3f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
