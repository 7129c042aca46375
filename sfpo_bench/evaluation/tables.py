"""Scores as Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.evaluation.graded_benchmark import METRICS, GradedBenchmark
from sfpo_bench.evaluation.paper_rows import paper_rows, samples_of
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.scores import AVERAGE, Difference, Score, ScoredArm, arm_scores, differences, unlike
from sfpo_bench.problems.sets import card, known_sets
from sfpo_bench.reports.document import Block, Line, Table, bold, bullets, heading, line, paragraph, table
from sfpo_bench.reports.latex import Columns, tables_tex
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.papers.score import PaperCheckpoint, PaperScore, write_paper_scores
from sfpo_bench.results.codec import to_json
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.identity import Identity, refuse
from sfpo_bench.results.names import PAPER_SCORES_TABLE, SCORES_TABLE
from sfpo_bench.results.stored_files import read_object, write_atomically
from sfpo_bench.statistics.permutation import RUNS_ONLY

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMNS = (
    "arm", "benchmark", "metric", "k", "problems_counted", "score", "low", "high", "problems", "runs",
    "truncated_share", "no_answer_share", "boxed_share", "undecided_share", "tokens_mean",
)  # fmt: skip
DIFFERENCE_COLUMNS = (
    "arm", "baseline", "benchmark", "metric", "k", "problems_counted", "difference", "low", "high", "p_value", "test",
    "holm_adjusted_p", "detectable_difference", "problems",
)  # fmt: skip
# Scores that share a table: scores of k answers, and how often k answers are all or mostly correct.
ONE_RIGHT, TOGETHER = ("avg", "pass", "maj"), ("pass_all", "g_pass_0.5", "g_pass_0.75", "mg_pass")
TOGETHER_TEXT = (
    "How often k answers are right together: all of them (pass^k), at least half or three quarters of them (G-Pass@k "
    "of 0.5 and 0.75), and the mean of G-Pass@k from a half to all (mG-Pass@k)."
)
ALL, NOT_SHARED = "all", "not in a training set"


@dataclass(frozen=True, slots=True)
class TableFiles:
    """Paths of the files of a score report."""

    markdown: Path
    csv: Path
    differences: Path
    latex: Path
    paper_scores: Path
    sources: Path

    @classmethod
    def inside(cls, folder: Path) -> TableFiles:
        """Return the paths below `folder`; creates nothing."""
        names = ("table.md", SCORES_TABLE, "differences.csv", "table.tex", PAPER_SCORES_TABLE, "evaluations.json")
        return cls(*(folder / name for name in names))


def check_tables_folder(evaluations: Sequence[Evaluation], baseline: str, k: int, folder: Path) -> None:
    """Raise `ConfigError` if `folder` holds tables of other evaluations, baseline or k, which would be overwritten."""
    file = TableFiles.inside(folder).sources
    if not file.is_file():
        return
    there, new = Identity.of(read_object(file)), Identity.of(_sources(evaluations, baseline, k))
    refuse(f"{folder} holds other tables", there.differences(new), "Give these another place, out=FOLDER")


def _sources(evaluations: Sequence[Evaluation], baseline: str, k: int) -> dict[str, object]:
    """Return the evaluations, baseline and k that tables are made from."""
    places = sorted(place for one in evaluations for place in one.places)
    grades = {} if all(one.grades.ours for one in evaluations) else {"grades": [one.grades.text for one in evaluations]}
    return {"evaluations": places, "baseline": baseline, "k": k, **grades}


def write_tables(
    arms: Sequence[ScoredArm], baseline: str, k: int, folder: Path, more: Sequence[Block] = ()
) -> TableFiles:
    """Write every table of the arms; `baseline` names the arm that differences refer to, `more` is put at the end.

    `paper_scores.csv` is what `read_paper_scores` reads: avg at as many samples as every evaluation has.
    """
    files = TableFiles.inside(folder)
    write_paper_scores(files.paper_scores, _paper_scores(arms, baseline))
    write_atomically(files.sources, to_json(_sources(_evaluations(arms), baseline, k)))
    report = [*scores_blocks(arms, baseline, k), *more]
    contents: dict[Path, str | bytes] = {
        files.markdown: markdown(report),
        files.csv: csv_bytes(scores_frame(arms, k)),
        files.latex: tables_tex(report, Columns.two),
    }
    if len(arms) > 1:
        contents[files.differences] = csv_bytes(differences_frame(arms, baseline, k))
    for path, content in contents.items():
        write_atomically(path, content)
    return files


def scores_blocks(arms: Sequence[ScoredArm], baseline: str, k: int) -> list[Block]:
    """Return scores with and without problems in training sets, and differences to the baseline, as blocks."""
    shared = _shared(arms)
    found: list[Block] = [heading(1, "Scores"), *bullets(_notes(arms))]
    found += [heading(2, "Scores on all problems"), *_scores_tables(arms, k, ())]
    if shared:
        found += [
            heading(2, "Scores without problems that are in a training set"),
            paragraph(f"{len(shared)} problems are left out."),
            *_scores_tables(arms, k, shared),
        ]
    others = [arm for arm in arms if arm.name != baseline]
    if others:
        first = next(arm for arm in arms if arm.name == baseline)
        title = f"Differences to {baseline}"
        found += [heading(2, title)]
        if any(differences(arm, first, "avg", k) for arm in others):
            found.append(_difference_table(others, first, k, ()))
        if shared:
            found.append(heading(2, f"{title} without problems that are in a training set"))
            found.append(_difference_table(others, first, k, shared))
        found += bullets(_difference_notes(others, first, k))
    return [*found, heading(2, "Responses"), _responses_table(arms)]


def _paper_scores(arms: Sequence[ScoredArm], baseline: str) -> list[PaperScore]:
    first = next(arm for arm in arms if arm.name == baseline)
    rows: list[PaperScore] = []
    for arm in arms:
        same_k = min(samples_of(arm), samples_of(first))
        found = differences(arm, first, "avg", same_k) if arm is not first else {}
        rows += [
            replace(
                row,
                model=arm.evaluations[0].owner.model.source,
                seeds=len(arm.evaluations),
                baseline=baseline if row.benchmark in found else "",
            )
            for row in paper_rows(arm, PaperCheckpoint.unknown, found)
        ]
    return rows


def scores_frame(arms: Sequence[ScoredArm], k: int) -> pd.DataFrame:
    """Return one row per arm, benchmark, metric and set of problems: columns `SCORE_COLUMNS`."""
    import pandas as pd

    rows = [
        (arm.name, name, metric, k, counted, score.mean, score.interval.low, score.interval.high, score.problems,
         score.runs, *_response_numbers(arm, name))
        for counted, leave_out in _countings(arms)
        for arm in arms
        for metric in METRICS
        for name, score in arm_scores(arm, metric, k, leave_out).items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def differences_frame(arms: Sequence[ScoredArm], baseline: str, k: int) -> pd.DataFrame:
    """Return one row per arm but the baseline, benchmark, metric and set of problems: columns `DIFFERENCE_COLUMNS`."""
    import pandas as pd

    first = next(arm for arm in arms if arm.name == baseline)
    rows = [
        (arm.name, baseline, name, metric, k, counted, one.mean, one.interval.low, one.interval.high, one.p_value,
         one.test, one.adjusted_p, one.detectable, one.problems)
        for counted, leave_out in _countings(arms)
        for arm in arms
        if arm.name != baseline
        for metric in METRICS
        for name, one in differences(arm, first, metric, k, leave_out).items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))


def _countings(arms: Sequence[ScoredArm]) -> list[tuple[str, Collection[str]]]:
    shared = _shared(arms)
    return [(ALL, ()), (NOT_SHARED, shared)] if shared else [(ALL, ())]


def _shared(arms: Sequence[ScoredArm]) -> frozenset[str]:
    """Return the problems that occur in a training set of any arm; they are left out for all arms."""
    return frozenset(one for arm in arms for evaluation in arm.evaluations for one in evaluation.shared_ids)


def _evaluations(arms: Sequence[ScoredArm]) -> list[Evaluation]:
    return [one for arm in arms for one in arm.evaluations]


def _notes(arms: Sequence[ScoredArm]) -> list[Line]:
    """Return how the numbers were computed, and all caveats."""
    found = _evaluations(arms)
    lines = [line(_sampling_text(one)) for one in found]
    different = unlike(found) if len(found) > 1 else []
    if different:
        lines.append(line(bold("Sampled or prompted differently"), f": {'; '.join(different)}."))
    for one in found:
        label = bold(one.owner.label)
        if one.choice_note:
            lines.append(line(label, f" was {one.choice_note}."))
        if one.asked.unverified:
            lines.append(line(label, f": the content of {', '.join(one.asked.unverified)} is not that of its card."))
        lines += [line(label, f": {note}") for note in one.notes]
    errors = [one for name in arms[0].benchmarks for one in _label_errors(found[0].graded[name])]
    if errors:
        lines.append(line(f"Gold answers with known errors, which are not excluded: {', '.join(errors)}."))
    one_run = {len(arm.evaluations) for arm in arms} == {1}
    over = "over problems" if one_run else "over problems and training runs (over problems alone where there is one)"
    lines.append(line(f"Intervals are 95 %, {over}. Averages weight every benchmark equally."))
    return list(dict.fromkeys(lines))


def _label_errors(graded: GradedBenchmark) -> list[str]:
    """Return the ids of evaluated problems with a known error in their gold answer."""
    ids = {one.id for one in graded.problems}
    if graded.benchmark not in known_sets("benchmarks"):  # from another program's log
        return []
    return [error.id for error in card(graded.benchmark).label_errors if error.id in ids]


def _sampling_text(one: Evaluation) -> str:
    sampling, templates = one.sampling, sorted({name.split(" ")[0] for name in one.asked.templates.values()})
    told = [
        f"{one.asked.samples} samples a problem",
        *([] if sampling.temperature is None else [f"temperature {sampling.temperature:g}"]),
        *([] if sampling.top_p is None else [f"top-p {sampling.top_p:g}"]),
        *([] if sampling.max_new_tokens is None else [f"at most {sampling.max_new_tokens} tokens"]),
        *([f"prompt {', '.join(templates)}"] if templates else []),
        *(name for name in (sampling.engine, sampling.precision) if name),
        *([one.server.text] if one.server else []),
    ]
    if one.sources:
        told.append(f"from a log of {one.grades.form}, grades {one.grades.text}; other settings are unknown")
    return f"{', '.join(told)}."


def _scores_tables(arms: Sequence[ScoredArm], k: int, leave_out: Collection[str]) -> list[Block]:
    """Return a table of avg, pass and maj at k, and one of how often k answers are correct together."""
    tables: list[Block] = [_scores_table(arms, ONE_RIGHT, k, leave_out)]
    if k == 1:
        return tables
    # A heading of its own, from which LaTeX makes the caption.
    together = heading(3, "Several answers right together"), paragraph(TOGETHER_TEXT)
    return [*tables, *together, _scores_table(arms, TOGETHER, k, leave_out)]


def _scores_table(arms: Sequence[ScoredArm], metrics: Sequence[str], k: int, leave_out: Collection[str]) -> Table:
    rows = []
    for arm in arms:
        found = {metric: arm_scores(arm, metric, k, leave_out) for metric in metrics}
        for name in [*arm.benchmarks, AVERAGE]:
            score = found[metrics[0]].get(name)
            if score is None and name == AVERAGE:
                continue
            size = "" if score is None else f"{score.problems:,}"
            runs = f"{len(arm.evaluations)}"
            cells = [_score_text(found[metric].get(name), _missing(arm, name, k, leave_out)) for metric in found]
            shown = _average_name(arm.benchmarks, arms) if name == AVERAGE else name
            rows.append((arm.name, shown, size, runs, *cells))
    header = ("arm", "benchmark", "problems", "runs", *(METRICS[metric].at(k) for metric in metrics))
    return table(header, rows, left=2)


def _difference_table(others: Sequence[ScoredArm], baseline: ScoredArm, k: int, leave_out: Collection[str]) -> Table:
    rows = []
    for arm in others:
        found = differences(arm, baseline, "avg", k, leave_out)
        average = _average_name([name for name in found if name != AVERAGE], [*others, baseline])
        for name, one in found.items():
            adjusted = "" if one.adjusted_p is None else _p_text(one.adjusted_p)
            cells = (f"{one.problems:,}", _difference_text(one), _p_text(one.p_value), adjusted)
            shown = average if name == AVERAGE else name
            rows.append((arm.name, shown, *cells, f"{100 * one.detectable:.1f}"))
    header = (
        "arm",
        "benchmark",
        "problems",
        f"difference of avg@{k}, points",
        "p",
        "p by Holm",
        "would detect, points",
    )
    return table(header, rows, left=2)


def _average_name(covered: Sequence[str], arms: Sequence[ScoredArm]) -> str:
    """Return `average` if all arms have exactly these benchmarks, else with the list of benchmarks."""
    alike = all(set(arm.benchmarks) == set(covered) for arm in arms)
    return AVERAGE if alike else f"{AVERAGE} of {', '.join(covered)}"


def _difference_notes(others: Sequence[ScoredArm], baseline: ScoredArm, k: int) -> list[str]:
    by_arm = {arm.name: differences(arm, baseline, "avg", k) for arm in others}
    apart = [name for name, found in by_arm.items() if not found]
    several = [f"No difference of {name} to {baseline.name}: no problem was answered by both." for name in apart]
    tests = dict.fromkeys(one.test for found in by_arm.values() for one in found.values())
    if not tests:
        return several
    several += [
        f"p: permutation test ({' or '.join(tests)}), two-sided; by Holm over the benchmarks. What a "
        "comparison would detect is the smallest true difference that it would find with 80 % power."
    ]
    if "runs permuted" in tests:
        several.append(RUNS_ONLY)
        several.append("With n and m runs the test's p cannot be below 1 / C(n + m, n), twice that where n = m.")
    return several


def _responses_table(arms: Sequence[ScoredArm]) -> Table:
    rows = [
        (arm.name, name, *(_known_text(100 * value, ".1f") for value in numbers[:4]), _known_text(numbers[4], ",.0f"))
        for arm in arms
        for name in arm.benchmarks
        for numbers in [_response_numbers(arm, name)]
    ]
    header = ("arm", "benchmark", "truncated, %", "no answer, %", "in a box, %", "not decided, %", "mean tokens")
    return table(header, rows, left=2)


def _response_numbers(arm: ScoredArm, benchmark: str) -> tuple[float, ...]:
    """Return shares of truncated, unanswered, boxed and undecided responses, and mean length; NaN for an average."""
    if benchmark == AVERAGE:
        return (float("nan"),) * 5
    found: list[GradedBenchmark] = arm.graded(benchmark)

    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(found)

    return (
        mean(graded.share("truncated") for graded in found),
        mean(1 - graded.share("answered") for graded in found),
        mean(graded.share("boxed") for graded in found),
        mean(graded.share("undecided") for graded in found),
        mean(graded.tokens_mean for graded in found),
    )


def _known_text(value: float, form: str) -> str:
    return "unknown" if math.isnan(value) else f"{value:{form}}"


def _missing(arm: ScoredArm, name: str, k: int, leave_out: Collection[str]) -> str:
    """Return why a score is not defined."""
    if name == AVERAGE:
        return "not defined: a benchmark has none"
    fewest = min((len(graded.without(leave_out).problems) for graded in arm.graded(name)), default=0)
    if fewest < 2:
        return f"not defined: {fewest} problem{'' if fewest == 1 else 's'}, an interval needs two"
    if min(graded.samples for graded in arm.graded(name)) >= k:
        return "not defined: not in the log"
    return f"not defined: fewer than {k} samples of a problem"


def _score_text(score: Score | None, missing: str) -> str:
    """Return a score in percent, `43.2 (38.9 to 47.6)`, or `missing` if it is not defined."""
    if score is None:
        return missing
    return f"{100 * score.mean:.1f} ({100 * score.interval.low:.1f} to {100 * score.interval.high:.1f})"


def _difference_text(one: Difference) -> str:
    if one.same_samples:
        return "0: the same samples"
    low, high = one.interval.low, one.interval.high
    return f"{100 * one.mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _p_text(p: float) -> str:
    """Return a p-value with three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def scores_plain(arm: ScoredArm, k: int) -> Mapping[str, float]:
    """Return every score of an evaluation by key, such as `math500/avg_at_4`, for the tracking store."""
    numbers: dict[str, float] = {}
    for metric in METRICS:
        for name, score in arm_scores(arm, metric, k).items():
            key = f"{name}/{metric}_at_{k}"
            numbers |= {key: score.mean, f"{key}_low": score.interval.low, f"{key}_high": score.interval.high}
    shares = ("truncated_share", "no_answer_share", "boxed_share", "undecided_share", "tokens_mean")
    for name in arm.benchmarks:
        numbers |= {f"{name}/{key}": value for key, value in zip(shares, _response_numbers(arm, name), strict=True)}
    return numbers
