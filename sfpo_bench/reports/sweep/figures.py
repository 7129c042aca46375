"""Figures of a sweep: response to each parameter, parallel coordinates, history, and the curves of all trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from sfpo_bench.reports.look import TEXT_GREY, empty_figure, files_of, look
from sfpo_bench.reports.sweep.load import Axis, Sweep, SweepTrial
from sfpo_bench.reports.sweep.tables import goal_interval, goal_text, goal_value_text, value_text
from sfpo_bench.search.space import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 10.0  # inches
_COMPLETE, _PRUNED, _FAILED = look(0).color, look(4).color, look(1).color

RESPONSE, PARALLEL, HISTORY, CURVES = "response", "parallel", "history", "curves"
WORDS = {
    RESPONSE: "Response to each parameter: complete trials as dots, pruned ones as crosses at what they had; means "
    "with 95 % intervals over seeds where a trial has several",
    PARALLEL: "Parallel coordinates: a line per trial, dark where it was good",
    HISTORY: "History: each trial when it ended, and the best so far",
    CURVES: "Curves of all trials on the cost axis of the goal; pruned ones end where they were given up",
}


def sweep_figures(sweep: Sweep) -> dict[str, dict[str, bytes]]:
    """Return every figure as `png`, `pdf` and `svg`, or nothing if no trial has a value."""
    if not any(trial.values for trial in sweep.trials):
        return {}
    # mypy infers no type for a lambda's default.
    return {name: files_of(lambda draw=draw: draw(sweep)) for name, draw in SWEEP_FIGURES.items()}  # type: ignore[misc]


def _response(sweep: Sweep) -> Figure:
    columns = min(3, len(sweep.axes))
    rows = -(-len(sweep.axes) // columns)
    figure = empty_figure(_WIDTH, 0.75 + 2.9 * rows)
    grid: dict[str, Any] = {"hspace": 0.42, "wspace": 0.2, "left": 0.08, "right": 0.975}
    grid |= {"bottom": 0.6 / (0.75 + 2.9 * rows), "top": 1 - 0.5 / (0.75 + 2.9 * rows)}
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True, gridspec_kw=grid)
    for index, panel in enumerate(panels.flat):
        if index >= len(sweep.axes):
            panel.axis("off")
            continue
        _scatter(panel, sweep, sweep.axes[index])
        if index % columns == 0:
            panel.set_ylabel(goal_text(sweep.goal), fontsize=7.5)
    figure.text(0.08, 0.985, f"{sweep.name}: response to each parameter", va="top", size=11, weight="bold")
    _key(figure)
    return figure


def _scatter(panel: Axes, sweep: Sweep, axis: Axis) -> None:
    places = _places(axis)
    for trial in sweep.trials:
        if not trial.values or axis.name not in trial.point:
            continue
        x = places(trial.point[axis.name])
        complete = trial.state == "complete"
        panel.plot(
            [x], [trial.value], "o" if complete else "x", color=_COMPLETE if complete else _PRUNED, alpha=0.75, ms=4
        )
        interval = goal_interval(sweep.goal, list(trial.seed_values.values()))
        if complete and interval:
            mean = fmean(trial.seed_values.values())
            half = [[mean - interval.low], [interval.high - mean]]
            panel.errorbar([x], [mean], yerr=half, fmt="_", color="0.1", elinewidth=1.0, capsize=2.0, ms=5)
    if len(sweep.goals) == 1 and sweep.best is not None and axis.name in sweep.best.point:
        ring: dict[str, Any] = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.2}
        panel.plot([places(sweep.best.point[axis.name])], [sweep.best.value], color="0.1", linestyle="none", **ring)
    _limits(panel, sweep)
    panel.set_xlabel(axis.name)
    _ticks(panel, axis)
    panel.grid(color="0.92", linewidth=0.6)
    panel.set_axisbelow(True)


def _limits(panel: Axes, sweep: Sweep) -> None:
    """Scale the panel to the complete trials; pruned ones, whose values are from earlier steps, may lie below it."""
    values = [trial.value for trial in sweep.complete] or [t.value for t in sweep.trials if t.values]
    values = [value for value in values if math.isfinite(value)]
    if values:
        margin = 0.12 * (max(values) - min(values)) or 0.01
        panel.set_ylim(min(values) - margin, max(values) + margin)


def _parallel(sweep: Sweep) -> Figure:
    figure = empty_figure(_WIDTH, 4.0)
    panel = figure.add_axes((0.06, 0.14, 0.9, 0.68))
    trials = [trial for trial in sweep.complete if math.isfinite(trial.value)]
    values = [trial.value for trial in trials] or [0.0, 1.0]
    low, width = min(values), max(values) - min(values) or 1.0
    _lines(panel, sweep, {trial.number: (trial.value - low) / width for trial in trials})
    for index, axis in enumerate(sweep.axes):
        _upright(panel, index, _scale(axis), left=True)
    _upright(panel, len(sweep.axes), [(at, goal_value_text(low + at * width)) for at in (0.0, 0.5, 1.0)], left=False)
    panel.set_xticks(range(len(sweep.axes) + 1), [*(axis.name for axis in sweep.axes), goal_text(sweep.goal)])
    panel.set_yticks([])
    panel.set_xlim(-0.35, len(sweep.axes) + 0.35)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    title = f"{sweep.name}: parallel coordinates of {len(trials)} complete trials"
    figure.text(0.06, 0.97, title, va="top", size=11, weight="bold")
    note = "dark: good. Lines leave out parameters that a trial does not have"
    figure.text(0.06, 0.9, note, va="top", size=7.5, color=TEXT_GREY)
    return figure


def _lines(panel: Axes, sweep: Sweep, shares: Mapping[int, float]) -> None:
    """Draw a line per trial in `shares`, which maps trial numbers to the goal scaled to 0 to 1; the best on top."""
    from matplotlib import colormaps

    colours = colormaps["viridis" if sweep.goal.minimise else "viridis_r"]
    for trial in reversed([trial for trial in sweep.complete if trial.number in shares]):
        share = shares[trial.number]
        heights = [*(_height(axis, trial) for axis in sweep.axes), share]
        points = [(index, height) for index, height in enumerate(heights) if height is not None]
        panel.plot([x for x, _ in points], [y for _, y in points], color=colours(share), linewidth=1.1, alpha=0.85)


def _upright(panel: Axes, at: int, marks: Sequence[tuple[float, str]], *, left: bool) -> None:
    """Draw one axis of parallel coordinates, with labels on its left or right."""
    panel.axvline(at, color="0.3", linewidth=0.8)
    for height, text in marks:
        place, side = (at - 0.02, "right") if left else (at + 0.02, "left")
        # A white background keeps labels readable where lines cross them.
        white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
        panel.text(place, height, text, ha=side, va="center", size=7, color=TEXT_GREY, bbox=white, zorder=5)


def _history(sweep: Sweep) -> Figure:
    figure = empty_figure(_WIDTH, 3.6)
    panel = figure.add_axes((0.08, 0.15, 0.9, 0.68))
    best, line = math.nan, []
    pick = min if sweep.goal.minimise else max
    for trial in sweep.trials:
        if trial.values:
            complete = trial.state == "complete"
            colour = _COMPLETE if complete else _PRUNED
            panel.plot([trial.number], [trial.value], "o" if complete else "x", color=colour, ms=4)
            best = trial.value if complete and math.isnan(best) else pick(best, trial.value) if complete else best
        elif trial.state == "failed":
            panel.axvline(trial.number, color=_FAILED, linewidth=0.8, linestyle=":")
        line.append((trial.number, best))
    panel.step([x for x, _ in line], [y for _, y in line], where="post", color="0.2", linewidth=1.3)
    panel.set_xlabel("trial")
    panel.set_ylabel(goal_text(sweep.goal), fontsize=7.5)
    figure.text(0.08, 0.97, f"{sweep.name}: history", va="top", size=11, weight="bold")
    _key(figure)
    return figure


def _curves(sweep: Sweep) -> Figure:
    figure = empty_figure(_WIDTH, 4.0)
    panel = figure.add_axes((0.08, 0.14, 0.9, 0.7))
    first = int(sweep.search["first_seed"])
    for trial in sweep.trials:
        curve = trial.curves.get(first)
        if curve is None or not curve.costs:
            continue
        style = {"complete": (_COMPLETE, 0.35), "pruned": (_PRUNED, 0.8)}.get(trial.state, (_FAILED, 0.8))
        panel.plot(curve.costs, curve.accuracies, color=style[0], alpha=style[1], linewidth=0.9)
        if trial.state == "pruned":
            panel.plot(curve.costs[-1:], curve.accuracies[-1:], "x", color=style[0], ms=4)
    best = sweep.best if len(sweep.goals) == 1 else None
    if best is not None and first in best.curves:
        curve = best.curves[first]
        panel.plot(curve.costs, curve.accuracies, color="0.1", linewidth=2.0)
    panel.set_xlabel(sweep.goal.axis.value.replace("_", " "))
    panel.set_ylabel(f"sampled accuracy on {sweep.problems}")
    black = "" if best is None else "; black: the best"
    figure.text(0.08, 0.97, f"{sweep.name}: curves of all trials, first seed{black}", va="top", size=11, weight="bold")
    _key(figure)
    return figure


def _key(figure: Figure) -> None:
    figure.text(
        0.99,
        0.97,
        "dots and blue: complete   crosses and orange: pruned",
        va="top",
        ha="right",
        size=7.5,
        color=TEXT_GREY,
    )


def _places(axis: Axis) -> Callable[[Value], float]:
    if axis.choices:
        order = {repr(choice): float(index) for index, choice in enumerate(axis.choices)}
        return lambda value: order.get(repr(value), math.nan)
    return _number


def _number(value: Value) -> float:
    return math.nan if value is None else float(value)


def _ticks(panel: Axes, axis: Axis) -> None:
    if axis.choices:
        panel.set_xticks(range(len(axis.choices)), [value_text(choice) for choice in axis.choices])
        panel.set_xlim(-0.5, len(axis.choices) - 0.5)
    elif axis.is_log:
        panel.set_xscale("log")
        ticks = np.geomspace(axis.low, axis.high, 4)
        panel.set_xticks(ticks, [_short(tick) for tick in ticks])
        panel.minorticks_off()


def _height(axis: Axis, trial: SweepTrial) -> float | None:
    """Return where a trial crosses the axis, from 0 to 1, or None if it lacks the parameter."""
    if axis.name not in trial.point:
        return None
    value = trial.point[axis.name]
    if axis.choices:
        return _places(axis)(value) / max(1, len(axis.choices) - 1)
    return axis.share(_number(value))


def _scale(axis: Axis) -> Sequence[tuple[float, str]]:
    if axis.choices:
        last = max(1, len(axis.choices) - 1)
        return [(index / last, value_text(choice)) for index, choice in enumerate(axis.choices)]
    ends = np.geomspace(axis.low, axis.high, 3) if axis.is_log else np.linspace(axis.low, axis.high, 3)
    return [(at, _short(value)) for at, value in zip((0.0, 0.5, 1.0), ends, strict=True)]


def _short(value: float) -> str:
    """Return two or three digits: `0.02`, `1.6e-3`."""
    if 0 < abs(value) < 0.01:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return f"{value:.3g}"


def figure_names(figures: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return caption and PNG file name of each figure."""
    return [(WORDS[name], f"{name}.png") for name in figures]


SWEEP_FIGURES: Mapping[str, Callable[[Sweep], Figure]] = {
    RESPONSE: _response,
    PARALLEL: _parallel,
    HISTORY: _history,
    CURVES: _curves,
}
