"""Scores in the form of a paper's table: model x method rows, a column per benchmark, and the average.

    write_paper_tables(scores, Path("out"), "A study")      paper.md, paper.html, paper.tex, paper.csv

All four are made from one frame (`paper_frame`). The best of each model and column is bold; under the methods stand
their differences to the baseline with interval and significance mark, and below the table how the numbers were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sfpo_bench.reports.document import blocks
from sfpo_bench.reports.formats import escaped
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.paper_frame import decimals, paper_frame, rows_of
from sfpo_bench.reports.paper_layout import Cell, PaperTable, lay_out, points_text
from sfpo_bench.reports.paper_names import CHECKPOINT_TITLES, PaperNames
from sfpo_bench.reports.paper_score import PaperScore
from sfpo_bench.reports.paper_tex import paper_tex
from sfpo_bench.reports.write import csv_bytes
from sfpo_bench.tracking.run_folder import write_atomically

_DETAILS = (
    *("model", "method", "checkpoint", "benchmark", "problems", "runs", "avg@k, %", "difference, points", "p"),
    *("p by Holm", "would detect, points", "truncated, %", "no answer, %"),
)


@dataclass(frozen=True, slots=True)
class PaperTableFiles:
    """Where the forms of a paper's tables lie."""

    markdown: Path
    html: Path
    latex: Path
    csv: Path

    @classmethod
    def inside(cls, folder: Path, stem: str = "paper") -> PaperTableFiles:
        """The paths below `folder`; creates nothing."""
        return cls(*(folder / f"{stem}.{suffix}" for suffix in ("md", "html", "tex", "csv")))


def write_paper_tables(
    scores: Sequence[PaperScore],
    folder: Path,
    title: str,
    names: PaperNames | None = None,
    stem: str = "paper",
) -> PaperTableFiles:
    """Write every form into `folder`; equal scores give equal bytes. Raises `BenchError` for scores of no table."""
    frame, files = paper_frame(scores), PaperTableFiles.inside(folder, stem)
    markdown = paper_markdown(frame, title, names or PaperNames())
    contents = {
        files.markdown: markdown.encode(),
        files.html: simple_page(title, blocks(markdown), {}).encode(),
        files.latex: paper_tex(lay_out(frame, names or PaperNames())).encode(),
        files.csv: csv_bytes(frame),
    }
    for path, content in contents.items():
        write_atomically(path, content)
    return files


def paper_markdown(frame: pd.DataFrame, title: str, names: PaperNames) -> str:
    """Each table under its caption with its footnotes, then every score of a `paper_frame` with its interval."""
    sections = [f"# {escaped(title)}"]
    for table in lay_out(frame, names):
        sections += [f"## {escaped(table.caption)}", table_markdown(table), bullets(table.footnotes)]
    sections += ["## Every score", _details(frame, names)]
    return "\n\n".join(sections) + "\n"


def table_markdown(table: PaperTable) -> str:
    """A pipe table with a line for each method, and one for each of its differences to the baseline."""
    rows = [
        (escaped(block.model), escaped(row.label), *(_cell(cell) for cell in row.cells))
        for block in table.blocks
        for row in block.rows
    ]
    return pipe_table(("model", "method", *map(escaped, table.headings)), rows, left=2)


def _cell(cell: Cell) -> str:
    text = escaped(f"{cell.text} {cell.below}".rstrip())
    return f"**{text}**" if cell.bold else text


def _details(frame: pd.DataFrame, names: PaperNames) -> str:
    rows = [tuple(escaped(cell) for cell in _detail(row.score, names)) for row in rows_of(frame)]
    return pipe_table(_DETAILS, rows, left=4)


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


def bullets(lines: Sequence[str]) -> str:
    """A list of sentences of plain text."""
    return "\n".join(f"- {escaped(line)}" for line in lines)


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A pipe table; the first `left` columns are aligned left, the others right. Cells come escaped."""
    rule = [":---" if column < left else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
