"""Statistics of the updates: means over seeds of metrics that every training step records, and their figure.

    displacement                  norm of the weights' change in a step
    fast_slow_cosine              cosine of the directions of the fast passes and the slow pass
    gradient_norm                 mean over the passes of a step, before clipping
    entropy                       with a diamond where the entropy trigger switched the fast stage off
    trigger_z                     z-score that the trigger observes
    groups_without_signal_share   share of groups with equal rewards
    clip_fraction                 by pass of a step, mean over steps; and over steps, mean over the passes
    seconds                       time of a step by part

The figure is drawn from `anatomy_frame`, which is also written as a table.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sfpo_bench.reports.load import Comparison, SeedRun, SeedStatus
from sfpo_bench.reports.look import (
    TEXT_GREY,
    TRIGGER_MARK,
    empty_figure,
    files_of,
    look,
    marks_every,
    mean_style,
    styled,
)
from sfpo_bench.reports.series import Series, wide
from sfpo_bench.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANATOMY_COLUMNS: Mapping[str, str] = {
    "arm": "str",
    "label": "str",
    "panel": "str",
    "part": "str",
    "x": "float64",
    "mean": "float64",
    "low": "float64",
    "high": "float64",
    "seeds": "int64",
}

FIRED = "trigger_fired"
WHOLE = "step_seconds"
# Parts of `step_seconds` in the order of a step.
TIME_PARTS: Mapping[str, str] = {
    "rollout_seconds": "rollout",
    "grading_seconds": "grading",
    "old_log_prob_seconds": "old log-probs",
    "fast_seconds": "fast passes",
    "reposition_seconds": "reposition",
    "slow_seconds": "slow pass, or all passes",
    "push_seconds": "hand-over",
    "other_seconds": "rest of the step",
}
_TIME_COLORS = ("#0072B2", "#56B4E9", "#999999", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#DDDDDD")


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: the key of its rows in `anatomy_frame`, its title, the label of x, and the range of possible values."""

    key: str
    title: str
    x: str = "step"
    ends: tuple[float, float] = (-math.inf, math.inf)


_SHARE, _AMOUNT = (0.0, 1.0), (0.0, math.inf)


PANELS = (
    Panel("displacement", "displacement: norm of the weights' change", ends=_AMOUNT),
    Panel("fast_slow_cosine", "cosine of fast and slow part of a step", ends=(-1.0, 1.0)),
    Panel("gradient_norm", "gradient norm, mean over a step's passes", ends=_AMOUNT),
    Panel("entropy", "token entropy, nats", ends=_AMOUNT),
    Panel("trigger_z", "z-score that the entropy trigger watches"),
    Panel("groups_without_signal_share", "share of groups without signal", ends=_SHARE),
    Panel("clip_fraction_by_pass", "clip fraction of each pass, mean over steps", "pass of a step", _SHARE),
    Panel("clip_fraction", "clip fraction, mean over a step's passes", ends=_SHARE),
)
SECONDS = Panel("seconds", "where a step's seconds go", "seconds", _AMOUNT)


def anatomy_frame(comparison: Comparison) -> pd.DataFrame:
    """Return means over an arm's counted runs with pointwise 95 % t intervals, in the columns of `ANATOMY_COLUMNS`.

    `x` is the step or the number of the pass; for `seconds` it is 0, and `part` names the part. A single run has no
    interval, and its `low` and `high` are empty. Rows of the panel `trigger_fired` mark single runs: `x` is the step,
    `mean` the entropy there, `part` the seed.
    """
    rows = [row for arm in comparison.plan.arms for row in _arm_rows(comparison, arm)]
    return pd.DataFrame(rows, columns=list(ANATOMY_COLUMNS)).astype(dict(ANATOMY_COLUMNS))


def anatomy_figure(frame: pd.DataFrame, name: str) -> Figure:
    """Return nine panels drawn from an `anatomy_frame`; a panel without recorded metrics says so."""
    with styled():
        return _figure(frame, name)


def anatomy_bytes(frame: pd.DataFrame, name: str) -> dict[str, bytes]:
    """Return the figure as `png`, `pdf` and `svg`; equal frames give equal bytes."""
    return files_of(lambda: _figure(frame, name))


# --- numbers ----------------------------------------------------------------------------------------------------------


def counted(runs: Sequence[SeedRun]) -> list[SeedRun]:
    """Return the runs that means use: the finished ones, or every one with a step if none has finished."""
    stepped = [run for run in runs if run.metrics]
    return [run for run in stepped if run.status is SeedStatus.finished] or stepped


def _arm_rows(comparison: Comparison, arm: str) -> Iterator[tuple[object, ...]]:
    runs = counted(comparison.of_arm(arm))
    metrics = [_with_means(run.metrics) for run in runs]
    # Once some runs have ended at their target, a mean over the remaining, slower ones would be biased.
    last = min((run.step for run in runs if run.planned_share < 1), default=comparison.plan.steps)
    whole = [{key: one.up_to(last) for key, one in own.items()} for own in metrics]
    label = comparison.plan.arms[arm].label
    over_steps = [panel.key for panel in PANELS if panel.key != "clip_fraction_by_pass"]
    ends = {panel.key: panel.ends for panel in (*PANELS, SECONDS)}
    for key in over_steps:
        steps, values = wide(whole, key)
        yield from ((arm, label, key, "", *row) for row in _bands(steps.tolist(), values.T.tolist(), ends[key]))
    by_pass = "clip_fraction_by_pass"
    for number, shares in _clip_by_pass(metrics):
        yield from ((arm, label, by_pass, "", *row) for row in _bands([number], [shares], ends[by_pass]))
    for part, spent in _seconds(metrics):
        yield from ((arm, label, SECONDS.key, part, *row) for row in _bands([0], [spent], SECONDS.ends))
    for run in runs:
        if run.trigger_step is not None and "entropy" in run.metrics:
            entropy = run.metrics["entropy"]
            at = float(np.interp(run.trigger_step, entropy.steps, entropy.values))
            yield arm, label, FIRED, str(run.seed), run.trigger_step, at, None, None, 1


def _with_means(metrics: Mapping[str, Series]) -> Mapping[str, Series]:
    """Return the run's metrics, and the means over a step's passes of `gradient_norm` and `clip_fraction`."""
    means = {key: _mean_over_passes(metrics, key) for key in ("gradient_norm", "clip_fraction")}
    return {**metrics, **{key: mean for key, mean in means.items() if mean is not None}}


def _mean_over_passes(metrics: Mapping[str, Series], statistic: str) -> Series | None:
    passes = [{statistic: one} for key, one in metrics.items() if key.endswith(f"/{statistic}")]
    if not passes:
        return None
    steps, values = wide(passes, statistic)
    present = np.isfinite(values)
    sums = np.where(present, values, 0).sum(axis=0)
    means = np.divide(sums, present.sum(axis=0), out=np.full(len(steps), np.nan), where=present.any(axis=0))
    return Series(steps, means)


def pass_number(stage: str, fast: int) -> int:
    """Return the number of a stage's pass, from 1: 2 for `pass_2` and `fast_2`, `fast` + 1 for `slow`."""
    return fast + 1 if stage == "slow" else int(stage.rsplit("_", 1)[1])


def _clip_by_pass(runs: Sequence[Mapping[str, Series]]) -> Iterator[tuple[int, list[float]]]:
    """Yield for each pass of a step one value per run: its mean over the steps that had this pass."""
    found: dict[int, list[float]] = {}
    for metrics in runs:
        stages = [key.removesuffix("/clip_fraction") for key in metrics if key.endswith("/clip_fraction")]
        fast = sum(stage.startswith("fast_") for stage in stages)
        for stage in stages:
            values = metrics[f"{stage}/clip_fraction"].values
            found.setdefault(pass_number(stage, fast), []).append(_finite_mean(values))
    yield from sorted(found.items())


def _seconds(runs: Sequence[Mapping[str, Series]]) -> Iterator[tuple[str, list[float]]]:
    """Yield for each part of a step's time one value per run: its mean over steps."""
    if not all("step_seconds" in metrics for metrics in runs):
        return
    wholes = [_finite_mean(metrics["step_seconds"].values) for metrics in runs]
    yield WHOLE, wholes
    rests = wholes
    for part in TIME_PARTS:
        if all(part in metrics for metrics in runs):
            values = [_finite_mean(metrics[part].values) for metrics in runs]
            rests = [rest - value for rest, value in zip(rests, values, strict=True)]
            yield part, values
    yield "other_seconds", [max(0.0, rest) for rest in rests]


def _finite_mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _bands(
    places: Sequence[float], columns: Sequence[Sequence[float]], ends: tuple[float, float]
) -> Iterator[tuple[object, ...]]:
    """Yield `(x, mean, low, high, seeds)` over the finite values at each x, if any, with the band cut to `ends`."""
    for place, column in zip(places, columns, strict=True):
        values = [float(value) for value in column if np.isfinite(value)]
        if values:
            estimate = mean_interval(values)
            interval = estimate.interval
            low, high = (None, None) if interval is None else (max(ends[0], interval.low), min(ends[1], interval.high))
            yield place, estimate.point, low, high, estimate.n


# --- drawing ----------------------------------------------------------------------------------------------------------

_WIDTH, _ROW = 10.0, 2.45  # inches
_SIDE, _BELOW, _BETWEEN = 0.55, 0.25, 0.75
_CAPTION = (
    "Lines: means over seeds (finished runs; all runs while none has finished). Bands: 95 % t interval over seeds at "
    "each point alone. Diamonds: the step at which a run's entropy trigger switched its fast stage off, at that run's "
    "entropy. Bars: means over steps and seeds, evaluation and checkpoints left out; whiskers: 95 % t interval of the "
    "whole step over seeds."
)


def _figure(frame: pd.DataFrame, name: str) -> Figure:
    arms = dict(zip(frame["arm"], frame["label"], strict=True))
    legend_rows = -(-len(arms) // 4)
    title = textwrap.fill(f"{name}: inside the updates", 100)
    caption = textwrap.fill(_CAPTION, 165)
    above = 0.35 + 0.21 * (title.count("\n") + 1) + 0.175 * legend_rows + 0.15
    below = _BELOW + 0.3 + 0.15 * (caption.count("\n") + 1)
    height = above + 3 * _ROW + 2 * _BETWEEN + below
    figure = empty_figure(_WIDTH, height)
    grid = figure.subplots(
        3,
        3,
        gridspec_kw={
            "left": _SIDE / _WIDTH,
            "right": 1 - 0.12 / _WIDTH,
            "bottom": below / height,
            "top": 1 - above / height,
            "wspace": 0.2,
            "hspace": _BETWEEN / _ROW,
        },
    )
    for panel, axes in zip(PANELS, grid.flat, strict=False):
        _draw_lines(axes, frame, panel, list(arms))
    _draw_seconds(grid.flat[8], frame, arms)
    figure.text(_SIDE / _WIDTH, 1 - 0.12 / height, title, va="top", size=11, weight="bold")
    _legend(figure, arms, 1 - (0.17 + 0.21 * (title.count("\n") + 1)) / height)
    figure.text(_SIDE / _WIDTH, 0.1 / height, caption, va="bottom", size=7.5, color=TEXT_GREY, linespacing=1.3)
    return figure


def _legend(figure: Figure, arms: Mapping[str, str], top: float) -> None:
    from matplotlib.lines import Line2D

    if not arms:
        return
    figure.legend(
        handles=[Line2D([], [], **mean_style(look(order))) for order in range(len(arms))],
        labels=[_shown(label) for label in arms.values()],
        loc="upper left",
        bbox_to_anchor=(_SIDE / _WIDTH, top),
        ncols=min(4, max(1, len(arms))),
        frameon=False,
        handlelength=4.2,
        borderaxespad=0.0,
        borderpad=0.15,
        labelspacing=0.35,
    )


def _shown(label: str, width: int = 40) -> str:
    """Return the label, shortened; matplotlib hides labels with a leading _ from the legend."""
    short = textwrap.shorten(label, width, placeholder=" …") or "…"
    return f" {short}" if short.startswith("_") else short


def _draw_lines(axes: Axes, frame: pd.DataFrame, panel: Panel, arms: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    own = frame[frame["panel"] == panel.key]
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.x)
    if own.empty:
        axes.text(0.5, 0.5, "not recorded in these runs", transform=axes.transAxes, ha="center", color=TEXT_GREY)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    for order, arm in enumerate(arms):
        rows = own[own["arm"] == arm]
        if not rows.empty:
            _draw_arm(axes, rows, order)
    if panel.key == "entropy":
        _draw_fired(axes, frame, arms)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    low, high = float(own["mean"].min()), float(own["mean"].max())
    margin = 0.25 * (high - low) or 0.05 * abs(high) or 0.05  # bands of few seeds must not flatten the means
    shown = axes.get_ylim()
    axes.set_ylim(max(shown[0], low - margin), min(shown[1], high + margin))
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_arm(axes: Axes, rows: pd.DataFrame, order: int) -> None:
    x, mean = rows["x"].to_numpy(), rows["mean"].to_numpy()
    banded = rows.dropna(subset=["low", "high"])
    style = mean_style(look(order)) | {"linewidth": 1.4, "markersize": 4.0}
    if len(banded):
        low, high = banded["low"].to_numpy(), banded["high"].to_numpy()
        axes.fill_between(banded["x"].to_numpy(), low, high, color=style["color"], alpha=0.14, linewidth=0, zorder=2)
    axes.plot(x, mean, markevery=marks_every(len(x), order), zorder=4 + 0.01 * order, **style)


def _draw_fired(axes: Axes, frame: pd.DataFrame, arms: Sequence[str]) -> None:
    rows = frame[frame["panel"] == FIRED]
    for arm, x, entropy in zip(rows["arm"], rows["x"].tolist(), rows["mean"].tolist(), strict=True):
        axes.plot([x], [entropy], color=look(arms.index(arm)).color, zorder=6, **TRIGGER_MARK)


def _draw_seconds(axes: Axes, frame: pd.DataFrame, arms: Mapping[str, str]) -> None:
    """Draw one stacked bar per arm, the first on top; parts below 1 % of the longest step are not in the legend."""
    own = frame[frame["panel"] == SECONDS.key]
    axes.set_title(SECONDS.title, loc="left")
    axes.set_xlabel(SECONDS.x)
    table = (
        own[own["part"] != WHOLE]
        .pivot(index="arm", columns="part", values="mean")
        .reindex(index=list(arms))
        .fillna(0.0)
    )
    ends = np.zeros(len(arms))
    longest = float(table.sum(axis=1).max()) if len(own) else 0.0
    for (part, words), color in zip(TIME_PARTS.items(), _TIME_COLORS, strict=True):
        if part in table:
            widths = table[part].to_numpy()
            legend = words if widths.max() >= 0.01 * longest else None
            axes.barh(
                range(len(arms)),
                widths,
                left=ends,
                color=color,
                height=0.62,
                label=legend,
                edgecolor="white",
                linewidth=0.4,
            )
            ends = ends + widths
    _draw_whiskers(axes, own, list(arms))
    axes.set_ylim(len(arms) - 0.4 + 1.1, -0.6)
    axes.set_yticks(range(len(arms)), [""] * len(arms))
    axes.tick_params(axis="y", length=0)
    for place, label in enumerate(arms.values()):
        axes.text(0, place - 0.34, _shown(label, 44), size=7, va="bottom", color=TEXT_GREY)
    axes.spines["left"].set_visible(False)
    if len(own):
        axes.legend(loc="lower right", ncols=2, fontsize=7, frameon=False, handlelength=1.0, columnspacing=1.0)


def _draw_whiskers(axes: Axes, own: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw the interval of the whole step at the end of each bar that has one."""
    rows = own[own["part"] == WHOLE].dropna(subset=["low", "high"])
    for arm, low, high in zip(rows["arm"], rows["low"].tolist(), rows["high"].tolist(), strict=True):
        axes.plot([low, high], [arms.index(arm)] * 2, color="0.2", linewidth=1.1, zorder=5)
