"""A figure of a comparison in your paper's style: selection, order, names and colors of arms.

    own_figure(summary, FigureStyle(arms=("grpo", "sfpo"), labels={"sfpo": "ours"}, columns=2, log_cost=True))

Means and bands have the same meaning as in the report's figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.formats import target_text
from sfpo_bench.reports.look import Look, empty_figure, look, marks_every, mean_style, styled
from sfpo_bench.reports.mean_curve import mean_curve
from sfpo_bench.reports.summary import ArmSummary, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = {1: 3.25, 2: 6.75}  # of one column of a paper's text, and of both
Spread = Literal["band", "seeds", "both", "none"]
_SPREADS: tuple[Spread, ...] = ("band", "seeds", "both", "none")


@dataclass(frozen=True, slots=True)
class FigureStyle:
    """The style of a figure.

    `arms` are shown in this order (empty: all, in the comparison's order). `labels` and `colors` replace those of an
    arm, by its name. `axes` are keys of cost axes, with one panel each. The figure is as wide as `columns` of a paper.
    `spread` shows pointwise 95 % bands, single seeds, both or neither. `targets` draws the fixed targets.
    """

    arms: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    axes: tuple[str, ...] = (CostAxis.responses.value,)
    columns: int = 1
    font_size: float = 8.0
    height_inches: float = 2.3
    log_cost: bool = False
    log_accuracy: bool = False
    spread: Spread = "band"
    targets: bool = True
    legend: bool = True


def own_figure(summary: Summary, style: FigureStyle | None = None) -> Figure:
    """Return the figure; raises `ValueError` for an arm, axis or choice that does not exist."""
    import matplotlib

    style = style or FigureStyle()
    _check(summary, style)
    with styled(), matplotlib.rc_context({"font.size": style.font_size, "legend.fontsize": style.font_size - 1}):
        figure = empty_figure(WIDTH_INCHES[style.columns], style.height_inches)
        figure.set_layout_engine("constrained")
        panels = figure.subplots(1, len(style.axes), sharey=True, squeeze=False)[0]
        for panel, key in zip(panels, style.axes, strict=True):
            _draw(panel, summary, CostAxis(key), style)
        panels[0].set_ylabel("held-out accuracy")
        if style.legend:
            panels[-1].legend(loc="best", frameon=False, handlelength=2.6, labelspacing=0.3)
        return figure


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure with embedded fonts and without a date; the suffix of `path` is its kind."""
    kind = Path(path).suffix.removeprefix(".")
    undated: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with styled():
        figure.savefig(path, dpi=300, metadata=undated.get(kind))


def chosen(summary: Summary, arms: Iterable[str]) -> list[tuple[int, ArmSummary]]:
    """Return the arms in the requested order, each with its position in the comparison, which determines its marker.

    Raises `ValueError` for a name that no arm has.
    """
    places = {arm.name: (place, arm) for place, arm in enumerate(summary.arms)}
    names = tuple(arms) or tuple(places)
    known_names(summary, names)
    return [places[name] for name in names]


def known_names(summary: Summary, names: Iterable[str]) -> None:
    """Raise `ValueError` for a name that no arm has."""
    unknown = [name for name in names if name not in {arm.name for arm in summary.arms}]
    if unknown:
        known = ", ".join(arm.name for arm in summary.arms)
        raise ValueError(f"found no arm {', '.join(map(repr, unknown))} in {summary.name!r}; expected one of {known}")


def _check(summary: Summary, style: FigureStyle) -> None:
    known_names(summary, (*style.arms, *style.labels, *style.colors))
    unknown = [key for key in style.axes if key not in summary.axes]
    if unknown or not style.axes:
        found = ", ".join(unknown) or "no axis"
        raise ValueError(f"found {found} in axes; expected one or more of {', '.join(summary.axes)}")
    if style.columns not in WIDTH_INCHES:
        raise ValueError(f"found {style.columns} columns; expected 1 or 2")
    if style.spread not in _SPREADS:
        raise ValueError(f"found {style.spread!r} as the spread; expected one of {', '.join(_SPREADS)}")


def _draw(panel: Axes, summary: Summary, axis: CostAxis, style: FigureStyle) -> None:
    from matplotlib.ticker import FuncFormatter

    if style.targets:
        for target in summary.targets:
            panel.axhline(target, color="0.55", linestyle=(0, (1, 2)), linewidth=0.7, zorder=1)
    for place, arm in chosen(summary, style.arms):
        own = look(place)
        _draw_arm(panel, arm, axis, replace(own, color=style.colors.get(arm.name, own.color)), style, place)
    panel.set_xlabel(axis.label)
    if style.log_cost:
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    else:
        panel.set_xlim(left=0)
        panel.locator_params(axis="x", nbins=4)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if style.log_accuracy:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: target_text(value)))
        panel.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    panel.grid(color="0.92", linewidth=0.5)
    panel.set_axisbelow(True)


def _draw_arm(panel: Axes, arm: ArmSummary, axis: CostAxis, own: Look, style: FigureStyle, place: int) -> None:
    mean = mean_curve(arm, axis.value)
    if mean is None:
        return
    # The cost is 0 at a run's start, which a logarithmic axis cannot show.
    shown = [index for index, (x, y) in enumerate(zip(mean.x, mean.mean, strict=True)) if _on(x, y, style)]
    x = [mean.x[index] for index in shown]
    if style.spread in ("band", "both"):
        low, high = ([ends[index] for index in shown] for ends in (mean.low, mean.high))
        panel.fill_between(x, low, high, color=own.color, alpha=0.15, linewidth=0)
    if style.spread in ("seeds", "both"):
        for curve in arm.counted():
            points = [
                (p.cost(axis.value), p.accuracy) for p in curve.points if _on(p.cost(axis.value), p.accuracy, style)
            ]
            panel.plot(*zip(*points, strict=True), color=own.color, linewidth=0.5, alpha=0.4)
    label = " ".join(style.labels.get(arm.name, arm.label).split())
    thin = mean_style(own) | {"linewidth": 1.3, "markersize": 3.5, "markeredgewidth": 0.4}
    # A leading _ would hide a label from the legend.
    label = f" {label}" if label.startswith("_") else label
    panel.plot(x, [mean.mean[index] for index in shown], markevery=marks_every(len(x), place), label=label, **thin)


def _on(cost: float, accuracy: float, style: FigureStyle) -> bool:
    return (cost > 0 or not style.log_cost) and (accuracy > 0 or not style.log_accuracy)
