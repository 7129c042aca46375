"""A paper's table as rows and cells, independent of the output format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sfpo_bench.reports.papers.footnotes import footnotes, samples_text
from sfpo_bench.reports.papers.frame import PaperRow, benchmarks_of, decimals, tables_of
from sfpo_bench.reports.papers.names import CHECKPOINT_TITLES, PaperNames
from sfpo_bench.reports.papers.score import AVERAGE
from sfpo_bench.statistics import Design, difference_error


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of a cell; `below` may be printed on a second line."""

    text: str = ""
    below: str = ""
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A method's scores, or its differences to the baseline: one cell per column."""

    label: str
    cells: tuple[Cell, ...]
    is_difference: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of one model."""

    model: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table: `headings` are those of the benchmark columns; footnotes are sentences of plain text."""

    caption: str
    headings: tuple[str, ...]
    blocks: tuple[Block, ...]
    footnotes: tuple[str, ...]


def lay_out(rows: Sequence[PaperRow], names: PaperNames) -> list[PaperTable]:
    """Return every table of the rows: one per source and checkpoint."""
    return [_table(own, names) for own in tables_of(rows)]


def points_text(share: float, digits: int) -> str:
    """Return a difference in percentage points, with a sign and a true minus: `+1.2`."""
    return f"{100 * share:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _table(rows: Sequence[PaperRow], names: PaperNames) -> PaperTable:
    first, benchmarks = rows[0].score, benchmarks_of(rows)
    head = f"Published in {first.source}: " if first.source else ""
    models = dict.fromkeys(row.score.model for row in rows)
    blocks = [_block(model, [row for row in rows if row.score.model == model], benchmarks, names) for model in models]
    return PaperTable(
        caption=f"{head}avg@{samples_text(rows)} in percent, {CHECKPOINT_TITLES[first.checkpoint]}",
        headings=tuple(names.benchmark(name) for name in benchmarks),
        blocks=tuple(blocks),
        footnotes=tuple(footnotes(rows, names)),
    )


def _block(model: str, own: Sequence[PaperRow], benchmarks: Sequence[str], names: PaperNames) -> Block:
    by_place = {(row.score.arm, row.score.benchmark): row for row in own}
    arms = dict.fromkeys(row.score.arm for row in own)
    pairs = dict.fromkeys((row.score.arm, row.score.baseline) for row in own if row.score.difference is not None)
    rows = [Row(names.arm(arm), tuple(_score(by_place.get((arm, name))) for name in benchmarks)) for arm in arms]
    rows += [
        Row(
            f"{names.arm(arm)} \N{MINUS SIGN} {names.arm(base)}",
            tuple(_difference(by_place, (arm, base), name, benchmarks) for name in benchmarks),
            is_difference=True,
        )
        for arm, base in pairs
    ]
    return Block(names.model(model), tuple(rows))


def _score(row: PaperRow | None) -> Cell:
    if row is None:
        return Cell()
    return Cell(f"{100 * row.score.avg_at_k:.{decimals(row.score.source)}f}", bold=row.best)


def _difference(
    rows: Mapping[tuple[str, str], PaperRow], pair: tuple[str, str], benchmark: str, benchmarks: Sequence[str]
) -> Cell:
    """Return the difference with its mark and, below, its interval; if unknown, the range that the design implies."""
    row = rows.get((pair[0], benchmark))
    if row is None or (gain := row.score.difference) is None:
        return Cell()
    score, digits = row.score, decimals(row.score.source)
    text = points_text(gain, digits) + row.mark
    if score.difference_low is None or score.difference_high is None:
        shown = benchmarks if benchmark == AVERAGE else (benchmark,)
        return Cell(text, _design_range(rows, pair, [name for name in shown if name != AVERAGE]))
    return Cell(text, f"({points_text(score.difference_low, digits)} to {points_text(score.difference_high, digits)})")


def _design_range(rows: Mapping[tuple[str, str], PaperRow], pair: tuple[str, str], benchmarks: Sequence[str]) -> str:
    """Return the range of the sampling error that the design implies, `(±0.5 to 4.7)`; empty for an unknown design."""
    means, designs = [], []
    for name in benchmarks:
        one, two = (rows.get((arm, name)) for arm in pair)
        if one is None or two is None or one.score.problems is None or one.score.samples is None:
            return ""
        means.append((one.score.avg_at_k, two.score.avg_at_k))
        designs.append(Design(one.score.problems, one.score.samples))
    if not means:
        return ""
    error = difference_error(means, designs)
    return f"(\N{PLUS-MINUS SIGN}{100 * error.least:.1f} to {100 * error.most:.1f})"
