"""A paper's tables in LaTeX, for `\\input` in documents that use booktabs and graphicx.

Each is a `table*`, which spans the text in one-column and two-column papers. A table that is too wide is scaled down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sfpo_bench.reports.latex import tex
from sfpo_bench.reports.papers.layout import Block, Cell, PaperTable, Row

_HEAD = "% Made by sfpo-bench; needs \\usepackage{booktabs,graphicx}.\n"
_SHRINK = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"


def paper_tex(tables: Sequence[PaperTable]) -> str:
    """Return the tables as floats with caption, label and footnotes."""
    return _HEAD + "\n".join(_float(table, number) for number, table in enumerate(tables, 1))


def _float(table: PaperTable, number: int) -> str:
    width = len(table.headings) + 1
    body = [line for block in table.blocks for line in _block(block, width)]
    notes = " ".join(_words(note) for note in table.footnotes)
    return "\n".join(
        [
            r"\begin{table*}[htbp]",
            r"\centering",
            r"\small",
            rf"\caption{{{_words(table.caption)}}}",
            rf"\label{{tab:sfpo-bench-scores-{number}}}",
            r"\setlength{\tabcolsep}{5pt}",
            _SHRINK,
            rf"\begin{{tabular}}{{@{{}}l{'r' * (width - 1)}@{{}}}}",
            r"\toprule",
            " & ".join(["", *(_words(heading) for heading in table.headings)]) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\par\smallskip",
            rf"\begin{{minipage}}{{\textwidth}}\footnotesize {notes}\end{{minipage}}",
            r"\end{table*}",
            "",
        ]
    )


def _block(block: Block, width: int) -> Iterator[str]:
    yield r"\midrule"
    yield rf"\multicolumn{{{width}}}{{@{{}}l}}{{\textit{{{_words(block.model)}}}}} \\"
    yield r"\addlinespace[2pt]"
    for row in block.rows:
        yield from _row(row)


def _row(row: Row) -> Iterator[str]:
    """Yield a row of scores; for a row of differences also a smaller row with the intervals."""
    if row.is_difference:
        yield r"\addlinespace[2pt]"
    yield " & ".join([rf"\quad {_words(row.label)}", *(_cell(cell) for cell in row.cells)]) + r" \\"
    if any(cell.below for cell in row.cells):
        below = [rf"{{\scriptsize {_words(cell.below)}}}" if cell.below else "" for cell in row.cells]
        yield " & ".join(["", *below]) + r" \\"


def _cell(cell: Cell) -> str:
    text = _words(cell.text)
    return rf"\textbf{{{text}}}" if cell.bold else text


def _words(text: str) -> str:
    """Escape plain text for TeX, with minus signs in math mode."""
    return "$-$".join(re.sub(r"\\allowbreak{}", "", tex(part)) for part in text.split("\N{MINUS SIGN}"))
