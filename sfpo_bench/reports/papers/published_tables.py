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
from sfpo_bench.reports.papers.published_results import Gain, Published, disagreements, gains, published_scores
from sfpo_bench.reports.papers.table import score_blocks
from sfpo_bench.reports.papers.tex import paper_tex
from sfpo_bench.reports.write import csv_bytes
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.statistics import DifferenceError

_NAMES = PaperNames()
_MEANINGS = (
    "What a difference is off by at 95 % follows from the number of problems and samples and from two things that are "
    "not published: how much of the variance lies within a problem, and whether the two models fail on the same ones.",
    "least: nothing is smaller. within: all variance within problems, each as hard as the mean. nested: all variance "
    "between problems, each solved always or never, and the better model solves all that the other solves. unrelated: "
    "the same, but which problems a model solves says nothing of the other. most: nothing is larger.",
    "All of these speak of problems like these. On these very problems and no others the error lies between nothing "
    "(each is solved always or never) and within.",
    "Not in these numbers: other training runs of the same method, and the choice of the checkpoint by these scores.",
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
        heading(2, "What does not add up, and what is not told"),
        *bullets([*(_readable(line) for line in disagreements(found)), *found.notes]),
    ]


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
