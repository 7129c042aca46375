"""Renders the report's tables for a paper, with booktabs, in the width of the text or of one of two columns.

    tables.tex               every table of the report in text width (`table`)
    tables-two-column.tex    the same for two-column papers: `table` if it fits, else `table*`
    report.tex               the whole report as a document: `pdflatex report.tex`

A paper needs \\usepackage{booktabs,tabularx} and \\input{tables}. The text is that of report.md, with every character
escaped that TeX would interpret.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from enum import Enum

from sfpo_bench.reports.document import Block, Bullets, Heading, Line, Paragraph, Picture, Span, Table, plain


class Columns(Enum):
    """Number of text columns on a page of the paper."""

    one = 1
    two = 2


_NARROW = 70.0  # characters per row that fit into one of two text columns, with cells of two or three lines
# Widths in points: a column and the text in LaTeX's article class, the text in the report, the gap between two table
# columns, and a character in each font size, including bold headings and digits.
_COLUMN_POINTS, _TEXT_POINTS, _REPORT_POINTS, _BETWEEN_POINTS = 200.0, 345.0, 455.0, 6.0
_CHARACTER_POINTS = {r"\small": 4.8, r"\footnotesize": 4.4, r"\scriptsize": 4.0, r"\tiny": 3.4}
_LARGEST = {Columns.one: r"\small", Columns.two: r"\footnotesize"}

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_\allowbreak{}",  # settings are long words and need line breaks
    "/": r"/\allowbreak{}",
    "=": r"=\allowbreak{}",
    "\N{NO-BREAK SPACE}": "~",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{''}",
    "`": r"\textasciigrave{}",
    "'": r"{'}",
    "-": r"-{}",  # prevent the ligature of two hyphens
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": r"{'}",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$",
}
_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[margin=2.5cm]{geometry}
\usepackage{booktabs,tabularx,graphicx,float}
\setlength{\emergencystretch}{3em}
"""
_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
# No line break inside `1.51 to 1.89`, `10 of 10`, `97.5 %`.
_TOGETHER = re.compile(r"(?<=\d) (to|of) (?=\d)|(?<=\d) (?=%)")
_BREAKS = re.compile(r" |(?<=[_/=])")  # allowed line breaks in a cell
_HERE, _ANYWHERE = "H", "htbp"
_OF_COSTS = "Cost to"  # prefix of the headings of cost tables


def tex(text: str) -> str:
    """Escape `text` for TeX, so that it prints verbatim and cannot form commands, math or comments.

    Characters that pdfTeX's fonts lack are printed as their code point: `[U+4E2D]`.
    """
    return "".join(_character(character) for character in _BLANKS.sub(" ", text))


def tables_tex(report: Sequence[Block], columns: Columns, of_costs: str = "") -> str:
    """Return every table of the report as a float with caption and label.

    `of_costs` is added to the caption of the first cost table, since a paper lacks the report's notes."""
    head = "% Made by sfpo-bench from summary.json; needs \\usepackage{booktabs,tabularx}.\n"
    captioned = list(_captioned(report))
    first = next((place for place, (caption, _) in enumerate(captioned) if caption.startswith(_OF_COSTS)), None)
    if first is not None and of_costs:
        captioned[first] = (f"{captioned[first][0]}. {tex(of_costs)}", captioned[first][1])
    floats = [
        _float(caption, table, columns, number, _ANYWHERE) for number, (caption, table) in enumerate(captioned, 1)
    ]
    return head + "\n".join(floats)


def report_tex(report: Sequence[Block], pictures: Sequence[tuple[str, str]]) -> str:
    """Return the whole report as a document; `pictures` are additional (file name, caption) pairs for its end."""
    body = [part for block in _with_tables(report) for part in block]
    figures = [_picture(name, caption) for name, caption in pictures]
    return "\n\n".join([_PREAMBLE.rstrip(), r"\begin{document}", *body, *figures, r"\end{document}", ""])


def _character(character: str) -> str:
    if character in _TEX:
        return _TEX[character]
    # Accented letters of Latin-1 exist in TeX's OT1 encoding; other letters may not.
    if " " <= character <= "~" or ("\u00c0" <= character <= "\u00ff" and unicodedata.decomposition(character)):
        return character
    return f"[U+{ord(character):04X}]"


def _words(line: Line) -> str:
    return "".join(rf"\textbf{{{tex(span.text)}}}" if span.bold else tex(span.text) for span in line)


def _captioned(report: Sequence[Block]) -> Iterator[tuple[str, Table]]:
    """Yield every table with a caption made from the headings above it, from level 2 down."""
    above: dict[int, str] = {}
    for block in report:
        if isinstance(block, Heading):
            above = {level: words for level, words in above.items() if level < block.level}
            above[block.level] = _words(block.line)
        elif isinstance(block, Table):
            yield ": ".join(words for level, words in sorted(above.items()) if level > 1), block


def _with_tables(report: Sequence[Block]) -> Iterator[list[str]]:
    """Yield the parts of the document, each table with its caption from `_captioned`."""
    floats = (
        _float(caption, table, Columns.one, number, _HERE)
        for number, (caption, table) in enumerate(_captioned(report), 1)
    )
    for block in report:
        yield [next(floats)] if isinstance(block, Table) else [_part(block)]


def _part(block: Heading | Paragraph | Bullets | Picture) -> str:
    if isinstance(block, Heading):
        command = {1: "section*", 2: "subsection*"}.get(block.level, "subsubsection*")
        return rf"\{command}{{{_words(block.line)}}}"
    if isinstance(block, Bullets):
        items = "\n".join(rf"\item {{}}{_words(line)}" for line in block.lines)
        return f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"
    if isinstance(block, Picture):
        return _picture(block.path.removesuffix(".png") + ".pdf", block.words)
    return textwrap.fill(_words(block.line), 118, break_long_words=False, break_on_hyphens=False)


def _picture(name: str, caption: str) -> str:
    return (
        f"\\begin{{figure}}[H]\n\\centering\n\\includegraphics[width=\\textwidth]{{{name}}}\n"
        f"\\caption{{{tex(caption)}}}\n\\end{{figure}}"
    )


def _float(caption: str, table: Table, columns: Columns, number: int, where: str) -> str:
    narrow = sum(_lengths(table)) <= _NARROW and _fits(table, _COLUMN_POINTS, _LARGEST[columns])
    wide = columns is Columns.two and not narrow
    kind, width = ("table*", r"\textwidth") if wide else ("table", r"\columnwidth")
    full = _REPORT_POINTS if where == _HERE else _TEXT_POINTS
    points = _COLUMN_POINTS if columns is Columns.two and narrow else full
    header = " & ".join(_cell(cell) for cell in table.header) + r" \\"
    return "\n".join(
        [
            rf"\begin{{{kind}}}[{where}]",
            r"\centering",
            _size(table, points, _LARGEST[columns]),
            rf"\caption{{{caption}}}",
            rf"\label{{tab:sfpo-bench-{number}}}",
            r"\setlength{\tabcolsep}{3pt}",
            rf"\begin{{tabularx}}{{{width}}}{{@{{}}{_widths(table)}@{{}}}}",
            r"\toprule",
            header,
            r"\midrule",
            *_rows(table),
            r"\bottomrule",
            r"\end{tabularx}",
            rf"\end{{{kind}}}",
            "",
        ]
    )


def _rows(table: Table) -> Iterator[str]:
    """Yield the rows, with extra space where the first column changes if it repeats values."""
    first = [plain(row[0]) for row in table.rows]
    grouped = len(set(first)) < len(first)
    for number, row in enumerate(table.rows):
        if grouped and number and first[number] != first[number - 1]:
            yield r"\addlinespace"
        yield " & ".join(_cell(cell) for cell in row) + r" \\"


def _cell(line: Line) -> str:
    """Return a cell; the empty group keeps TeX from reading a leading `[` as an option of the previous row."""
    words = _words(tuple(Span(_bound(span.text), span.bold) for span in line))
    return "{}" + words if words.startswith(("[", "*")) else words


def _bound(text: str) -> str:
    return _TOGETHER.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def _widths(table: Table) -> str:
    """Return one `X` column per column, with a width proportional to its text."""
    lengths = _lengths(table)
    shares = [len(lengths) * length / sum(lengths) for length in lengths]
    return "".join(
        rf">{{\hsize={share:.3f}\hsize\linewidth=\hsize\{'raggedright' if left else 'raggedleft'}\arraybackslash}}X"
        for share, left in zip(shares, table.left, strict=True)
    )


def _size(table: Table, points: float, largest: str) -> str:
    """Return the largest font size at which the table fits into `points` without overlapping words."""
    sizes = list(_CHARACTER_POINTS)
    fitting = [size for size in sizes[sizes.index(largest) :] if _fits(table, points, size)]
    return fitting[0] if fitting else sizes[-1]


def _fits(table: Table, points: float, size: str) -> bool:
    """Return True if every column is at least as wide as its longest word, for the column widths of `_lengths`."""
    lengths, cells = _lengths(table), [table.header, *table.rows]
    words = [
        max(len(word) for row in cells for word in _BREAKS.split(_bound(plain(row[column]))))
        for column in range(len(lengths))
    ]
    room = (points - _BETWEEN_POINTS * (len(lengths) - 1)) / _CHARACTER_POINTS[size]
    return max(word / length for word, length in zip(words, lengths, strict=True)) * sum(lengths) <= room


def _lengths(table: Table) -> list[float]:
    """Return the width of each column in characters, between 6 and 30."""
    cells = [table.header, *table.rows]
    asked = [[_asked(_bound(plain(row[column]))) for row in cells] for column in range(len(table.header))]
    return [min(30.0, max(6.0, *column)) for column in asked]


def _asked(text: str) -> float:
    """Return the width of a short text, half of that of a longer one, and at least that of its longest word."""
    longest = max(map(len, text.split(" ")))
    return max(longest + 1.0, min(len(text), 14) if len(text) < 20 else len(text) / 2)
