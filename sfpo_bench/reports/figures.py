"""The convergence figure: accuracy over sampled responses and over training time.

Equal summaries give equal bytes (`look.py`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sfpo_bench.core.costs import MAIN_AXES, CostAxis
from sfpo_bench.reports.formats import target_text
from sfpo_bench.reports.look import (
    TEXT_GREY,
    TRIGGER_MARK,
    Look,
    empty_figure,
    files_of,
    look,
    marks_every,
    mean_style,
    styled,
)
from sfpo_bench.reports.mean_curve import mean_curve
from sfpo_bench.reports.notes import (
    TRIGGER_LABEL,
    any_trigger,
    figure_caption,
    measure_text,
    problems_per_point,
    responses_per_point,
    seeds_text,
)
from sfpo_bench.reports.summary import ArmSummary, SeedCurve, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_SEED_LINES_AT_MOST = 5  # arms with more seeds get fainter lines
_LABEL_GAP = 0.045  # smallest distance of two target labels, relative to the axis
_WIDTH, _PANEL_HEIGHT = 10.0, 3.7  # inches


def figure_bytes(summary: Summary) -> dict[str, bytes]:
    """Return the figure as `png` (200 dpi), `pdf` (fonts embedded) and `svg` (text as outlines), by suffix."""
    return files_of(lambda: _figure(summary))


def convergence_figure(summary: Summary) -> Figure:
    """Return the figure: title, legend, two panels with a shared accuracy axis, and a caption."""
    with styled():
        return _figure(summary)


def _figure(summary: Summary) -> Figure:
    text = _words(summary)
    figure = empty_figure(_WIDTH, text.height)
    left, right = figure.subplots(
        1,
        2,
        sharey=True,
        gridspec_kw={
            "left": 0.65 / _WIDTH,
            "right": 1 - 0.85 / _WIDTH,
            "bottom": text.below / text.height,
            "top": 1 - text.above / text.height,
            "wspace": 0.08,
        },
    )
    for panel, axis in zip((left, right), MAIN_AXES, strict=True):
        _draw_panel(panel, summary, axis)
    left.set_ylabel("held-out accuracy (share correct)")
    left.set_ylim(*_accuracy_limits(summary))
    right.tick_params(axis="y", left=False)
    _label_targets(right, summary.targets)
    _write_around(figure, summary, text)
    return figure


@dataclass(frozen=True, slots=True)
class _Words:
    """The wrapped text around the panels, and the height it needs in inches."""

    title: str
    subtitle: str
    caption: str
    legend_columns: int
    legend_rows: int

    @property
    def above(self) -> float:
        return 0.2 + 0.21 * _lines(self.title) + 0.17 * _lines(self.subtitle) + 0.175 * self.legend_rows + 0.1

    @property
    def below(self) -> float:
        return 0.62 + 0.15 * _lines(self.caption)

    @property
    def height(self) -> float:
        return self.above + _PANEL_HEIGHT + self.below


def _words(summary: Summary) -> _Words:
    responses = f"{responses_per_point(summary)} responses{problems_per_point(summary)}"
    sizes = f"{seeds_text(summary)}, {responses} per point of a seed"
    labels = [_legend_label(arm) for arm in summary.arms] + [TRIGGER_LABEL] * any_trigger(summary)
    columns = max(1, min(len(labels), 145 // (max(map(len, labels)) + 15)))
    return _Words(
        title=textwrap.fill(summary.name, 100),
        subtitle=textwrap.fill(f"{measure_text(summary)}; {sizes}", 150),
        caption=textwrap.fill(figure_caption(summary), 165),
        legend_columns=columns,
        legend_rows=-(-len(labels) // columns),
    )


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _write_around(figure: Figure, summary: Summary, text: _Words) -> None:
    """Place title, subtitle and legend from the top and the caption at the bottom; distances in inches."""
    left, top = 0.65 / _WIDTH, 0.12
    figure.text(left, 1 - top / text.height, text.title, va="top", size=11, weight="bold")
    top += 0.21 * _lines(text.title)
    figure.text(left, 1 - top / text.height, text.subtitle, va="top", color=TEXT_GREY)
    top += 0.17 * _lines(text.subtitle) + 0.03
    entries = _legend(summary)
    figure.legend(
        handles=[line for _, line in entries],
        labels=[label for label, _ in entries],
        loc="upper left",
        bbox_to_anchor=(left, 1 - top / text.height),
        ncols=text.legend_columns,
        frameon=False,
        handlelength=4.2,
        borderaxespad=0.0,
        borderpad=0.15,
        labelspacing=0.35,
    )
    figure.text(left, 0.1 / text.height, text.caption, va="bottom", size=7.5, color=TEXT_GREY, linespacing=1.3)


def _legend_label(arm: ArmSummary) -> str:
    """Return the arm's label, with its seeds if some are missing. matplotlib hides labels with a leading _."""
    label = textwrap.shorten(arm.label, 90, placeholder=" …")
    label = f" {label}" if label.startswith("_") else label
    if arm.seeds_finished == arm.seeds_planned:
        return label
    return f"{label} ({arm.seeds_finished} of {arm.seeds_planned} finished)"


def _legend(summary: Summary) -> list[tuple[str, Line2D]]:
    """Return every arm in display order, then the trigger's marker if one fired."""
    from matplotlib.lines import Line2D

    entries = [
        (_legend_label(arm), Line2D([], [], **mean_style(look(order)))) for order, arm in enumerate(summary.arms)
    ]
    if any_trigger(summary):
        entries.append((TRIGGER_LABEL, Line2D([], [], linestyle="none", color="0.2", **TRIGGER_MARK)))
    return entries


def _draw_panel(panel: Axes, summary: Summary, axis: CostAxis) -> None:
    from matplotlib.ticker import MaxNLocator

    if axis.value not in summary.axes:
        panel.text(0.5, 0.5, "not recorded in these runs", transform=panel.transAxes, ha="center", color=TEXT_GREY)
        panel.set_xlabel(axis.caption)
        panel.set_xticks([])
        return
    for target in summary.targets:
        panel.axhline(target, color="0.45", linestyle=(0, (1, 2)), linewidth=0.9, zorder=1)
    for order, arm in enumerate(summary.arms):
        _draw_arm(panel, arm, axis, order)
    panel.set_xlabel(axis.caption)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.set_xlim(left=0)
    panel.margins(x=0.02)
    panel.grid(color="0.92", linewidth=0.6)
    panel.set_axisbelow(True)


def _draw_arm(panel: Axes, arm: ArmSummary, axis: CostAxis, order: int) -> None:
    """Draw the band, single seeds, the mean line with about ten staggered markers, and trigger diamonds."""
    mean = mean_curve(arm, axis.value)
    if mean is None:
        return
    own = look(order)
    panel.fill_between(mean.x, mean.low, mean.high, color=own.color, alpha=0.14, linewidth=0, zorder=2)
    faint = 0.35 if len(arm.evaluated()) <= _SEED_LINES_AT_MOST else 0.22
    for curve in arm.evaluated():
        panel.plot(curve.costs(axis.value), curve.accuracies(), color=own.color, linewidth=0.6, alpha=faint, zorder=3)
        _draw_trigger(panel, curve, axis, own)
    panel.plot(
        mean.x,
        mean.mean,
        markevery=marks_every(len(mean.x), order),
        zorder=4 + 0.01 * order,
        clip_on=False,  # do not clip markers at zero cost
        **mean_style(own),
    )


def _draw_trigger(panel: Axes, curve: SeedCurve, axis: CostAxis, own: Look) -> None:
    """Draw a diamond on the seed's line where its trigger fired, interpolated between the evaluations."""
    if curve.trigger_step is None:
        return
    steps = [point.step for point in curve.points]
    x, y = (np.interp(curve.trigger_step, steps, values) for values in (curve.costs(axis.value), curve.accuracies()))
    panel.plot([x], [y], color=own.color, zorder=6, **TRIGGER_MARK)


def _accuracy_limits(summary: Summary) -> tuple[float, float]:
    """Return the range of all points and targets with a margin, inside [0, 1].

    Bands are excluded: over two seeds they span 12.7 standard errors and would flatten every curve.
    """
    points = [accuracy for arm in summary.arms for curve in arm.curves for accuracy in curve.accuracies()]
    low, high = min([*points, *summary.targets]), max([*points, *summary.targets])
    margin = 0.07 * (high - low) or 0.05
    return max(0.0, low - margin), min(1.0, high + margin)


def _label_targets(panel: Axes, targets: Sequence[float]) -> None:
    """Label each target line at the panel's right edge, shifted where labels would overlap."""
    low, high = panel.get_ylim()
    places = spread([(target - low) / (high - low) for target in sorted(targets)], _LABEL_GAP)
    for target, place in zip(sorted(targets), places, strict=True):
        text = f"target {target_text(target)}"
        panel.text(1.01, place, text, transform=panel.transAxes, va="center", size=8, color=TEXT_GREY)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Shift ascending `places` up by as little as needed to be `gap` apart."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    return moved
