"""Reports on comparisons and sweeps, for notebooks and files. Imports neither torch nor hydra nor MLflow.

comparison = load_comparison(Path("results/arithmetic"))              or load_from_mlflow("arithmetic", uri)
curves_frame(comparison), metrics_frame(comparison)                   frames with fixed columns
summary = compare(comparison)                                         every number of the report
figure(comparison), figure(comparison, "anatomy"), table(summary)     matplotlib figures, pandas tables
write_report(comparison, Path("out"))                                 writes all files
own_figure(summary, FigureStyle(…)), own_table(summary, TableStyle(…))  in the style of one's paper
answer(summary), show(frame), paper_tables(scores), sweep_figure(sweep) displayed by a notebook
load_sweep(Path("results/sweeps/learning_rate")), write_sweep_report(…)   the same for a sweep
"""

from sfpo_bench.reports.from_mlflow import load_from_mlflow
from sfpo_bench.reports.load import (
    CURVE_COLUMNS,
    METRIC_COLUMNS,
    Comparison,
    curves_frame,
    load_comparison,
    metrics_frame,
)
from sfpo_bench.reports.notebook import answer, compare, figure, paper_tables, show, sweep_figure, table
from sfpo_bench.reports.own_figure import FigureStyle, own_figure, save_figure
from sfpo_bench.reports.own_table import Column, TableStyle, own_table
from sfpo_bench.reports.summary import Summary
from sfpo_bench.reports.sweep.learning_rate import learning_rate_figure
from sfpo_bench.reports.sweep.load import load_sweep
from sfpo_bench.reports.sweep.tables import trials_table
from sfpo_bench.reports.sweep.write import write_sweep_report
from sfpo_bench.reports.write import ReportFiles, write_report

__all__ = [
    "CURVE_COLUMNS",
    "METRIC_COLUMNS",
    "Column",
    "Comparison",
    "FigureStyle",
    "ReportFiles",
    "Summary",
    "TableStyle",
    "answer",
    "compare",
    "curves_frame",
    "figure",
    "learning_rate_figure",
    "load_comparison",
    "load_from_mlflow",
    "load_sweep",
    "metrics_frame",
    "own_figure",
    "own_table",
    "paper_tables",
    "save_figure",
    "show",
    "sweep_figure",
    "table",
    "trials_table",
    "write_report",
    "write_sweep_report",
]
