"""Write the report of a league. Each file is written atomically; equal runs give equal bytes."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.latex import report_tex
from sfpo_bench.reports.league.blocks import PageText, league_blocks, league_frame, pairs_frame
from sfpo_bench.reports.league.figure import league_figure
from sfpo_bench.reports.league.standings import League
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.stored_files import write_atomically


@dataclass(frozen=True, slots=True)
class LeagueFiles:
    """Paths of a league's report. Read `report` first."""

    report: Path
    page: Path
    latex: Path
    csv: Path
    pairs: Path
    figure_png: Path
    figure_pdf: Path
    figure_svg: Path

    @classmethod
    def inside(cls, folder: Path) -> LeagueFiles:
        """Return the paths in the study's folder; creates nothing."""
        names = ("league.md", "league.html", "league.tex", "league.csv", "league_pairs.csv")
        return cls(*(folder / name for name in (*names, "league.png", "league.pdf", "league.svg")))

    def all(self) -> tuple[Path, ...]:
        """Return every file."""
        return astuple(self)


def write_league(folder: Path, league: League, page_text: PageText) -> LeagueFiles:
    """Write every file into `folder`."""
    files = LeagueFiles.inside(folder)
    figures = league_figure(league, page_text.title)
    report = league_blocks(league, page_text, files.figure_png.name)
    for path, content in (
        (files.csv, csv_bytes(league_frame(league))),
        (files.pairs, csv_bytes(pairs_frame(league))),
        (files.figure_png, figures["png"]),
        (files.figure_pdf, figures["pdf"]),
        (files.figure_svg, figures["svg"]),
        (files.latex, report_tex(report, []).encode()),
        (files.page, simple_page(page_text.title, report, {files.figure_png.name: figures["svg"]}).encode()),
        (files.report, markdown(report).encode()),
    ):
        write_atomically(path, content)
    return files
