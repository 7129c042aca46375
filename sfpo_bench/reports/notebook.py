"""Functions for notebooks: a comparison's numbers, figures and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd

from sfpo_bench.reports import document
from sfpo_bench.reports.anatomy import anatomy_figure, anatomy_frame
from sfpo_bench.reports.answer import answers, unanswered
from sfpo_bench.reports.document import Block, bold, bullets, joined, paragraph, paragraphs
from sfpo_bench.reports.figures import convergence_figure
from sfpo_bench.reports.formats import target_text
from sfpo_bench.reports.load import Comparison
from sfpo_bench.reports.look import styled
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.notes import crossing_lines
from sfpo_bench.reports.papers.frame import rows_of
from sfpo_bench.reports.papers.layout import lay_out
from sfpo_bench.reports.papers.names import PaperNames
from sfpo_bench.reports.papers.score import PaperScore
from sfpo_bench.reports.papers.table import score_blocks
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import Summary
from sfpo_bench.reports.sweep.figures import RESPONSE, SWEEP_FIGURES
from sfpo_bench.reports.sweep.load import Sweep
from sfpo_bench.reports.tables import costs_table, final_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(comparison: Comparison, baseline: str | None = None) -> Summary:
    """Return every number of the report, with ratios to `baseline` (default: the comparison's own baseline).

    Raises `ConfigError` if there is no such arm and `BenchError` if no run has an evaluation yet.
    """
    return build_summary(comparison if baseline is None else comparison.with_baseline(baseline))


def figure(comparison: Comparison, name: Literal["accuracy", "anatomy"] = "accuracy") -> Figure:
    """Return the figure of accuracy over responses and training time, or of statistics inside the updates.

    A notebook displays it; `figure(...).savefig("figure.pdf")` writes it.
    """
    if name == "accuracy":
        return convergence_figure(compare(comparison))
    if name == "anatomy":
        return anatomy_figure(anatomy_frame(comparison), comparison.plan.name)
    raise ValueError(f"found figure {name!r}; expected one of accuracy, anatomy")


def table(summary: Summary, name: Literal["costs", "final"] = "costs") -> pd.DataFrame:
    """Return costs to every target with their ratios, or final accuracies: the contents of costs.csv and final.csv."""
    if name == "costs":
        return costs_table(summary)
    if name == "final":
        return final_table(summary)
    raise ValueError(f"found table {name!r}; expected one of costs, final")


@dataclass(frozen=True, slots=True)
class Shown:
    """Markdown that a notebook renders as the value of a cell."""

    markdown: str

    def _repr_markdown_(self) -> str:
        return self.markdown


def show(frame: pd.DataFrame, digits: int = 4) -> Shown:
    """Return the frame as a rendered table with `digits` significant digits; missing values are empty cells."""
    cells = [[_cell(value, digits) for value in row] for row in frame.itertuples(index=False)]
    names = [str(name) for name in frame.columns]
    left = [index for index, name in enumerate(names) if not pd.api.types.is_numeric_dtype(frame[name])]
    return _shown([document.table(names, cells, left)])


def answer(summary: Summary) -> Shown:
    """Return the conclusions of the comparison as sentences, and the bias of first crossings."""
    found = paragraphs(unanswered(summary))
    for target in summary.targets:
        found.append(paragraph(bold(f"To {target_text(target)}:")))
        found += bullets(joined(" ", sentences) for sentences in answers(summary, target) if sentences)
    found += paragraphs(crossing_lines(summary)) if found else []
    return _shown(found or [paragraph("No target was fixed before the run.")])


def paper_tables(scores: Sequence[PaperScore], names: PaperNames | None = None) -> Shown:
    """Return scores in the form of a paper's table, with footnotes."""
    tables = lay_out(rows_of(scores), names or PaperNames())
    return _shown([block for one in tables for block in (paragraph(bold(one.caption)), *score_blocks(one))])


def sweep_figure(sweep: Sweep, name: str = RESPONSE) -> Figure:
    """Return a figure of a sweep: `response`, `parallel`, `history` or `curves`."""
    if name not in SWEEP_FIGURES:
        raise ValueError(f"found figure {name!r}; expected one of {', '.join(SWEEP_FIGURES)}")
    with styled():
        return SWEEP_FIGURES[name](sweep)


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{digits}g}"
    return "" if value is None or value is pd.NA else str(value)


def _shown(report: Sequence[Block]) -> Shown:
    return Shown(markdown(report).rstrip())
