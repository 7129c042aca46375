"""The report of a study: `scores.csv`, figure, Markdown and one HTML page, made from the scores and the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from sfpo_bench.reports.document import blocks
from sfpo_bench.reports.formats import count_text, escaped
from sfpo_bench.reports.html import simple_page
from sfpo_bench.reports.paper_score import PaperCheckpoint, PaperScore, write_paper_scores
from sfpo_bench.reports.score_figure import WORDS, score_figure
from sfpo_bench.study.checkpoints import Choice
from sfpo_bench.study.plan import COMPARISON, Study
from sfpo_bench.sweep.tune import Tuned, tuning_markdown
from sfpo_bench.tracking.run_folder import write_atomically

_TITLES = {
    PaperCheckpoint.last: "At the last checkpoint",
    PaperCheckpoint.best_on_select: "At the checkpoint that is best on select problems",
    PaperCheckpoint.equal_budget: "At the checkpoint of equal budget",
}


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """Where a study's report lies; `report` is the one to read first."""

    scores: Path
    report: Path
    page: Path
    figure_png: Path
    figure_pdf: Path
    figure_svg: Path

    @classmethod
    def inside(cls, folder: Path) -> StudyFiles:
        """The paths in the study's folder; creates nothing."""
        names = ("scores.csv", "report.md", "report.html", "figure.png", "figure.pdf", "figure.svg")
        return cls(*(folder / name for name in names))

    def all(self) -> tuple[Path, ...]:
        return astuple(self)

    def told(self) -> tuple[Path, ...]:
        """What the tracking store gets."""
        return (self.scores, self.report, self.page, self.figure_png)


def write_study_report(
    study: Study, scores: Sequence[PaperScore], choice: Choice, tuned: Sequence[Tuned]
) -> StudyFiles:
    """Write every file, each whole or not at all; equal studies give equal bytes."""
    files = StudyFiles.inside(study.folder)
    figures = score_figure(scores, f"{study.name}: scores on {study.evaluation.suite}")
    markdown = study_markdown(study, scores, choice, tuned)
    write_paper_scores(files.scores, scores)
    for path, content in (
        (files.figure_png, figures["png"]),
        (files.figure_pdf, figures["pdf"]),
        (files.figure_svg, figures["svg"]),
        (files.page, simple_page(study.name, blocks(markdown), {files.figure_png.name: figures["svg"]}).encode()),
        (files.report, markdown.encode()),
    ):
        write_atomically(path, content)
    return files


def study_markdown(study: Study, scores: Sequence[PaperScore], choice: Choice, tuned: Sequence[Tuned]) -> str:
    """The report as Markdown."""
    sections = [f"# {escaped(study.name)}", escaped(study.config.description), *_bullets(_notes(study, scores, choice))]
    for checkpoint, title in _TITLES.items():
        rows = [one for one in scores if one.checkpoint is checkpoint]
        if rows:
            sections += [f"## {title}", _scores_table(scores, checkpoint)]
            compared = [one for one in rows if one.difference is not None]
            if compared:
                sections += [f"### Differences to {escaped(compared[0].baseline)}", _differences_table(compared)]
    sections += [f"![{WORDS}](figure.png)", "## What the arms spent", _budget_table(scores, choice)]
    if tuned:
        sections.append(tuning_markdown(tuned).replace("# Tuning", "## Tuning", 1).rstrip())
    sections += ["## Where the rest lies", *_bullets(_places(study, tuned))]
    return "\n\n".join(section for section in sections if section) + "\n"


def _notes(study: Study, scores: Sequence[PaperScore], choice: Choice) -> list[str]:
    """How the numbers came about."""
    one, axis = scores[-1], choice.axis.value.replace("_", " ")
    prompts = ", ".join(dict.fromkeys(row.prompt for row in scores))
    lines = [
        f"avg@{one.samples} in percent: {one.samples} samples a problem, temperature {one.temperature:g}, top-p "
        f"{one.top_p:g}, at most {one.max_tokens} tokens, prompt {escaped(prompts)}; suite "
        f"{escaped(study.evaluation.suite)}.",
        f"{len(study.seeds)} training seeds of each arm. Intervals are 95 %, over problems and training seeds; "
        "averages weigh every benchmark alike.",
        "The best checkpoint is the one with the highest sampled accuracy on select problems during training; no "
        "reported problem had a part in any choice.",
        "Of equal budget is the latest kept checkpoint at which a run had spent no more than "
        f"{count_text(choice.shared_budget)} {axis}: what every run of every arm has spent in the end.",
        "Differences are paired by problem; p is that of a permutation test in which whole runs change places "
        "(answers, with one run of each arm), two-sided, and by Holm over the benchmarks. What a comparison would "
        "detect is the smallest true difference that it would find with 80 % power.",
    ]
    if choice.without_equal:
        named = ", ".join(choice.without_equal)
        lines.append(
            f"**No checkpoint of {escaped(named)} lies within the shared budget**, so that there is none of equal "
            "budget; a smaller training.keep_every keeps more of them."
        )
    return lines


def _scores_table(scores: Sequence[PaperScore], checkpoint: PaperCheckpoint) -> str:
    shown = [one for one in scores if one.checkpoint in (PaperCheckpoint.start, checkpoint)]
    benchmarks = list(dict.fromkeys(one.benchmark for one in shown))
    arms = list(dict.fromkeys(one.arm for one in shown))
    best = {name: max(round(100 * one.avg_at_k, 1) for one in shown if one.benchmark == name) for name in benchmarks}
    cells = {(one.arm, one.benchmark): _score_text(one, best[one.benchmark]) for one in shown}
    rows = [[escaped(arm), *(cells.get((arm, name), "") for name in benchmarks)] for arm in arms]
    return _table(["arm", *map(escaped, benchmarks)], rows)


def _score_text(one: PaperScore, best: float) -> str:
    text = f"{100 * one.avg_at_k:.1f}"
    text = f"**{text}**" if round(100 * one.avg_at_k, 1) == best else text
    return text if one.low is None or one.high is None else f"{text} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def _differences_table(rows: Sequence[PaperScore]) -> str:
    cells = [
        [
            escaped(one.arm),
            escaped(one.benchmark),
            f"{one.problems:,}" if one.problems else "",
            _points(one),
            _p_text(one.p_value),
            _p_text(one.p_holm),
            "" if one.smallest_detectable is None else f"{100 * one.smallest_detectable:.1f}",
        ]
        for one in rows
    ]
    header = ["arm", "benchmark", "problems", "difference, points", "p", "p by Holm", "would detect, points"]
    return _table(header, cells, left=(0, 1))


def _points(one: PaperScore) -> str:
    if one.difference is None or one.difference_low is None or one.difference_high is None:
        return ""
    return f"{100 * one.difference:+.1f} ({100 * one.difference_low:+.1f} to {100 * one.difference_high:+.1f})"


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return escaped("< 0.001") if p < 0.001 else f"{p:.3f}"


def _budget_table(scores: Sequence[PaperScore], choice: Choice) -> str:
    axis = choice.axis.value.replace("_", " ")
    first = scores[0].benchmark
    rows = [
        [
            escaped(one.arm),
            one.checkpoint.value.replace("_", " "),
            count_text(one.steps or 0),
            count_text(one.budget or 0),
        ]
        for one in scores
        if one.benchmark == first and one.checkpoint in _TITLES
    ]
    return _table(["arm", "checkpoint", "training steps, mean", f"{axis}, mean"], rows, left=(0, 1))


def _places(study: Study, tuned: Sequence[Tuned]) -> list[str]:
    lines = [
        escaped("scores.csv: every number of the tables, one row for each arm, checkpoint and benchmark"),
        escaped(f"{COMPARISON}/report.html: curves, costs to a target, inside the updates"),
        escaped(f"{COMPARISON}/runs/ARM/seed-NNNN/evaluations/: every sample that was graded"),
    ]
    return [*lines, *([escaped("sweeps/: every trial of the tuning")] if tuned else [])]


def _bullets(lines: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A pipe table whose cells come escaped; columns are aligned right but for those in `left`."""
    rule = [":---" if column in left else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])
