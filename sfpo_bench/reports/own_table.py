"""A table of a comparison in your paper's style: selection of arms and columns, bold cells, marks.

    own_table(summary, TableStyle(columns=(Column("accuracy"), Column("ratio", target=0.5)), caption="Ours."))

Bold are the best value of a column and all values that no test tells apart from it: with equal methods the highest
value alone is noise. Nothing is bold if no value is told apart from the best. The tests are those of the report's
pairs, adjusted by Holm over all pairs of the comparison, including arms that are not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.document import Block, Span, Table, bold, heading, paragraphs, table
from sfpo_bench.reports.formats import accuracy_text, reason_marks, reasons_text, target_text
from sfpo_bench.reports.html import fragment
from sfpo_bench.reports.latex import Columns, tables_tex
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.own_figure import chosen, known_names
from sfpo_bench.reports.summary import ACCURACY, Accuracy, ArmSummary, PairRow, Summary
from sfpo_bench.reports.tables import cost_cell, ratio_cell
from sfpo_bench.statistics import CONFIDENCE, Claim

What = Literal["accuracy", "greedy", "cost", "ratio", "seeds"]
_WHATS: tuple[What, ...] = ("accuracy", "greedy", "cost", "ratio", "seeds")
TOLD_APART = "*"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    `what` is final `accuracy`, `greedy` accuracy, the number of `seeds`, or the `cost` to a `target` on an `axis` or
    its `ratio` to the baseline. Targets are those fixed before the run. `heading` replaces the default heading.
    """

    what: What
    axis: str = CostAxis.responses.value
    target: float | None = None
    heading: str = ""


@dataclass(frozen=True, slots=True)
class TableStyle:
    """The style of a table.

    `arms` are shown in this order (empty: all); `labels` replace those of an arm, by its name. `bold_best` and `marks`
    follow from tests: `marks` puts a star where an arm is told apart from the baseline.
    """

    columns: tuple[Column, ...] = (Column("accuracy"), Column("seeds"))
    arms: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    caption: str = ""
    bold_best: bool = True
    marks: bool = True


@dataclass(frozen=True, slots=True)
class OwnTable:
    """A table in every format. A notebook shows the Markdown."""

    caption: str
    body: Table
    notes: tuple[str, ...]

    @property
    def markdown(self) -> str:
        return markdown([*paragraphs([bold(self.caption)]), self.body, *paragraphs(self.notes)]).rstrip() + "\n"

    @property
    def html(self) -> str:
        """The table as an HTML fragment for your own page."""
        return fragment([*paragraphs([bold(self.caption)]), self.body, *paragraphs(self.notes)])

    def latex(self, columns: Literal[1, 2] = 1) -> str:
        """Return a float (booktabs, tabularx) for a paper with one or two columns; its caption has the notes."""
        blocks: list[Block] = [heading(2, " ".join((self.caption, *self.notes))), self.body]
        return tables_tex(blocks, Columns(columns))

    def _repr_markdown_(self) -> str:
        return self.markdown


def own_table(summary: Summary, style: TableStyle | None = None) -> OwnTable:
    """Return the table; raises `ValueError` for an arm, axis, target or column that does not exist."""
    style = style or TableStyle()
    _check(summary, style)
    arms = [arm for _, arm in chosen(summary, style.arms)]
    reasons = reason_marks(_reason(summary, arm, column) for column in style.columns for arm in arms)
    cells = [_cells(summary, arms, column, style, reasons) for column in style.columns]
    labels = [" ".join(style.labels.get(arm.name, arm.label).split()) for arm in arms]
    header = ("method", *(column.heading or _heading(summary, column) for column in style.columns))
    rows = [(label, *row) for label, *row in zip(labels, *cells, strict=True)]
    return OwnTable(style.caption, table(header, rows, left=1), tuple(_notes(summary, style, cells, reasons)))


def _check(summary: Summary, style: TableStyle) -> None:
    known_names(summary, (*style.arms, *style.labels))
    if not style.columns:
        raise ValueError(f"found no columns; expected one or more of {', '.join(_WHATS)}")
    for column in style.columns:
        if column.what not in _WHATS:
            raise ValueError(f"found column {column.what!r}; expected one of {', '.join(_WHATS)}")
        if column.what not in ("cost", "ratio"):
            continue
        if column.axis not in summary.axes:
            raise ValueError(f"found axis {column.axis!r}; expected one of {', '.join(summary.axes)}")
        if column.target not in summary.targets:
            known = ", ".join(map(target_text, summary.targets)) or "none, since none was fixed"
            raise ValueError(f"found target {column.target} of a {column.what}; expected one of {known}")


def _heading(summary: Summary, column: Column) -> str:
    if column.what in ("cost", "ratio"):
        axis, goal = CostAxis(column.axis), target_text(column.target or 0.0)
        return f"{axis.label} to {goal}" if column.what == "cost" else f"ratio of {axis.noun} to {goal}"
    return {"accuracy": f"{summary.mode} accuracy", "greedy": "greedy accuracy"}.get(column.what, column.what)


def _cells(
    summary: Summary, arms: Sequence[ArmSummary], column: Column, style: TableStyle, reasons: Mapping[str, str]
) -> list[Span]:
    best = _best(summary, arms, column) if style.bold_best else set()
    found = []
    for arm in arms:
        row = _pair(summary, summary.baseline, arm.name, column)
        star = TOLD_APART if style.marks and row is not None and row.separated else ""
        found.append(Span(_text(summary, arm, column, reasons) + star, bold=arm.name in best))
    return found


def _best(summary: Summary, arms: Sequence[ArmSummary], column: Column) -> set[str]:
    """Return the best arm of a column and those not told apart from it; empty if no arm is told apart from it."""
    values = {arm.name: value for arm in arms if (value := _value(summary, arm, column)) is not None}
    if len(values) < 2:
        return set()
    best = max(values, key=values.__getitem__)
    rows = {name: _pair(summary, best, name, column) for name in values if name != best}
    if any(row is None or row.p_value is None for row in rows.values()):
        return set()
    tied = {best} | {name for name, row in rows.items() if row is not None and not row.separated}
    return tied if len(tied) < len(values) else set()


def _value(summary: Summary, arm: ArmSummary, column: Column) -> float | None:
    """Return the value that arms are sorted by, larger is better; None if there is no value to test."""
    if column.what == "accuracy":
        return None if arm.final is None else arm.final.mean
    if column.what not in ("cost", "ratio") or column.target is None:
        return None
    row = summary.absolute.cost(arm.name, column.target, column.axis)
    return -row.point if row.claim is Claim.estimate and row.point is not None else None


def _pair(summary: Summary, one: str, other: str, column: Column) -> PairRow | None:
    """Return the test of two arms that belongs to a column."""
    measure, target = (ACCURACY, None) if column.what == "accuracy" else (column.axis, column.target)
    if column.what not in ("accuracy", "cost", "ratio"):
        return None
    both = {one, other}
    rows = (row for row in summary.pairs if {row.first, row.second} == both)
    return next((row for row in rows if (row.measure, row.target) == (measure, target)), None)


def _reason(summary: Summary, arm: ArmSummary, column: Column) -> str:
    if column.target is None or column.what not in ("cost", "ratio"):
        return ""
    if column.what == "cost":
        return summary.absolute.cost(arm.name, column.target, column.axis).reason
    same = arm.name == summary.baseline
    return "" if same else summary.absolute.ratio(arm.name, column.target, column.axis).reason


def _text(summary: Summary, arm: ArmSummary, column: Column, reasons: Mapping[str, str]) -> str:
    if column.what == "seeds":
        return f"{arm.seeds_finished}"
    if column.what in ("accuracy", "greedy"):
        return _accuracy(arm.final if column.what == "accuracy" else arm.final_greedy)
    target = column.target or 0.0
    if column.what == "cost":
        cost = summary.absolute.cost(arm.name, target, column.axis)
        return cost_cell(cost, CostAxis(column.axis), summary.confidence, reasons)
    if arm.name == summary.baseline:
        return "1"
    return ratio_cell(summary.absolute.ratio(arm.name, target, column.axis), summary.confidence, reasons)


def _accuracy(score: Accuracy | None) -> str:
    if score is None:
        return "none"
    return f"{accuracy_text(score.mean)} ({accuracy_text(score.low)} to {accuracy_text(score.high)})"


def _notes(
    summary: Summary, style: TableStyle, cells: Sequence[Sequence[Span]], reasons: Mapping[str, str]
) -> list[str]:
    spans, level = [span for column in cells for span in column], f"{1 - CONFIDENCE:.2g}"
    base, found = summary.arm(summary.baseline), [f"In brackets: {100 * summary.confidence:g} % intervals."]
    label = " ".join(style.labels.get(base.name, base.label).split())
    if any(column.what == "ratio" for column in style.columns):
        found.append(f"Ratios: the cost of {label} divided by that of the method; above 1 the method is cheaper.")
    test = f"Holm's test over all pairs of the comparison, p at most {level}"
    if any(span.bold for span in spans):
        found.append(f"Bold: the best and what is not told apart from it ({test}).")
    if any(span.text.endswith(TOLD_APART) for span in spans):
        found.append(f"{TOLD_APART} told apart from {label} ({test}).")
    return [*found, *([reasons_text(reasons)] if reasons else [])]
