"""Short names for a notebook: a comparison's numbers, its figures, its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd

from sfpo_bench.reports.anatomy import anatomy_figure, anatomy_frame
from sfpo_bench.reports.figures import convergence_figure
from sfpo_bench.reports.load import Comparison
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import Summary
from sfpo_bench.reports.tables import costs_table, final_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(comparison: Comparison, baseline: str | None = None) -> Summary:
    """Every number of the report, with ratios to `baseline` (by default the arm the comparison was made with).

    Raises `ConfigError` when there is no such arm and `BenchError` while no run has an evaluation.
    """
    return build_summary(comparison if baseline is None else comparison.with_baseline(baseline))


def figure(comparison: Comparison, name: Literal["accuracy", "anatomy"] = "accuracy") -> Figure:
    """Held-out accuracy over responses and over training time, or what happens inside the updates.

    A notebook shows it as it is; `figure(...).savefig("figure.pdf")` writes it.
    """
    if name == "accuracy":
        return convergence_figure(compare(comparison))
    if name == "anatomy":
        return anatomy_figure(anatomy_frame(comparison), comparison.plan.name)
    raise ValueError(f"found figure {name!r}; expected one of accuracy, anatomy")


def table(summary: Summary, name: Literal["costs", "final"] = "costs") -> pd.DataFrame:
    """Costs to every target with their ratios, or final accuracies: the contents of costs.csv and final.csv."""
    if name == "costs":
        return costs_table(summary)
    if name == "final":
        return final_table(summary)
    raise ValueError(f"found table {name!r}; expected one of costs, final")
