"""Writes the report of a sweep: Markdown, one HTML page, figures as PNG, PDF and SVG, every trial as CSV."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.sweep.figures import figure_names, sweep_figures
from sfpo_bench.reports.sweep.load import load_sweep
from sfpo_bench.reports.sweep.tables import sweep_blocks, trials_table
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.names import PAGE, REPORT
from sfpo_bench.results.stored_files import write_atomically


@dataclass(frozen=True, slots=True)
class SweepFiles:
    """Paths of a sweep's report; `report` is the main file."""

    report: Path
    page: Path
    trials: Path
    figures: tuple[Path, ...]

    @classmethod
    def inside(cls, folder: Path) -> SweepFiles:
        """Return the paths of a report in `folder`, with the figures that are there."""
        return cls(folder / REPORT, folder / PAGE, folder / "trials.csv", tuple(sorted(folder.glob("*.png"))))

    def all(self) -> tuple[Path, ...]:
        return (self.report, self.page, self.trials, *self.figures)


def write_sweep_report(folder: Path, out: Path | None = None) -> SweepFiles:
    """Write the report of the sweep in `folder` into `out` (default: that folder); equal sweeps give equal bytes.

    Unfinished sweeps are reported as far as they are. Raises `MissingDataError` if `folder` is not a sweep."""
    sweep, out = load_sweep(folder), out or folder
    figures = sweep_figures(sweep)
    report = sweep_blocks(sweep, figure_names(figures))
    pictures = {f"{name}.png": kinds["svg"] for name, kinds in figures.items()}
    contents = {out / f"{name}.{kind}": data for name, kinds in figures.items() for kind, data in kinds.items()}
    files = SweepFiles.inside(out)
    contents[files.trials] = csv_bytes(trials_table(sweep))
    contents[files.page] = simple_page(sweep.name, report, pictures).encode()
    contents[files.report] = markdown(report).encode()
    for path, content in contents.items():
        write_atomically(path, content)
    return replace(files, figures=tuple(path for path in contents if path.suffix == ".png"))
