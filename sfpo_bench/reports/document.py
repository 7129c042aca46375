"""A report as blocks, from which Markdown, HTML and LaTeX are rendered with the same words and columns.

    report = [heading(1, "Scores"), paragraph(bold("Warning:"), " one seed"), table(("arm", "n"), rows, left=1)]
    markdown.markdown(report), html.simple_page("Scores", report, {}), latex.tables_tex(report, Columns.one)

Texts are what a reader sees: names and model text come as they are, and each form writes them so that they show so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Span:
    """Some words of a line. `arm` names the arm whose runs they are or come from: a page with its runs links there."""

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
    """`left` columns are aligned left, the others right. `arms` has for each row the arm of its numbers, or ""."""

    header: tuple[Line, ...]
    rows: tuple[tuple[Line, ...], ...]
    left: tuple[bool, ...]
    arms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure by its path, with the words for those who cannot see it."""

    words: str
    path: str


Block = Heading | Paragraph | Bullets | Table | Picture


def line(*parts: Part) -> Line:
    """The parts on one line: blanks and line breaks become one blank, none is left at either end."""
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
    """Words in bold letters."""
    return Span(text, bold=True)


def joined(separator: str, lines: Iterable[Part]) -> Line:
    """The lines on one, with the separator between them."""
    parts: list[Part] = []
    for one in lines:
        parts += [separator, one] if parts else [one]
    return line(*parts)


def heading(level: int, *parts: Part) -> Heading:
    """A heading; level 1 is the title."""
    return Heading(level, line(*parts))


def paragraph(*parts: Part) -> Paragraph:
    """One paragraph."""
    return Paragraph(line(*parts))


def paragraphs(texts: Iterable[Part]) -> list[Block]:
    """A paragraph for each text that is not empty."""
    return [Paragraph(found) for text in texts if (found := line(text))]


def bullets(lines: Iterable[Part]) -> list[Block]:
    """A list of the lines that are not empty; no block where there are none."""
    found = tuple(one for text in lines if (one := line(text)))
    return [Bullets(found)] if found else []


def table(
    header: Sequence[Part], rows: Iterable[Sequence[Part]], left: int | Collection[int], arms: Sequence[str] = ()
) -> Table:
    """A table whose first `left` columns, or those in `left`, are aligned left and the others right."""
    cells = tuple(tuple(line(cell) for cell in row) for row in rows)
    at_left = range(left) if isinstance(left, int) else left
    sides = tuple(column in at_left for column in range(len(header)))
    return Table(tuple(line(cell) for cell in header), cells, sides, tuple(arms) or ("",) * len(cells))


def plain(found: Line) -> str:
    """The characters of a line."""
    return "".join(span.text for span in found)


def _spans(parts: Iterable[Part]) -> Iterator[Span]:
    for part in parts:
        if isinstance(part, str):
            yield Span(part)
        elif isinstance(part, Span):
            yield part
        else:
            yield from part
