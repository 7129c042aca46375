"""Writes the report of a study: `scores.csv`, figure, Markdown and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.experiments.study.checkpoints import CheckpointChoice
from sfpo_bench.experiments.sweep.tune import Tuned, tuning_blocks
from sfpo_bench.reports.document import Block, Picture, Table, bullets, heading, paragraphs, table
from sfpo_bench.reports.formats import count_text
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.papers.frame import rows_of
from sfpo_bench.reports.papers.layout import lay_out
from sfpo_bench.reports.papers.names import CHECKPOINT_TITLES, PaperNames
from sfpo_bench.reports.papers.score import PaperCheckpoint, PaperScore, write_paper_scores
from sfpo_bench.reports.papers.score_figure import WORDS, score_figure
from sfpo_bench.reports.papers.table import (
    PaperTableFiles,
    score_blocks,
    write_paper_tables,
)
from sfpo_bench.results.names import FIGURE, PAGE, REPORT, SCORES_TABLE
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.results.study import COMPARISON

if TYPE_CHECKING:
    from sfpo_bench.experiments.study.plan import Study

_NAMED = ("arm", "checkpoint", "benchmark", "problems")
_SPENT = (PaperCheckpoint.last, PaperCheckpoint.best_on_select, PaperCheckpoint.equal_budget)


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """Paths of a study's report; `report` is the main file."""

    scores: Path
    report: Path
    page: Path
    figure_png: Path
    figure_pdf: Path
    figure_svg: Path
    tables: PaperTableFiles

    @classmethod
    def inside(cls, folder: Path) -> StudyFiles:
        """Return the paths in the study's folder; creates nothing."""
        return cls(
            scores=folder / SCORES_TABLE,
            report=folder / REPORT,
            page=folder / PAGE,
            figure_png=folder / FIGURE,
            figure_pdf=folder / "figure.pdf",
            figure_svg=folder / "figure.svg",
            tables=PaperTableFiles.inside(folder),
        )

    def all(self) -> tuple[Path, ...]:
        """Return every file."""
        own = (self.scores, self.report, self.page, self.figure_png, self.figure_pdf, self.figure_svg)
        return (*own, *astuple(self.tables))

    def tracked(self) -> tuple[Path, ...]:
        """Return the files to upload to the tracking store."""
        return (self.scores, self.report, self.page, self.figure_png, self.tables.latex)


def write_study_report(
    study: Study,
    scores: Sequence[PaperScore],
    choice: CheckpointChoice,
    tuned: Sequence[Tuned],
    versions: Mapping[str, object],
) -> StudyFiles:
    """Write every file atomically; equal studies give equal bytes. `versions` are the code versions of the parts."""
    files = StudyFiles.inside(study.folder)
    figures = score_figure(scores, f"{study.name}: scores on {study.evaluation.suite}")
    report = study_blocks(study, scores, choice, tuned, versions)
    write_paper_scores(files.scores, scores)
    write_paper_tables(scores, study.folder, study.name)
    for path, content in (
        (files.figure_png, figures["png"]),
        (files.figure_pdf, figures["pdf"]),
        (files.figure_svg, figures["svg"]),
        (files.page, simple_page(study.name, report, {files.figure_png.name: figures["svg"]}).encode()),
        (files.report, markdown(report).encode()),
    ):
        write_atomically(path, content)
    return files


def study_blocks(
    study: Study,
    scores: Sequence[PaperScore],
    choice: CheckpointChoice,
    tuned: Sequence[Tuned],
    versions: Mapping[str, object],
) -> list[Block]:
    """Return the report: notes, paper tables, the figure, every score, costs and tuned settings of the arms."""
    found: list[Block] = [heading(1, study.name), *paragraphs([study.config.description])]
    found += bullets([*_notes(study, scores, choice), *mixed_code(versions)])
    trained = [one for one in scores if one.checkpoint is not PaperCheckpoint.start]
    for one in lay_out(rows_of(trained), PaperNames()):
        found += [heading(2, one.caption), *score_blocks(one)]
    found += [Picture(WORDS, FIGURE), heading(2, "Scores with their intervals"), _scores_table(scores)]
    compared = [one for one in scores if one.difference is not None]
    if compared:
        found += [heading(2, f"Differences to {compared[0].baseline}"), _differences_table(compared)]
    found += [heading(2, "What the arms spent"), _budget_table(scores, choice)]
    if tuned:
        found += tuning_blocks(tuned, level=2)
    return [*found, heading(2, "Where the rest lies"), *bullets(_places(tuned))]


def _notes(study: Study, scores: Sequence[PaperScore], choice: CheckpointChoice) -> list[str]:
    """Return how the numbers were computed."""
    axis = choice.axis.value.replace("_", " ")
    before = [one for one in scores if one.checkpoint is PaperCheckpoint.start]
    levels = ", ".join(f"{one.benchmark} {_score_text(one)}" for one in before)
    lines = [
        f"{len(study.seeds)} training seeds of each arm, evaluated on the suite {study.evaluation.suite}. Intervals "
        "are 95 %, over problems and training seeds.",
        f"Before training the model scores, in percent: {levels}.",
        "The best checkpoint is the one with the highest sampled accuracy on select problems during training; no "
        "reported problem had a part in any choice.",
        "Of equal budget is the latest kept checkpoint at which a run had spent no more than "
        f"{count_text(choice.shared_budget)} {axis}: what every run of every arm has spent in the end.",
    ]
    if choice.without_equal:
        named = ", ".join(choice.without_equal)
        lines.append(
            f"No checkpoint of {named} lies within the shared budget, so that there is none of equal budget; a smaller "
            "training.keep_every keeps more of them."
        )
    return lines


def mixed_code(versions: Mapping[str, object]) -> list[str]:
    """Return a warning if different code versions made the parts."""
    if len(set(versions.values())) < 2:
        return []
    made = "; ".join(f"{part}: {str(version)[:12]}" for part, version in versions.items())
    return [f"Parts of this study were made by different versions of the code. {made}."]


def _score_text(one: PaperScore) -> str:
    text = f"{100 * one.avg_at_k:.1f}"
    return text if one.low is None or one.high is None else f"{text} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def _named(one: PaperScore) -> list[str]:
    problems = f"{one.problems:,}" if one.problems else ""
    return [one.arm, CHECKPOINT_TITLES[one.checkpoint], one.benchmark, problems]


def _scores_table(rows: Sequence[PaperScore]) -> Table:
    cells = [
        [
            *_named(one),
            str(one.samples or ""),
            str(one.seeds or ""),
            _score_text(one),
        ]
        for one in rows
    ]
    header = (*_NAMED, "samples a problem", "runs", "avg@k in percent (95 %)")
    return table(header, cells, left=3)


def _differences_table(rows: Sequence[PaperScore]) -> Table:
    cells = [
        [
            *_named(one),
            _points(one),
            _p_text(one.p_value),
            _p_text(one.p_holm),
            "" if one.smallest_detectable is None else f"{100 * one.smallest_detectable:.1f}",
        ]
        for one in rows
    ]
    header = (*_NAMED, "difference, points", "p", "p by Holm", "would detect, points")
    return table(header, cells, left=3)


def _points(one: PaperScore) -> str:
    if one.difference is None or one.difference_low is None or one.difference_high is None:
        return ""
    return f"{100 * one.difference:+.1f} ({100 * one.difference_low:+.1f} to {100 * one.difference_high:+.1f})"


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _budget_table(scores: Sequence[PaperScore], choice: CheckpointChoice) -> Table:
    axis = choice.axis.value.replace("_", " ")
    shown = [one for one in scores if one.benchmark == scores[0].benchmark and one.checkpoint in _SPENT]
    rows = [[one.arm, CHECKPOINT_TITLES[one.checkpoint], _mean(one.steps), _mean(one.budget)] for one in shown]
    return table(("arm", "checkpoint", "training steps, mean", f"{axis}, mean"), rows, left=2)


def _mean(value: float | None) -> str:
    return "" if value is None else count_text(round(value, 1))


def _places(tuned: Sequence[Tuned]) -> list[str]:
    lines = [
        "scores.csv: every number of the tables, one row for each arm, checkpoint and benchmark",
        "paper.tex, paper.html, paper.md, paper.csv: the tables alone, for a paper",
        f"{COMPARISON}/report.html: curves, costs to a target, inside the updates",
        f"{COMPARISON}/runs/ARM/seed-NNNN/evaluations/: every sample that was graded",
    ]
    return [*lines, *(["sweeps/: every trial of the tuning"] if tuned else [])]
