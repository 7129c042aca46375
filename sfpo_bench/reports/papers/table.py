"""Scores in the form of a paper's table: one row per model and method, a column per benchmark, and the average.

    write_paper_tables(scores, Path("out"), "A study")      paper.md, paper.html, paper.tex, paper.csv

All four are made from the same rows (`rows_of`). The best of each model and column is bold. Below the methods are their
differences to the baseline with interval and significance mark, and below the table how the numbers were computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.reports.document import Block, Part, Span, Table, bullets, heading, table
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.papers.frame import PaperRow, decimals, paper_frame, rows_of
from sfpo_bench.reports.papers.layout import Cell, PaperTable, lay_out, points_text
from sfpo_bench.reports.papers.names import CHECKPOINT_TITLES, PaperNames
from sfpo_bench.reports.papers.score import PaperScore
from sfpo_bench.reports.papers.tex import paper_tex
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.stored_files import write_atomically

_DETAILS = (
    *("model", "method", "checkpoint", "benchmark", "problems", "runs", "avg@k, %", "difference, points", "p"),
    *("p by Holm", "would detect, points", "truncated, %", "no answer, %"),
)


@dataclass(frozen=True, slots=True)
class PaperTableFiles:
    """Paths of a paper's tables in each format."""

    markdown: Path
    html: Path
    latex: Path
    csv: Path

    @classmethod
    def inside(cls, folder: Path, stem: str = "paper") -> PaperTableFiles:
        """Return the paths below `folder`; creates nothing."""
        return cls(*(folder / f"{stem}.{suffix}" for suffix in ("md", "html", "tex", "csv")))


def write_paper_tables(
    scores: Sequence[PaperScore],
    folder: Path,
    title: str,
    names: PaperNames | None = None,
    stem: str = "paper",
) -> PaperTableFiles:
    """Write every format into `folder`; equal scores give equal bytes. Raises `BenchError` for invalid scores."""
    rows, files = rows_of(scores), PaperTableFiles.inside(folder, stem)
    report = paper_blocks(rows, title, names or PaperNames())
    contents = {
        files.markdown: markdown(report).encode(),
        files.html: simple_page(title, report, {}).encode(),
        files.latex: paper_tex(lay_out(rows, names or PaperNames())).encode(),
        files.csv: csv_bytes(paper_frame(rows)),
    }
    for path, content in contents.items():
        write_atomically(path, content)
    return files


def paper_blocks(rows: Sequence[PaperRow], title: str, names: PaperNames) -> list[Block]:
    """Return each table with caption and footnotes, then every score with its interval."""
    found: list[Block] = [heading(1, title)]
    for one in lay_out(rows, names):
        found += [heading(2, one.caption), *score_blocks(one)]
    return [*found, heading(2, "Every score"), _details(rows, names)]


def score_blocks(scores: PaperTable) -> list[Block]:
    """Return a table with one row per method and per difference to the baseline, and its footnotes."""
    rows: list[tuple[Part, ...]] = [
        (block.model, row.label, *(_cell(cell) for cell in row.cells)) for block in scores.blocks for row in block.rows
    ]
    return [table(("model", "method", *scores.headings), rows, left=2), *bullets(scores.footnotes)]


def _cell(cell: Cell) -> Span:
    return Span(f"{cell.text} {cell.below}".rstrip(), bold=cell.bold)


def _details(rows: Sequence[PaperRow], names: PaperNames) -> Table:
    return table(_DETAILS, [_detail(row.score, names) for row in rows], left=4)


def _detail(score: PaperScore, names: PaperNames) -> tuple[str, ...]:
    digits = decimals(score.source)
    levels = [_percent(one, digits) for one in (score.avg_at_k, score.low, score.high)]
    gains = (score.difference, score.difference_low, score.difference_high)
    return (
        names.model(score.model),
        names.arm(score.arm) + (f" ({score.source})" if score.source else ""),
        CHECKPOINT_TITLES[score.checkpoint],
        names.benchmark(score.benchmark),
        "" if score.problems is None else f"{score.problems:,}",
        "" if score.seeds is None else f"{score.seeds}",
        _with_interval(levels),
        _with_interval(["" if one is None else points_text(one, digits) for one in gains]),
        _p_text(score.p_value),
        _p_text(score.p_holm),
        *(_percent(one, 1) for one in (score.smallest_detectable, score.truncated_share, score.no_answer_share)),
    )


def _with_interval(numbers: Sequence[str]) -> str:
    point, low, high = numbers
    return f"{point} ({low} to {high})" if low and high else point


def _percent(share: float | None, digits: int) -> str:
    return "" if share is None else f"{100 * share:.{digits}f}"


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
