"""The report's Markdown as blocks, so that HTML and LaTeX say what it says, word for word and column for column.

This reads the Markdown of `tables.report_markdown` and no other: headings, paragraphs, bullets, pipe tables and
figures, one per block; `**bold**` inside; every other character that Markdown would interpret stands behind a
backslash. Names and model text come escaped, so none of them can become a block or a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Some words of a line, as the characters that a reader sees."""

    text: str
    bold: bool = False


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    line: Line


@dataclass(frozen=True, slots=True)
class Paragraph:
    line: Line


@dataclass(frozen=True, slots=True)
class Bullets:
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """`left` columns are aligned left, the others right."""

    header: tuple[Line, ...]
    rows: tuple[tuple[Line, ...], ...]
    left: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure by its path, with the words for those who cannot see it."""

    words: str
    path: str


Block = Heading | Paragraph | Bullets | Table | Picture

_HEADING = re.compile(r"(#{1,6}) (.*)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)")
_BOLD = re.compile(r"(?<!\\)\*\*")
_ESCAPE = re.compile(r"\\(.)")


def blocks(markdown: str) -> tuple[Block, ...]:
    """The blocks of a report, in its order."""
    return tuple(_block(part.split("\n")) for part in markdown.strip("\n").split("\n\n") if part)


def plain(line: Line) -> str:
    """The characters of a line."""
    return "".join(span.text for span in line)


def _block(lines: Sequence[str]) -> Block:
    if found := _HEADING.fullmatch(lines[0]):
        return Heading(len(found[1]), _line(found[2]))
    if found := _PICTURE.fullmatch(lines[0]):
        return Picture(_ESCAPE.sub(r"\1", found[1]), found[2])
    if lines[0].startswith("| ") and len(lines) > 1:
        return _table(lines)
    if all(line.startswith("- ") for line in lines):
        return Bullets(tuple(_line(line[2:]) for line in lines))
    return Paragraph(_line(" ".join(lines)))


def _table(lines: Sequence[str]) -> Table:
    header, rule, *rows = ([cell.strip() for cell in _cells(line)] for line in lines)
    return Table(
        tuple(_line(cell) for cell in header),
        tuple(tuple(_line(cell) for cell in row) for row in rows),
        tuple(not mark.endswith(":") for mark in rule),
    )


def _cells(row: str) -> Iterator[str]:
    """What stands between the bars of a row; a bar behind a backslash is a character."""
    start = None
    for bar in _bars(row):
        if start is not None:
            yield row[start:bar]
        start = bar + 1


def _bars(row: str) -> Iterator[int]:
    at = 0
    while at < len(row):
        if row[at] == "\\":
            at += 1
        elif row[at] == "|":
            yield at
        at += 1


def _line(text: str) -> Line:
    parts = _BOLD.split(text)
    spans = (Span(_ESCAPE.sub(r"\1", part), bold=index % 2 == 1) for index, part in enumerate(parts))
    return tuple(span for span in spans if span.text)
