"""The figure of accuracy against learning rate, from a tuning table (`sweeps/arithmetic_learning_rate.csv`)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy.special import stdtrit

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.reports.look import TEXT_GREY, empty_figure, files_of, look, mean_style, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One row per method and rate. `mean_area` is the area under accuracy over responses divided by the responses, i.e. the
# mean accuracy over the budget, with its standard error over `seeds`; `responses` is the budget.
SWEEP_COLUMNS: Mapping[str, str] = {
    "method": "str",
    "learning_rate": "float64",
    "mean_area": "float64",
    "standard_error": "float64",
    "final_accuracy": "float64",
    "seeds": "int64",
    "responses": "int64",
}

_WIDTH, _HEIGHT = 10.0, 4.35  # inches


def read_sweep(path: Path) -> pd.DataFrame:
    """Return the tuning table in a CSV file; raises `MissingDataError` or `ConfigError` for another file."""
    if not path.is_file():
        raise MissingDataError(
            f"found no tuning table at {path}; expected a CSV file that a sweep wrote: run the sweep"
        )
    return checked_sweep(pd.read_csv(path), str(path))


def checked_sweep(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return `frame` with the columns and types of `SWEEP_COLUMNS`; raises `ConfigError` if some are missing."""
    absent = [column for column in SWEEP_COLUMNS if column not in frame]
    if absent or frame.empty:
        raise ConfigError(
            f"{name} is no tuning table: found {len(frame)} rows and no column {', '.join(absent) or 'missing'}; "
            f"expected rows with {', '.join(SWEEP_COLUMNS)}: run the sweep again"
        )
    if (frame["learning_rate"] <= 0).any():
        raise ConfigError(
            f"{name} holds the learning rate {frame['learning_rate'].min():g}; expected rates above 0: correct the row"
        )
    return frame[list(SWEEP_COLUMNS)].astype(dict(SWEEP_COLUMNS))


def learning_rate_figure(sweep: pd.DataFrame, labels: Mapping[str, str] | None = None) -> Figure:
    """Return the figure of final accuracy and mean accuracy over the budget against learning rate, a line per method.

    `sweep` has the columns of `SWEEP_COLUMNS`. `labels` maps methods to display names (default: the upper-cased key)
    and puts them first, in its order. Rings mark each method's best rate by the criterion, the mean over the budget.
    """
    with styled():
        return _figure(checked_sweep(sweep, "sweep"), labels or {})


def learning_rate_bytes(sweep: pd.DataFrame, labels: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """Return the figure as `png`, `pdf` and `svg`; equal tables give equal bytes."""
    return files_of(lambda: _figure(checked_sweep(sweep, "sweep"), labels or {}))


def _figure(sweep: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    found = set(sweep["method"])
    methods = list(dict.fromkeys([*(method for method in labels if method in found), *sweep["method"]]))
    figure = empty_figure(_WIDTH, _HEIGHT)
    sides = {"left": 0.065, "right": 0.99, "bottom": 0.235, "top": 0.81, "wspace": 0.14}
    final, area = figure.subplots(1, 2, gridspec_kw=sides)
    _draw(final, sweep, methods, "final_accuracy")
    _draw(area, sweep, methods, "mean_area")
    final.set_title(f"accuracy after {_counts(sweep, 'responses')} responses", loc="left")
    area.set_title("mean accuracy over that budget: what was maximised", loc="left")
    figure.text(0.065, 0.975, "Accuracy against learning rate", va="top", size=11, weight="bold")
    shown = [labels.get(method, method.upper()) for method in methods]
    _legend(figure, [f" {label}" if label.startswith("_") else label for label in shown])
    figure.text(0.065, 0.02, _caption(sweep), va="bottom", size=7.5, color=TEXT_GREY, linespacing=1.3)
    return figure


def _caption(sweep: pd.DataFrame) -> str:
    return textwrap.fill(
        f"Points: means over {_counts(sweep, 'seeds')} seeds of each method and rate. Bars, right: 95 % t interval "
        "over seeds; the table holds no spread for the left panel. Rings: each method's best rate by the criterion, "
        "the mean over the budget.",
        165,
    )


def _counts(sweep: pd.DataFrame, column: str) -> str:
    low, high = int(sweep[column].min()), int(sweep[column].max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _draw(axes: Axes, sweep: pd.DataFrame, methods: Sequence[str], column: str) -> None:
    axes.set_xscale("log", base=2)
    for order, method in enumerate(methods):
        rows = sweep[sweep["method"] == method].sort_values("learning_rate")
        x, y = rows["learning_rate"].to_numpy(), rows[column].to_numpy()
        style: dict[str, Any] = mean_style(look(order))
        axes.plot(x, y, zorder=4, **style)
        if column == "mean_area":
            half = rows["standard_error"] * [_t(int(n)) for n in rows["seeds"]]
            axes.errorbar(x, y, yerr=half.to_numpy(), fmt="none", ecolor=style["color"], elinewidth=1.0, capsize=2.5)
        best = rows["mean_area"].to_numpy().argmax()
        ring: dict[str, Any] = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "markeredgewidth": 1.3}
        axes.plot([x[best]], [y[best]], color=style["color"], linestyle="none", zorder=5, **ring)
    rates = sorted(set(sweep["learning_rate"].tolist()))
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.set_xlabel("learning rate")
    axes.set_ylabel("share correct")
    axes.margins(x=0.07, y=0.1)
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)


def _t(seeds: int) -> float:
    """Return the factor from a standard error to half a 95 % t interval; NaN for one seed."""
    return float(stdtrit(seeds - 1, 0.975)) if seeds > 1 else float("nan")


def _legend(figure: Figure, labels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    figure.legend(
        handles=[Line2D([], [], **mean_style(look(order))) for order in range(len(labels))],
        labels=list(labels),
        loc="upper left",
        bbox_to_anchor=(0.065, 0.93),
        ncols=min(6, len(labels)),
        frameon=False,
        handlelength=4.2,
        borderaxespad=0.0,
        borderpad=0.15,
    )
