"""The figure of a league: each method's cost ratio in responses (x) and in optimizer steps (y).

Labels are in a column at the right, in the order of their points and connected to them by lines, so that thirty labels
stay readable. Equal leagues give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.formats import target_text
from sfpo_bench.reports.league.standings import League
from sfpo_bench.reports.look import TEXT_GREY, Look, empty_figure, files_of, look
from sfpo_bench.reports.summary import RatioRow
from sfpo_bench.statistics import Claim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _ROW, _LEAST = 10.0, 0.235, 5.0  # inches: the figure, a label, the smallest height of the panel
_ABOVE, _BELOW = 0.75, 0.95
_LABELS_AT, _GAP = 1.06, 0.01  # as shares of the panel
# The line from the left end of a label to its point.
_LINE = {"arrowstyle": "-", "linewidth": 0.5, "alpha": 0.55, "relpos": (0.0, 0.5), "shrinkA": 1, "shrinkB": 3}
_TICKS = (0.2, 0.25, 0.33, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)
_RANGE = 6.0  # larger ratios are drawn at this value, smaller ones at its inverse


@dataclass(frozen=True, slots=True)
class Place:
    """A method's point: its label and the ratios on both axes."""

    label: str
    group: str
    x: RatioRow
    y: RatioRow


def league_figure(league: League, title: str) -> dict[str, bytes]:
    """Return the figure as `png`, `pdf` and `svg`."""
    return files_of(lambda: _figure(league, title))


def places(league: League) -> tuple[list[Place], list[str]]:
    """Return the methods that have a point at the first target, and the labels of those that have none."""
    drawn, without = [], []
    for row in league.compared:
        if row.arm == league.baseline:
            continue
        pair = [row.ratio(league.targets[0], axis) for axis in (CostAxis.responses, CostAxis.optimizer_steps)]
        if pair[0] is None or pair[1] is None or None in (pair[0].point, pair[1].point):
            without.append(row.label)
        else:
            drawn.append(Place(row.label, row.group, pair[0], pair[1]))
    return drawn, without


def _figure(league: League, title: str) -> Figure:
    drawn, without = places(league)
    panel_height = max(_LEAST, _ROW * (len(drawn) + 1))
    height = _ABOVE + panel_height + _BELOW
    figure = empty_figure(_WIDTH, height)
    panel = figure.add_axes((0.075, _BELOW / height, 0.56, panel_height / height))
    _axes(panel, drawn)
    groups = sorted({place.group for place in drawn})
    own = {group: look(order) for order, group in enumerate(groups)}
    for place in drawn:
        _draw(panel, place, own[place.group])
    _labels(panel, drawn, own, _ROW / panel_height)
    base = league.row(league.baseline).label
    target = target_text(league.targets[0])
    figure.text(0.012, 1 - 0.1 / height, title, va="top", size=11, weight="bold")
    said = (
        f"Cost of {base} to {target} divided by the method's, with 95 % intervals; colors and markers show tie groups"
    )
    figure.text(0.012, 1 - 0.36 / height, said, va="top", color=TEXT_GREY)
    figure.text(0.012, 0.1 / height, _below(league, drawn, without), va="bottom", size=7.5, color=TEXT_GREY, wrap=True)
    panel.set_xlabel("ratio in responses (above 1: fewer)")
    panel.set_ylabel("ratio in optimizer steps (above 1: fewer)")
    return figure


def _axes(panel: Axes, drawn: Sequence[Place]) -> None:
    """Set logarithmic scales that contain all points and 1, and draw lines at 1."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis, values, line, limit in (
        (panel.xaxis, [place.x for place in drawn], panel.axvline, panel.set_xlim),
        (panel.yaxis, [place.y for place in drawn], panel.axhline, panel.set_ylim),
    ):
        ends = [1.0, *(_within(end) for row in values for end in (row.point, row.low, row.high) if end is not None)]
        low, high = min(ends) / 1.12, max(ends) * 1.12
        limit(low, high)
        axis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        line(1.0, color="0.45", linestyle=(0, (1, 2)), linewidth=0.9, zorder=1)
    panel.grid(color="0.93", linewidth=0.6)
    panel.set_axisbelow(True)


def _draw(panel: Axes, place: Place, own: Look) -> None:
    x, y = _point(place.x), _point(place.y)
    for row, along in ((place.x, True), (place.y, False)):
        low, high = (_within(_or(end, row)) for end in (row.low, row.high))
        ends = ([low, high], [y, y]) if along else ([x, x], [low, high])
        panel.plot(*ends, color=own.color, linewidth=0.9, alpha=0.45, zorder=3, solid_capstyle="butt")
        if row.claim is not Claim.estimate:
            mark = {Claim.at_least: (">", "^"), Claim.at_most: ("<", "v")}[row.claim][0 if along else 1]
            panel.plot([x], [y], marker=mark, markersize=9, color=own.color, fillstyle="none", zorder=4)
    panel.plot(
        [x],
        [y],
        marker=own.marker,
        color=own.color,
        markersize=5.5,
        markeredgecolor="white",
        linestyle="none",
        zorder=5,
    )


def _labels(panel: Axes, drawn: Sequence[Place], own: dict[str, Look], gap: float) -> None:
    """Draw each label at the right, as near to the height of its point as the others allow, with a line to it."""
    ordered = sorted(drawn, key=lambda place: (_point(place.y), -_point(place.x)))
    tops = label_heights([_share(panel, _point(place.y)) for place in ordered], gap)
    for place, top in zip(ordered, tops, strict=True):
        colour = own[place.group].color
        panel.annotate(
            f"{place.label}  {place.group}",
            xy=(_point(place.x), _point(place.y)),
            xytext=(_LABELS_AT, top),
            textcoords="axes fraction",
            va="center",
            size=8,
            color=colour,
            annotation_clip=False,
            arrowprops=dict(_LINE, color=colour),
        )


def label_heights(shares: Sequence[float], gap: float) -> list[float]:
    """Return ascending heights in the panel, at least `gap` apart and as near to `shares` as possible.

    Minus place * gap they are an isotonic regression, computed by pooling adjacent violators into means.
    """
    blocks: list[tuple[float, int]] = []
    for place, share in enumerate(shares):
        value, count = share - place * gap, 1
        while blocks and blocks[-1][0] > value:
            above, more = blocks.pop()
            value, count = (above * more + value * count) / (count + more), count + more
        blocks.append((value, count))
    level = [value for value, count in blocks for _ in range(count)]
    most = max(0.0, 1.0 - (len(level) - 1) * gap)
    return [min(max(value, 0.0), most) + place * gap for place, value in enumerate(level)]


def _share(panel: Axes, y: float) -> float:
    """Return the position of a ratio on the vertical axis, from 0 at the bottom to 1 at the top."""
    from math import log

    low, high = panel.get_ylim()
    return log(y / low) / log(high / low)


def _below(league: League, drawn: Sequence[Place], without: Sequence[str]) -> str:
    said = []
    if any(row.claim is not Claim.estimate for place in drawn for row in (place.x, place.y)):
        said.append("Open triangles mark bounds: the ratio is at least (up, right) or at most (down, left) so large.")
    if without:
        said.append(f"Without a point, because no ratio can be stated: {', '.join(without)}.")
    same = [row.label for row in league.rows if row.same is not None]
    if same:
        said.append(f"Not drawn, because they are the same as another method: {', '.join(same)}.")
    return " ".join(said)


def _point(row: RatioRow) -> float:
    assert row.point is not None
    return _within(row.point)


def _within(value: float) -> float:
    return min(max(value, 1 / _RANGE), _RANGE)


def _or(end: float | None, row: RatioRow) -> float:
    return _point(row) if end is None else end
