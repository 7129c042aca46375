"""The figure of a study: the score of every arm at every checkpoint, one panel per benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sfpo_bench.reports.look import TEXT_GREY, empty_figure, files_of, look
from sfpo_bench.reports.papers.names import PaperNames
from sfpo_bench.reports.papers.score import PaperCheckpoint, PaperScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 10.0  # inches
_COLUMNS = 3
_SHOWN = (PaperCheckpoint.last, PaperCheckpoint.best_on_select, PaperCheckpoint.equal_budget)
WORDS = (
    "Scores with 95 % intervals over problems and training seeds, at each checkpoint; the dashed line is the model "
    "before training"
)


def score_figure(scores: Sequence[PaperScore], title: str) -> dict[str, bytes]:
    """Return the figure as `png`, `pdf` and `svg`. Equal scores give equal bytes."""
    return files_of(lambda: _figure(scores, title))


def _figure(scores: Sequence[PaperScore], title: str) -> Figure:
    benchmarks = list(dict.fromkeys(one.benchmark for one in scores))
    arms = list(dict.fromkeys(one.arm for one in scores if one.checkpoint in _SHOWN))
    columns = min(_COLUMNS, len(benchmarks))
    rows = -(-len(benchmarks) // columns)
    panel_height = 0.7 + 0.42 * len(arms)
    height = 1.3 + rows * (panel_height + 0.55)
    figure = empty_figure(_WIDTH, height)
    left = min(0.32, 0.03 + 0.0085 * max(map(len, arms)))
    grid: dict[str, Any] = {"left": left, "right": 0.985, "wspace": 0.08, "hspace": 0.8 / panel_height}
    grid |= {"top": 1 - 0.75 / height, "bottom": 0.95 / height}
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True, gridspec_kw=grid)
    for index, panel in enumerate(panels.flat):
        if index >= len(benchmarks):
            panel.axis("off")
            continue
        _panel(panel, [one for one in scores if one.benchmark == benchmarks[index]], arms)
        panel.set_title(PaperNames().benchmark(benchmarks[index]), fontsize=9)
        panel.set_xlabel(f"avg@{scores[0].samples}, %", fontsize=8)
    panels[0][0].set_yticks(range(len(arms)), arms)
    panels[0][0].set_ylim(len(arms) - 0.5, -0.5)
    figure.text(0.012, 1 - 0.12 / height, title, va="top", size=11, weight="bold")
    handles, words = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, words, loc="lower left", ncols=4, fontsize=8, frameon=False)
    return figure


def _panel(panel: Axes, scores: Sequence[PaperScore], arms: Sequence[str]) -> None:
    for order, checkpoint in enumerate(_SHOWN):
        rows = [one for one in scores if one.checkpoint is checkpoint]
        if not rows:
            continue
        own = look(order)
        values = [100 * one.avg_at_k for one in rows]
        ends = [[100 * (one.avg_at_k - _or(one.low, one)) for one in rows]]
        ends.append([100 * (_or(one.high, one) - one.avg_at_k) for one in rows])
        places = [arms.index(one.arm) + 0.24 * (order - 1) for one in rows]
        panel.errorbar(
            values, places, xerr=ends, fmt=own.marker, color=own.color, markersize=5, elinewidth=1.2, capsize=2,
            label=checkpoint.value.replace("_", " "),
        )  # fmt: skip
    before = next((one for one in scores if one.checkpoint is PaperCheckpoint.start), None)
    if before is not None:
        panel.axvline(
            100 * before.avg_at_k, color=TEXT_GREY, linestyle=(0, (4, 3)), linewidth=1, label="before training"
        )
    panel.tick_params(labelsize=8)


def _or(value: float | None, score: PaperScore) -> float:
    return score.avg_at_k if value is None else value
