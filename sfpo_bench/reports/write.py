"""Writes the report of a comparison, each file atomically."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sfpo_bench.reports.anatomy import anatomy_bytes, anatomy_frame
from sfpo_bench.reports.break_even_figure import break_even_bytes
from sfpo_bench.reports.break_even_text import break_even_frame
from sfpo_bench.reports.figures import figure_bytes
from sfpo_bench.reports.html import Page, page
from sfpo_bench.reports.latex import Columns, report_tex, tables_tex
from sfpo_bench.reports.load import Comparison, curves_frame, load_comparison
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.notes import crossing_lines
from sfpo_bench.reports.packed_runs import is_packed
from sfpo_bench.reports.pair_table import pairs_frame
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import SUMMARY_FILE, Summary
from sfpo_bench.reports.tables import costs_table, final_table, report_blocks
from sfpo_bench.results.comparison import run_place
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.names import BREAK_EVEN_FIGURE, FIGURE, PAGE, REPORT
from sfpo_bench.results.stored_files import write_atomically

_INSIDE = "Inside the updates: what every training step recorded, means over seeds"


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Paths of a report's files; `report` is the main file, `page` the same with links to the runs."""

    summary: Path
    report: Path
    page: Path
    costs: Path
    final: Path
    pairs: Path
    curves: Path
    figure_png: Path
    figure_pdf: Path
    figure_svg: Path
    anatomy: Path
    anatomy_png: Path
    anatomy_pdf: Path
    anatomy_svg: Path
    latex: Path
    latex_tables: Path
    latex_tables_two_column: Path
    break_even: Path

    @classmethod
    def inside(cls, folder: Path) -> ReportFiles:
        """Return the paths of a report in `folder`; creates nothing."""
        return cls(
            summary=folder / SUMMARY_FILE,
            report=folder / REPORT,
            page=folder / PAGE,
            costs=folder / "costs.csv",
            final=folder / "final.csv",
            pairs=folder / "pairs.csv",
            curves=folder / "curves.csv",
            figure_png=folder / FIGURE,
            figure_pdf=folder / "figure.pdf",
            figure_svg=folder / "figure.svg",
            anatomy=folder / "anatomy.csv",
            anatomy_png=folder / "anatomy.png",
            anatomy_pdf=folder / "anatomy.pdf",
            anatomy_svg=folder / "anatomy.svg",
            latex=folder / "report.tex",
            latex_tables=folder / "tables.tex",
            latex_tables_two_column=folder / "tables-two-column.tex",
            break_even=folder / "break_even.csv",
        )

    @property
    def break_even_figure(self) -> dict[str, Path]:
        """The paths of the figure by format; the files do not exist if all arms take equally many passes."""
        png = self.break_even.with_name(BREAK_EVEN_FIGURE)
        return {kind: png.with_suffix(f".{kind}") for kind in ("png", "pdf", "svg")}


def write_report(source: Path | Comparison, out: Path | None = None, baseline: str | None = None) -> ReportFiles:
    """Write the report of the comparison `source` (a folder or a loaded comparison) into `out`, as far as its runs are.

    `out` defaults to the folder. A loaded comparison requires `out`, and its page has no links to run folders. Ratios
    refer to the arm `baseline` (default: the comparison's own). Tables, sentences and the accuracy figure are made from
    `summary.json` as written. Equal runs give equal bytes. Raises `ConfigError` if `source` has no usable comparison
    and `BenchError` if there is nothing to report yet.
    """
    comparison = load_comparison(source) if isinstance(source, Path) else source
    folder = source if isinstance(source, Path) and not is_packed(source) else None
    out = out or (source if isinstance(source, Path) else None)
    if out is None:
        raise ValueError("found a comparison without a folder, and no `out`; expected a folder to write to")
    if baseline is not None:
        comparison = comparison.with_baseline(baseline)
    files = ReportFiles.inside(out)
    contents = _contents(comparison, files, _places(folder, out))
    for path, content in contents.items():
        write_atomically(path, content)
    for path in files.break_even_figure.values():
        if path not in contents:  # of another baseline, say
            path.unlink(missing_ok=True)
    return files


def _contents(comparison: Comparison, files: ReportFiles, place: Callable[[str, int], str | None]) -> dict[Path, bytes]:
    text = build_summary(comparison).to_json()
    summary = Summary.from_json(text)
    anatomy = anatomy_frame(comparison)
    figures, inside = figure_bytes(summary), anatomy_bytes(anatomy, summary.name)
    report = report_blocks(summary, files.figure_png.name)
    even = break_even_bytes(summary)
    pictures = {files.figure_png.name: figures["svg"]}
    pictures |= {BREAK_EVEN_FIGURE: even["svg"]} if even else {}
    early = " ".join(crossing_lines(summary))
    shown = Page(summary, comparison, report, pictures, [(_INSIDE, inside["svg"])], place)
    return {
        files.summary: text.encode(),
        files.costs: csv_bytes(costs_table(summary)),
        files.final: csv_bytes(final_table(summary)),
        files.pairs: csv_bytes(pairs_frame(summary)),
        files.curves: csv_bytes(curves_frame(comparison)),
        files.anatomy: csv_bytes(anatomy),
        **{getattr(files, f"figure_{kind}"): content for kind, content in figures.items()},
        **{getattr(files, f"anatomy_{kind}"): content for kind, content in inside.items()},
        files.break_even: csv_bytes(break_even_frame(summary)),
        **{files.break_even_figure[kind]: content for kind, content in even.items()},
        files.latex: report_tex(report, [(files.anatomy_pdf.name, _INSIDE)]).encode(),
        files.latex_tables: tables_tex(report, Columns.one, early).encode(),
        files.latex_tables_two_column: tables_tex(report, Columns.two, early).encode(),
        files.page: page(shown).encode(),
        files.report: markdown(report).encode(),
    }


def _places(folder: Path | None, out: Path) -> Callable[[str, int], str | None]:
    """Return a function that gives the URL of each run's folder, relative to the page in `out`."""
    if folder is None:
        return lambda arm, seed: None
    root = Path(os.path.relpath(folder, out)).as_posix()
    start = "" if root == "." else f"{quote(root)}/"
    return lambda arm, seed: f"{start}{quote(run_place(arm, seed))}/"
