"""Published results as tables: scores, the sampling error of their design, and inconsistencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from sfpo_bench.reports.document import Block, Table, bullets, heading, paragraph, table
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.latex import Columns, tables_tex
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.papers.frame import rows_of
from sfpo_bench.reports.papers.layout import lay_out, points_text
from sfpo_bench.reports.papers.names import PaperNames
from sfpo_bench.reports.papers.pass_shares import ReferencePaper, published_shares, references
from sfpo_bench.reports.papers.published_curves import CurveReading, authors_curves, curve_disagreements, readings
from sfpo_bench.reports.papers.published_results import Gain, Published, disagreements, gains, published_scores
from sfpo_bench.reports.papers.table import score_blocks
from sfpo_bench.reports.papers.tex import paper_tex
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.statistics import DifferenceError

_NAMES = PaperNames()
_MEANINGS = (
    "The sampling error of a difference at 95 % depends on the number of problems and samples and on two unpublished "
    "facts: the share of the variance within problems, and whether the two models fail on the same problems.",
    "least: the lower bound. within: all variance within problems, all equally difficult. nested: all variance between "
    "problems, each solved always or never, and the better model solves all problems that the other solves. unrelated: "
    "the same, but the problems that the two models solve are independent. most: the upper bound.",
    "All of these are for a random choice of similar problems. For exactly these problems the error is between 0 (each "
    "is solved always or never) and within.",
    "Not included: other training runs of the same method, and the choice of the checkpoint by these scores.",
)


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """Paths of the tables of published results."""

    markdown: Path
    html: Path
    latex: Path
    gains: Path

    @classmethod
    def inside(cls, folder: Path) -> PublishedFiles:
        """Return the paths below `folder`; creates nothing."""
        return cls(*(folder / f"published.{suffix}" for suffix in ("md", "html", "tex", "csv")))


def write_published(found: Published, folder: Path) -> PublishedFiles:
    """Write every format into `folder`; the CSV file has one row per gain."""
    files, report = PublishedFiles.inside(folder), published_blocks(found)
    contents = {
        files.markdown: markdown(report).encode(),
        files.html: simple_page(found.title, report, {}).encode(),
        files.latex: _latex(found, report).encode(),
        files.gains: csv_bytes(gains_frame(found)),
    }
    for path, content in contents.items():
        write_atomically(path, content)
    return files


def _latex(found: Published, report: Sequence[Block]) -> str:
    """Return the scores in the form of a paper, then the other tables."""
    first = next(place for place, block in enumerate(report) if isinstance(block, Table))
    rest = [*report[:first], *report[first + 1 :]]
    return paper_tex(lay_out(rows_of(published_scores(found)), _NAMES)) + "\n" + tables_tex(rest, Columns.two)


def gains_frame(found: Published) -> pd.DataFrame:
    """Return one row per gain: model, method, benchmark, problems, difference, 95 % half widths `error_*`; shares."""
    rows = [
        {
            "model": gain.model,
            "method": gain.method,
            "benchmark": gain.benchmark,
            "problems": gain.problems,
            "difference": gain.difference,
            **{f"error_{name}": value for name, value in asdict(gain.error).items()},
            "reading": reading(gain),
        }
        for gain in gains(found)
    ]
    return pd.DataFrame(rows)


def reading(gain: Gain) -> str:
    """Return the conclusion on a gain that holds for any spread that is compatible with the publication."""
    size = abs(gain.difference)
    if size <= gain.error.least:
        return "within sampling error"
    return "beyond sampling error" if size > gain.error.most else "depends"


def published_blocks(found: Published) -> list[Block]:
    """Return the tables of one publication as blocks."""
    [scores] = lay_out(rows_of(published_scores(found)), _NAMES)
    return [
        heading(1, found.title),
        paragraph(f"{found.source}: {found.where}."),
        heading(2, scores.caption),
        *score_blocks(scores),
        heading(2, f"Sampling error of the gains over {found.baseline}, percentage points"),
        _gains_table(gains(found)),
        *bullets([*_MEANINGS, *_counted(gains(found))]),
        heading(2, f"Cost to the best average of {found.baseline}"),
        _costs_table(found),
        *_curve_blocks(found),
        *(block for one in references(found) for block in _reference_blocks(one)),
        heading(2, "Share of one update pass in a step of the baseline"),
        _shares_table(),
        heading(2, "Inconsistent and missing numbers"),
        *bullets([*(_readable(line) for line in disagreements(found)), *_of_curves(found), *found.notes]),
    ]


def _of_curves(found: Published) -> list[str]:
    curves = authors_curves(found)
    return [] if curves is None else [*curve_disagreements(found, curves), *curves.notes]


def _curve_blocks(found: Published) -> list[Block]:
    """Return blocks with the values of the authors' own curves, their table and their printed ratios."""
    curves = authors_curves(found)
    if curves is None:
        return []
    left = ("model", f"best of {found.baseline}'s curve", "best of the method's", "gain", "gain in the table")
    header = (*left, "printed ratio", "markers, steps", "their ratio", "first at the target", "ratio")
    rows = [
        (
            one.model,
            f"{one.baseline_best:.1f}",
            f"{one.method_best:.1f}",
            points_text((one.method_best - one.baseline_best) / 100, 1),
            "" if one.table_gain is None else points_text(one.table_gain / 100, 1),
            *_ratio_cells(one),
        )
        for one in readings(found, curves)
    ]
    where = f"Points of {curves.source}, read off its figure to ± {curves.error:g} points, percent."
    return [heading(2, "The authors' own curves"), paragraph(where), table(header, rows, left=1)]


def _ratio_cells(one: CurveReading) -> tuple[str, ...]:
    if one.markers is None or one.printed_ratio is None:
        return ("",) * 5
    marks, first = one.markers, "never"
    if one.first_at is not None:
        first = f"step {one.first_at:.0f}"
    crossing = "" if one.first_ratio is None else f"{one.first_ratio:.2f}"
    printed = f"{one.printed_ratio:.2f}"
    return (printed, f"{marks.baseline} and {marks.method}", f"{marks.ratio:.2f}", first, crossing)


def _reference_blocks(one: ReferencePaper) -> list[Block]:
    """Return blocks with another paper's rows, which are not compared with the rows above."""
    rows = [(row.model, row.method, *(f"{value:.1f}" for value in (*row.scores, row.average))) for row in one.rows]
    return [
        heading(2, f"Another paper: {one.title}, {one.source}"),
        paragraph(f"From its {one.where}. Protocol: {one.protocol}."),
        table(("model", "method", *one.benchmarks, "average"), rows, left=2),
    ]


def _shares_table() -> Table:
    rows = [(one.paper, one.model, f"{100 * one.share:.1f} %", one.source) for one in published_shares()]
    return table(("paper", "model", "one pass", "source"), rows, left={0, 1, 3})


def _gains_table(found: Sequence[Gain]) -> Table:
    header = ("model", "benchmark", "problems", "gain", *_ERRORS.values(), "whatever the spread")
    rows = [
        (
            gain.model,
            _NAMES.benchmark(gain.benchmark),
            f"{gain.problems:,}",
            points_text(gain.difference, 2),
            *(f"{100 * value:.1f}" for value in asdict(gain.error).values()),
            reading(gain),
        )
        for gain in found
    ]
    return table(header, rows, left=2)


_ERRORS = dict(
    zip(
        (field for field in DifferenceError.__dataclass_fields__),
        ("± least", "± within", "± nested", "± unrelated", "± most"),
        strict=True,
    )
)


def _counted(found: Sequence[Gain]) -> list[str]:
    readings = [reading(gain) for gain in found]
    inside, beyond = readings.count("within sampling error"), readings.count("beyond sampling error")
    smaller = sum(abs(gain.difference) <= gain.error.within for gain in found)
    return [
        f"Of {len(found)} gains {beyond} are larger than any sampling error that the design allows, {inside} are "
        f"within it whatever the spread, and {smaller} are within it if all variance lies within problems."
    ]


def _costs_table(found: Published) -> Table:
    header = ("model", "method", "steps", "prompts", "hours", "ratio of steps", "ratio of hours", "printed ratios")
    rows = []
    for cost in found.costs:
        base, own = cost.baseline, cost.method
        rows.append((cost.model, found.baseline, *_spent(base.steps, found), f"{base.hours:.2f}", *[""] * 3))
        ratios = (f"{base.steps / own.steps:.2f}", f"{base.hours / own.hours:.2f}")
        printed = f"{cost.prompts_ratio:.2f}, {cost.hours_ratio:.2f}"
        rows.append((cost.model, own.name, *_spent(own.steps, found), f"{own.hours:.2f}", *ratios, printed))
    return table(header, rows, left=2)


def _spent(steps: int, found: Published) -> tuple[str, str]:
    return f"{steps:,}", f"{steps * found.prompts_a_step:,}"


def _readable(line: str) -> str:
    """Replace the benchmark name at the start of a sentence by its heading."""
    name, colon, rest = line.partition(": ")
    return f"{_NAMES.benchmark(name)}{colon}{rest}"
