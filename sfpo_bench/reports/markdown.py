"""Renders blocks as Markdown, and as plain text in the same layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from sfpo_bench.reports.document import Block, Bullets, Heading, Line, Paragraph, Picture, Table

_INTERPRETED = re.compile(r"([\\`*_{}\[\]<>|#~&$!])")


def markdown(report: Iterable[Block]) -> str:
    """Return the blocks as Markdown, with every text escaped so that it appears verbatim."""
    return _laid_out(report, line_markdown) + "\n"


def plain_text(report: Iterable[Block]) -> str:
    """Return the blocks for a terminal: in the layout of Markdown, with texts unescaped."""
    return _laid_out(report, lambda line: "".join(span.text for span in line))


def line_markdown(line: Line) -> str:
    """Return one line as Markdown."""
    return "".join(f"**{escaped(span.text)}**" if span.bold else escaped(span.text) for span in line)


def escaped(text: str) -> str:
    """Escape every character that Markdown interprets, including those of table cells, with a backslash."""
    return _INTERPRETED.sub(r"\\\1", text)


def _laid_out(report: Iterable[Block], written: Callable[[Line], str]) -> str:
    return "\n\n".join(_block(block, written) for block in report)


def _block(block: Block, written: Callable[[Line], str]) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {written(block.line)}"
        case Paragraph():
            return written(block.line)
        case Bullets():
            return "\n".join(f"- {written(line)}" for line in block.lines)
        case Table():
            return _table(block, written)
        case Picture():
            return f"![{escaped(block.words)}]({block.path})"


def _table(table: Table, written: Callable[[Line], str]) -> str:
    rows: list[Sequence[str]] = [[written(cell) for cell in table.header]]
    rows.append([":---" if left else "---:" for left in table.left])
    rows += [[written(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
