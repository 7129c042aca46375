"""A report as blocks, which are rendered as Markdown, HTML and LaTeX with the same text.

    report = [heading(1, "Scores"), paragraph(bold("Warning:"), " one seed"), table(("arm", "n"), rows, left=1)]
    markdown.markdown(report), html.simple_page("Scores", report, {}), latex.tables_tex(report, Columns.one)

Texts are plain. Each renderer escapes them, so names and model outputs appear verbatim.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a line. `arm` names the arm whose runs it refers to; HTML links it to them."""

    text: str
    bold: bool = False
    arm: str = ""


Line = tuple[Span, ...]
Part = str | Span | Line


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
    """`left` columns are left-aligned, the others right-aligned. `arms` has the arm of each row's numbers, or ""."""

    header: tuple[Line, ...]
    rows: tuple[tuple[Line, ...], ...]
    left: tuple[bool, ...]
    arms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure by its path, with alternative text."""

    words: str
    path: str


Block = Heading | Paragraph | Bullets | Table | Picture


def line(*parts: Part) -> Line:
    """Join the parts to one line; whitespace is collapsed and stripped at both ends."""
    joined: list[Span] = []
    for span in _spans(parts):
        if joined and (joined[-1].bold, joined[-1].arm) == (span.bold, span.arm):
            joined[-1] = replace(joined[-1], text=joined[-1].text + span.text)
        else:
            joined.append(span)
    cleaned = [replace(span, text=_BLANKS.sub(" ", span.text)) for span in joined]
    if cleaned:
        cleaned[0] = replace(cleaned[0], text=cleaned[0].text.lstrip())
        cleaned[-1] = replace(cleaned[-1], text=cleaned[-1].text.rstrip())
    return tuple(span for span in cleaned if span.text)


def bold(text: str) -> Span:
    """Return the text in bold."""
    return Span(text, bold=True)


def joined(separator: str, lines: Iterable[Part]) -> Line:
    """Join the lines to one, with the separator between them."""
    parts: list[Part] = []
    for one in lines:
        parts += [separator, one] if parts else [one]
    return line(*parts)


def heading(level: int, *parts: Part) -> Heading:
    """Return a heading; level 1 is the title."""
    return Heading(level, line(*parts))


def paragraph(*parts: Part) -> Paragraph:
    """Return a paragraph."""
    return Paragraph(line(*parts))


def paragraphs(texts: Iterable[Part]) -> list[Block]:
    """Return a paragraph for each nonempty text."""
    return [Paragraph(found) for text in texts if (found := line(text))]


def bullets(lines: Iterable[Part]) -> list[Block]:
    """Return a list of the nonempty lines, or no block if there are none."""
    found = tuple(one for text in lines if (one := line(text)))
    return [Bullets(found)] if found else []


def table(
    header: Sequence[Part], rows: Iterable[Sequence[Part]], left: int | Collection[int], arms: Sequence[str] = ()
) -> Table:
    """Return a table whose first `left` columns, or those in `left`, are left-aligned and the others right-aligned."""
    cells = tuple(tuple(line(cell) for cell in row) for row in rows)
    at_left = range(left) if isinstance(left, int) else left
    sides = tuple(column in at_left for column in range(len(header)))
    return Table(tuple(line(cell) for cell in header), cells, sides, tuple(arms) or ("",) * len(cells))


def plain(found: Line) -> str:
    """Return the text of a line without formatting."""
    return "".join(span.text for span in found)


def _spans(parts: Iterable[Part]) -> Iterator[Span]:
    for part in parts:
        if isinstance(part, str):
            yield Span(part)
        elif isinstance(part, Span):
            yield part
        else:
            yield from part
