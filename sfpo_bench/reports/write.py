"""Writing the report of a comparison folder: every file whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.reports.figures import figure_bytes
from sfpo_bench.reports.load import curves_frame, load_comparison
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import Summary
from sfpo_bench.reports.tables import costs_table, final_table, report_markdown
from sfpo_bench.tracking.run_folder import write_atomically


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where a report's files lie; `report` is the one to read first."""

    summary: Path
    report: Path
    costs: Path
    final: Path
    curves: Path
    figure_png: Path
    figure_pdf: Path
    figure_svg: Path

    @classmethod
    def inside(cls, folder: Path) -> ReportFiles:
        """The paths of a report in `folder`; creates nothing."""
        return cls(
            summary=folder / "summary.json",
            report=folder / "report.md",
            costs=folder / "costs.csv",
            final=folder / "final.csv",
            curves=folder / "curves.csv",
            figure_png=folder / "figure.png",
            figure_pdf=folder / "figure.pdf",
            figure_svg=folder / "figure.svg",
        )


def write_report(folder: Path, out: Path | None = None, baseline: str | None = None) -> ReportFiles:
    """Report the comparison in `folder` into `out` (by default `folder` itself), as far as its runs have come.

    Ratios refer to the arm `baseline` (by default the one the comparison was made with).
    Tables, sentences and figure are made from `summary.json` as written. The same runs give the same bytes. Raises
    `ConfigError` when `folder` holds no usable comparison and `BenchError` while there is nothing to report.
    """
    comparison = load_comparison(folder)
    if baseline is not None:
        comparison = comparison.with_baseline(baseline)
    text = build_summary(comparison).to_json()
    summary = Summary.from_json(text)
    files = ReportFiles.inside(folder if out is None else out)
    figures = figure_bytes(summary)
    contents = {
        files.summary: text.encode(),
        files.costs: costs_table(summary).to_csv(index=False).encode(),
        files.final: final_table(summary).to_csv(index=False).encode(),
        files.curves: curves_frame(comparison).to_csv(index=False).encode(),
        files.figure_png: figures["png"],
        files.figure_pdf: figures["pdf"],
        files.figure_svg: figures["svg"],
        files.report: report_markdown(summary, files.figure_png.name).encode(),
    }
    for path, content in contents.items():
        write_atomically(path, content)
    return files
