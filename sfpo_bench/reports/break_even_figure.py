"""The figure of time ratios over the share of one update pass in a step, with a panel for each target.

Equal summaries give equal bytes (`look.py`).
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from sfpo_bench.reports.break_even import LEAST_SHARE, MOST_SHARE
from sfpo_bench.reports.break_even_text import break_even_caption, drawn
from sfpo_bench.reports.figures import spread
from sfpo_bench.reports.formats import target_text
from sfpo_bench.reports.look import TEXT_GREY, empty_figure, files_of, look, styled
from sfpo_bench.reports.papers.pass_shares import published_shares
from sfpo_bench.reports.summary import BreakEven, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL, _SIDE, _ABOVE = (4.35, 2.9), 0.62, 0.62  # inches; a panel's title and the published runs are above it
_COLUMNS, _POINTS = 2, 60
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 0.95)
_NUMBERS_APART = 0.033  # of a panel's width


def break_even_bytes(summary: Summary) -> dict[str, bytes]:
    """Return the figure as `png`, `pdf` and `svg`; empty if there is nothing to draw."""
    found = summary.break_even
    return {} if found is None or not drawn(found) else files_of(lambda: _figure(summary, found))


def break_even_figure(summary: Summary) -> Figure:
    """Draw the time ratio over the share of one update pass. Raises `ValueError` if passes do not differ."""
    found = summary.break_even
    if found is None or not drawn(found):
        raise ValueError("found no two arms that take different numbers of passes and reach a target; nothing to draw")
    with styled():
        return _figure(summary, found)


def _figure(summary: Summary, found: BreakEven) -> Figure:
    targets = drawn(found)
    columns = min(_COLUMNS, len(targets))
    rows, width = -(-len(targets) // columns), columns * (_PANEL[0] + _SIDE) + 0.25
    caption = "\n".join(textwrap.fill(text, round(16.4 * width)) for text in break_even_caption(summary))
    with_curve = {row.arm for row in found.rows if row.curve}
    arms = [(order, arm.label) for order, arm in enumerate(summary.arms) if arm.name in with_curve]
    top, below = 0.36 + 0.19 * -(-len(arms) // columns), 0.5 + 0.148 * (caption.count("\n") + 1)
    height = top + rows * (_PANEL[1] + _ABOVE) + (rows - 1) * 0.5 + below
    figure = empty_figure(width, height)
    for place, target in enumerate(targets):
        row, column = divmod(place, columns)
        bottom = height - top - (row + 1) * (_PANEL[1] + _ABOVE) - row * 0.5
        left = _SIDE + column * (_PANEL[0] + _SIDE)
        panel = figure.add_axes((left / width, bottom / height, _PANEL[0] / width, _PANEL[1] / height))
        _draw(panel, summary, found, target)
        if column == 0:
            panel.set_ylabel(f"time of {textwrap.shorten(summary.arm(summary.baseline).label, 24)} / time of the arm")
    title = textwrap.shorten(f"{summary.name}: when saving steps saves time", round(9 * width), placeholder=" …")
    figure.text(_SIDE / width, 1 - 0.1 / height, title, va="top", size=11, weight="bold")
    _legend(figure, arms, columns, (_SIDE / width, 1 - 0.34 / height))
    figure.text(_SIDE / width, 0.08 / height, caption, va="bottom", size=7.5, color=TEXT_GREY, linespacing=1.3)
    return figure


def _legend(figure: Figure, arms: list[tuple[int, str]], columns: int, corner: tuple[float, float]) -> None:
    from matplotlib.lines import Line2D

    figure.legend(
        handles=[Line2D([], [], color=look(order).color, linestyle=look(order).dashes) for order, _ in arms],
        labels=[f" {textwrap.shorten(label, 44, placeholder=' …')}" for _, label in arms],
        loc="upper left",
        bbox_to_anchor=corner,
        ncols=columns,
        frameon=False,
        handlelength=4.2,
        borderaxespad=0.0,
        borderpad=0.15,
        labelspacing=0.35,
    )


def _draw(panel: Axes, summary: Summary, found: BreakEven, target: float) -> None:
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

    shares = np.geomspace(LEAST_SHARE, MOST_SHARE, _POINTS).tolist()
    panel.set_xscale("log")
    panel.set_xlim(LEAST_SHARE, MOST_SHARE)
    panel.axhline(1.0, color="0.35", linewidth=0.9, zorder=2)
    for order, arm in enumerate(summary.arms):
        for row in found.rows:
            if (row.arm, row.target) == (arm.name, target) and row.curve:
                points, own = [row.at(share) for share in shares], look(order)
                panel.plot(shares, [one.ratio for one in points], color=own.color, linestyle=own.dashes, linewidth=1.7)
                ends = [(one.low, one.high) for one in points if one.low is not None and one.high is not None]
                if len(ends) == len(shares):
                    low, high = zip(*ends, strict=True)
                    panel.fill_between(shares, low, high, color=own.color, alpha=0.14, linewidth=0)
    _mark_own(panel, found, summary.baseline)
    _mark_published(panel)
    panel.xaxis.set_major_locator(FixedLocator(_TICKS))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    panel.yaxis.set_major_locator(MaxNLocator(6))
    panel.set_ylim(bottom=0)
    panel.set_xlabel("share u of one update pass in a step")
    panel.set_title(f"to {target_text(target)}", loc="left", pad=27)
    panel.grid(color="0.92", linewidth=0.6)
    panel.set_axisbelow(True)


def _mark_own(panel: Axes, found: BreakEven, baseline: str) -> None:
    """Draw the share of these runs with its interval."""
    own = found.share_of(baseline)
    if own is None:
        return
    if own.low is not None and own.high is not None:
        panel.axvspan(max(own.low, LEAST_SHARE), min(own.high, MOST_SHARE), color="0.8", linewidth=0, zorder=0)
    panel.axvline(own.share, color="0.25", linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)
    across = panel.get_xaxis_transform()
    factor, side = (1.06, "left") if own.share < 0.1 else (0.94, "right")
    words = "these runs"
    panel.text(own.share * factor, 0.98, words, transform=across, ha=side, va="top", size=8, color=TEXT_GREY)


def _mark_published(panel: Axes) -> None:
    """Draw numbered triangles at the upper edge, with the numbers spread so that they do not overlap."""
    shares, inside = published_shares(), panel.transAxes
    scale = np.log(MOST_SHARE / LEAST_SHARE)
    places = [float(np.log(one.share / LEAST_SHARE) / scale) for one in shares]
    moved = spread(places, _NUMBERS_APART)
    for number, one in enumerate(shares):
        at, text = places[number], moved[number]
        face = "0.25" if one.paper == shares[0].paper else "white"
        panel.plot(
            [at], [1.025], marker="v", color="0.25", markerfacecolor=face, markersize=5, transform=inside, clip_on=False
        )
        panel.plot([at, text], [1.05, 1.075], color="0.5", linewidth=0.6, transform=inside, clip_on=False)
        panel.text(text, 1.08, f"{number + 1}", transform=inside, ha="center", va="bottom", size=7.5)
        panel.axvline(one.share, color="0.85", linewidth=0.6, zorder=0)
