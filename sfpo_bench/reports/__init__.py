"""Reading comparisons and reporting them: load, summarise, figure, tables. Imports neither torch nor hydra."""

from sfpo_bench.reports.figures import convergence_figure, figure_bytes
from sfpo_bench.reports.load import CURVE_COLUMNS, Comparison, curves_frame, load_comparison
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import Summary
from sfpo_bench.reports.tables import costs_table, final_table, report_markdown
from sfpo_bench.reports.write import ReportFiles, write_report

__all__ = [
    "CURVE_COLUMNS",
    "Comparison",
    "ReportFiles",
    "Summary",
    "build_summary",
    "convergence_figure",
    "costs_table",
    "curves_frame",
    "figure_bytes",
    "final_table",
    "load_comparison",
    "report_markdown",
    "write_report",
]
