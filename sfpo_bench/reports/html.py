"""Renders the report as a self-contained HTML page with embedded figures, without scripts or external requests.

The page has the content of report.md, from the same blocks, followed by the settings and the environment. Every number
in a table, and in a sentence about an arm, links to the runs it comes from, and from there to their folders.

All text is escaped. In addition, a content security policy allows what the page has, its own style sheet by its hash
and images inside the page, and nothing else: a name that was not escaped could bring no script, style or image.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from sfpo_bench.core.costs import MAIN_AXES
from sfpo_bench.reports.document import Block, Bullets, Heading, Line, Paragraph, Picture, Span, Table, plain
from sfpo_bench.reports.environment import Row, environment_rows, setting_rows
from sfpo_bench.reports.formats import accuracy_text, cost_text, count_text
from sfpo_bench.reports.load import Comparison
from sfpo_bench.reports.summary import ArmSummary, SeedCurve, Summary

Places = Callable[[str, int], str | None]

_NUMBER = re.compile(r"\d")
_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1.5rem; max-width: 66rem; color: #1a1a1a; background: #fff;
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { margin: 0 0 .4rem; } h2 { margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ccc; } h3 { margin: 1.4rem 0 .4rem; }
a { color: #00558c; text-decoration: underline dotted; text-underline-offset: .2em; }
a:hover, a:focus { text-decoration: underline; }
figure { margin: 1rem 0; } img { width: 100%; min-width: 44rem; height: auto; }
figcaption { color: #444; font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 40rem; }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; min-width: 4rem; }
th { border-top: 2px solid #333; border-bottom: 1px solid #333; }
tbody tr:last-child td { border-bottom: 2px solid #333; }
.left { text-align: left; } td.left { min-width: 6rem; max-width: 32rem; }
:target { background: #fff3c4; }
nav { font-size: .9rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY = f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Page:
    """Content of the page. `pictures` maps paths of picture blocks to SVGs; `further` figures follow the report.

    `place` returns the address of a run's folder relative to the page, or None.
    """

    summary: Summary
    comparison: Comparison
    report: Sequence[Block]
    pictures: Mapping[str, bytes]
    further: Sequence[tuple[str, bytes]] = field(default=())
    place: Places = lambda arm, seed: None


def page(content: Page) -> str:
    """Return the HTML text; equal content gives equal text."""
    anchors = {arm.name: f"#{_anchor(arm)}" for arm in content.summary.arms}
    parts = [part for block in content.report for part in _block(block, content.pictures, anchors)]
    parts += [_figure(words, svg) for words, svg in content.further]
    parts += _runs(content)
    parts += _settings(content)
    return _document(content.summary.name, parts)


def simple_page(title: str, report: Sequence[Block], pictures: Mapping[str, bytes]) -> str:
    """Return a page of blocks without links; `pictures` maps the path of a picture block to an SVG."""
    return _document(title, [part for block in report for part in _block(block, pictures, {})])


def fragment(report: Sequence[Block]) -> str:
    """Return blocks without a page around them, and without links or pictures."""
    return "\n".join(part for block in report for part in _block(block, {}, {})) + "\n"


def _document(title: str, parts: Sequence[str]) -> str:
    title = html.escape(title)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            *parts,
            "</body></html>",
            "",
        ]
    )


def _anchor(arm: ArmSummary) -> str:
    """Return an id for the arm's list of runs that is valid in HTML and in URLs."""
    return "runs-" + quote(arm.name, safe="").replace("%", ".")


def _link(address: str, inner: str) -> str:
    return f'<a href="{html.escape(address)}">{inner}</a>'


def _block(block: Block, pictures: Mapping[str, bytes], anchors: Mapping[str, str]) -> Iterator[str]:
    match block:
        case Heading():
            yield f"<h{block.level}>{_line(block.line, anchors)}</h{block.level}>"
        case Paragraph():
            yield f"<p>{_line(block.line, anchors)}</p>"
        case Bullets():
            items = "\n".join(f"<li>{_line(line, anchors)}</li>" for line in block.lines)
            yield f"<ul>\n{items}\n</ul>"
        case Table():
            rows = [_row(row, block.left, anchors.get(arm)) for row, arm in zip(block.rows, block.arms, strict=True)]
            yield _table([_line(cell, {}) for cell in block.header], rows, block.left)
        case Picture() if block.path in pictures:
            yield _figure(block.words, pictures[block.path])


def _line(line: Line, anchors: Mapping[str, str]) -> str:
    return "".join(_span(span, anchors.get(span.arm)) for span in line)


def _span(span: Span, anchor: str | None) -> str:
    text = html.escape(span.text)
    if span.bold:
        text = f"<strong>{text}</strong>"
    return _link(anchor, text) if anchor else text


def _row(row: Sequence[Line], left: Sequence[bool], anchor: str | None) -> list[str]:
    """Return the cells; cells with a number link to the runs of the row's arm."""
    return [
        _link(anchor, _line(cell, {})) if anchor and not side and _NUMBER.search(plain(cell)) else _line(cell, {})
        for cell, side in zip(row, left, strict=True)
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    kinds = [' class="left"' if side else "" for side in left]
    head = "".join(f"<th{kind}>{cell}</th>" for cell, kind in zip(header, kinds, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _figure(words: str, svg: bytes) -> str:
    source = base64.b64encode(svg).decode("ascii")
    image = f'<img alt="{html.escape(words)}" src="data:image/svg+xml;base64,{source}">'
    return f'<figure><div class="wide">{image}</div><figcaption>{html.escape(words)}</figcaption></figure>'


def _runs(content: Page) -> Iterator[str]:
    """Yield every planned run of every arm, with a link to its folder."""
    yield "<h2>Runs</h2>"
    yield "<p>Ratios come from the runs of their arm and from those of the baseline.</p>"
    spent = [axis.label if axis.is_time else axis.noun for axis in MAIN_AXES]
    header = ["seed", "state", "step", "final accuracy", "n", *spent]
    for arm in content.summary.arms:
        role = " (baseline)" if arm.name == content.summary.baseline else ""
        yield f'<h3 id="{html.escape(_anchor(arm))}">{html.escape(arm.label + role)}</h3>'
        rows = [_run_row(arm, curve, content) for curve in arm.curves]
        yield _table(header, rows, [True, True, *[False] * (len(header) - 2)])


def _run_row(arm: ArmSummary, curve: SeedCurve, content: Page) -> list[str]:
    place = content.place(arm.name, curve.seed)
    seed = str(curve.seed) if place is None else _link(place, f"seed {curve.seed}")
    state = html.escape(f"{curve.status}: {curve.cause}" if curve.cause else str(curve.status))
    if not curve.points:
        return [seed, state, count_text(curve.step), "none", "", "", ""]
    last = curve.points[-1]
    spent = [cost_text(axis, last.cost(axis)) if axis in content.summary.axes else "" for axis in MAIN_AXES]
    numbers = [count_text(last.n) if last.n else "", *spent]
    return [seed, state, count_text(curve.step), accuracy_text(last.accuracy), *numbers]


def _settings(content: Page) -> Iterator[str]:
    arms = content.summary.arms
    same, different = setting_rows(arms)
    yield "<h2>Settings</h2>"
    if different:
        yield "<h3>Different between arms</h3>"
        yield _values(["setting", *(arm.label for arm in arms)], different)
    yield "<h3>The same in every arm</h3>"
    yield _values(["setting", "value"], same)
    yield "<h2>Environment</h2>"
    rows = environment_rows(content.comparison)
    yield _values(["what", "found", "runs"], rows) if rows else "<p>No run recorded it.</p>"


def _values(header: Sequence[str], rows: Sequence[Row]) -> str:
    cells = [[html.escape(cell) for cell in row] for row in rows]
    return _table([html.escape(name) for name in header], cells, [True] * len(header))
