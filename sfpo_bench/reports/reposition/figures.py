"""The figures of the study: rules at their best rates, differences over rates for both controls, and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sfpo_bench.reports.look import TEXT_GREY, empty_figure, files_of, look
from sfpo_bench.reports.reposition.cells import StudyMethod
from sfpo_bench.reports.reposition.table import BestRate, ComparedCell
from sfpo_bench.statistics.paired import PairedDifference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 10.0  # inches


def best_rate_figure(rows: Sequence[BestRate], condition: str) -> dict[str, bytes]:
    """Draw the area of each rule at its best rate, with 95 % intervals over the reporting seeds."""
    shown = [one for one in rows if one.cell.condition in (condition, "")]
    return files_of(lambda: _forest([(one.cell.rule, one.area) for one in shown], "area under the learning curve"))


def robustness_figure(rows: Sequence[ComparedCell], condition: str, method: StudyMethod) -> dict[str, bytes]:
    """Draw the area of SFPO minus that of its control over the rate: a panel for each K, a line for each alpha."""
    shown = [one for one in rows if one.cell.condition == condition and one.control.method is method]
    return files_of(lambda: _over_rates(shown, method))


def condition_figure(rows: Sequence[ComparedCell]) -> dict[str, bytes]:
    """Draw the area of SFPO minus that of its control at equal displacement, for every condition.

    The cells are those K, alpha and rates that other conditions have too; with a single condition, all its cells.
    """
    own = [one for one in rows if one.control.method is StudyMethod.shortened]
    further = {_kind(one) for one in own if one.cell.condition != own[0].cell.condition}
    shown = [one for one in own if _kind(one) in further] if further else own
    return files_of(lambda: _by_condition(shown))


def _kind(row: ComparedCell) -> tuple[int, float, float]:
    return row.cell.fast_passes, row.cell.alpha, row.cell.rate_factor


def _forest(rows: Sequence[tuple[str, PairedDifference]], words: str) -> Figure:
    height = 1.0 + 0.36 * max(1, len(rows))
    figure = empty_figure(_WIDTH, height)
    panel = figure.add_axes((0.3, 0.55 / height, 0.67, 1 - 0.75 / height))
    for place, (_, found) in enumerate(rows):
        _mark(panel, found, place, 0)
    panel.set_yticks(range(len(rows)), [name for name, _ in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_xlabel(words)
    return figure


def _over_rates(rows: Sequence[ComparedCell], method: StudyMethod) -> Figure:
    every = sorted({one.cell.fast_passes for one in rows})
    figure = empty_figure(_WIDTH, 3.9)
    panels = figure.subplots(1, max(1, len(every)), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.09, right=0.985, bottom=0.25, top=0.9, wspace=0.08)
    for panel, passes in zip(panels, every, strict=False):
        own = [one for one in rows if one.cell.fast_passes == passes]
        for order, alpha in enumerate(sorted({one.cell.alpha for one in own})):
            _line(panel, [one for one in own if one.cell.alpha == alpha], order, f"alpha = {alpha:g}")
        panel.axhline(0, color=TEXT_GREY, linewidth=1)
        factors = sorted({one.cell.rate_factor for one in own})
        panel.set_xscale("log", base=2)
        panel.set_xticks(factors, [f"{factor:g}" for factor in factors])
        panel.minorticks_off()
        panel.set_title(f"K = {passes}", fontsize=9)
        panel.set_xlabel("rate / rate tuned for Repeat(K + 1)", fontsize=8)
    against = "the same rate" if method is StudyMethod.repeat else "equal displacement"
    panels[0].set_ylabel(f"area, SFPO minus Repeat(K + 1)\nat {against}", fontsize=8)
    handles, words = panels[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="lower left", ncols=4, fontsize=8, frameon=False)
    return figure


def _line(panel: Axes, rows: Sequence[ComparedCell], order: int, label: str) -> None:
    ordered = sorted(rows, key=lambda one: one.cell.rate_factor)
    found, own = [one.difference for one in ordered], look(order)
    # Shifted, so that intervals at one rate do not overlap.
    places = [one.cell.rate_factor * 2 ** (0.06 * (order - 1)) for one in ordered]
    panel.errorbar(
        places, [one.point for one in found], yerr=_ends(found), fmt=own.marker, color=own.color, linestyle=own.dashes,
        markersize=5, elinewidth=1.1, capsize=2, label=label,
    )  # fmt: skip


def _by_condition(rows: Sequence[ComparedCell]) -> Figure:
    names = list(dict.fromkeys(one.cell.condition for one in rows))
    kinds = list(dict.fromkeys(map(_kind, rows)))
    height = 1.4 + 0.2 * len(rows) + 0.3 * len(names)
    figure = empty_figure(_WIDTH, height)
    panel = figure.add_axes((0.16, 0.65 / height, 0.7, 1 - 0.8 / height))
    places, labels, place = [], [], 0.0
    for name in names:
        own = [one for one in rows if one.cell.condition == name]
        places.append(place + (len(own) - 1) / 2)
        labels.append(name)
        for one in own:
            cell = one.cell
            _mark(panel, one.difference, place, kinds.index(_kind(one)))
            panel.annotate(
                f"K {cell.fast_passes}, alpha {cell.alpha:g}, × {cell.rate_factor:g}", (1.01, place),
                xycoords=("axes fraction", "data"), ha="left", va="center", fontsize=6.5, color=TEXT_GREY,
            )  # fmt: skip
            place += 1.0
        place += 1.5
    panel.axvline(0, color=TEXT_GREY, linewidth=1)
    panel.set_yticks(places, labels)
    panel.set_ylim(place - 1.0, -1.0)
    panel.set_xlabel("area, SFPO minus Repeat(K + 1) at equal displacement")
    return figure


def _mark(panel: Axes, found: PairedDifference, place: float, order: int) -> None:
    own = look(order)
    panel.errorbar(
        [found.point], [place], xerr=_ends([found]), fmt=own.marker, color=own.color, markersize=5, elinewidth=1.2,
        capsize=2,
    )  # fmt: skip


def _ends(found: Sequence[PairedDifference]) -> list[list[float]]:
    """Return the length of each interval below and above its point; 0 without an interval."""
    return [
        [0.0 if one.low is None else one.point - one.low for one in found],
        [0.0 if one.high is None else one.high - one.point for one in found],
    ]
