"""Footnotes of a paper's table: how the numbers were computed, and what they do not cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb

from sfpo_bench.reports.formats import count_text, range_text
from sfpo_bench.reports.papers.average import benchmarks_differ
from sfpo_bench.reports.papers.frame import LEVEL, MARK, PaperRow, benchmarks_of
from sfpo_bench.reports.papers.names import PaperNames
from sfpo_bench.reports.papers.score import AVERAGE, PaperCheckpoint, PaperScore
from sfpo_bench.statistics.permutation import RUNS_ONLY

_CHECKPOINTS = {
    PaperCheckpoint.last: "Checkpoint: the last one of each run",
    PaperCheckpoint.best_on_select: "Checkpoint: the best kept one of each run on select problems, none of which is "
    "shown here",
    PaperCheckpoint.equal_budget: "Checkpoint: of each run the one at the largest budget that all methods share",
    PaperCheckpoint.best_on_report: "Checkpoint: the one with the best average on these very benchmarks, which makes "
    "every score of it the best of several tries",
    PaperCheckpoint.start: "The model as it was before training",
    PaperCheckpoint.unknown: "The checkpoint was not stated",
}


def footnotes(table: Sequence[PaperRow], names: PaperNames) -> list[str]:
    """Return sentences of plain text about the rows of one table."""
    lines = [*_protocol(table, names), _checkpoint(table, names), *_sizes(table, names), *_best(table)]
    lines += [*_differences(table, names), *_mark(table), *_detectable(table), *_responses(table)]
    return lines


def samples_text(table: Sequence[PaperRow]) -> str:
    """Return `4`, `4 to 32`, or `k` if the number of samples is unknown."""
    return _range([row.score.samples for row in table]) or "k"


def _protocol(table: Sequence[PaperRow], names: PaperNames) -> Iterator[str]:
    """Yield one sentence per sampling configuration, with its benchmarks if there are several."""
    scores = [row.score for row in table]
    single = [score for score in scores if score.benchmark != AVERAGE] or scores
    ways: dict[str, list[str]] = {}
    for name in dict.fromkeys(score.benchmark for score in single):
        settings = dict.fromkeys(_way(score) for score in single if score.benchmark == name)
        ways.setdefault(" or ".join(settings), []).append(names.benchmark(name))
    for way, benchmarks in ways.items():
        yield f"{way}." if len(ways) == 1 else f"{', '.join(benchmarks)}: {way}."


def _way(score: PaperScore) -> str:
    k = "k" if score.samples is None else f"{score.samples}"
    number = "of an unknown number of" if score.samples is None else f"of {k}"
    parts = [
        f"mean {number} samples a problem",
        "temperature not stated" if score.temperature is None else f"temperature {score.temperature:g}",
        "top-p not stated" if score.top_p is None else f"top-p {score.top_p:g}",
        "token limit not stated" if score.max_tokens is None else f"at most {score.max_tokens:,} tokens",
        f"prompt {score.prompt}" if score.prompt else "prompt not stated",
    ]
    return f"avg@{k}: {', '.join(parts)}"


def _checkpoint(table: Sequence[PaperRow], names: PaperNames) -> str:
    text = _CHECKPOINTS[table[0].score.checkpoint]
    arms = dict.fromkeys(row.score.arm for row in table)
    spent = {names.arm(arm): _spent([row.score for row in table if row.score.arm == arm]) for arm in arms}
    known = {arm: one for arm, one in spent.items() if one}
    if not known:
        return f"{text}."
    if len(set(known.values())) == 1 and len(known) == len(spent):
        return f"{text} ({next(iter(known.values()))})."
    return f"{text} ({'; '.join(f'{arm} {one}' for arm, one in known.items())})."


def _spent(own: Sequence[PaperScore]) -> str:
    """Return `60 steps, 15,360 responses`: means over models and seeds."""
    steps = [score.steps for score in own if score.steps is not None]
    budgets = [score.budget for score in own if score.budget is not None]
    parts = [f"{count_text(round(sum(steps) / len(steps), 1))} steps"] if steps else []
    if budgets:
        axis = next((score.axis for score in own if score.axis), "").replace("_", " ")
        parts.append(f"{count_text(round(sum(budgets) / len(budgets), 1))} {axis}".rstrip())
    return ", ".join(parts)


def _sizes(table: Sequence[PaperRow], names: PaperNames) -> Iterator[str]:
    counts = {
        name: _range([row.score.problems for row in table if row.score.benchmark == name])
        for name in benchmarks_of(table)
        if name != AVERAGE
    }
    sizes = [f"{names.benchmark(name)} {count}" for name, count in counts.items() if count]
    average = f" {_average(table, names)}" if AVERAGE in benchmarks_of(table) else ""
    if sizes or average:
        yield (f"Problems: {', '.join(sizes)}.{average}" if sizes else average.strip())
    runs = _range([row.score.seeds for row in table])
    if runs:
        yield f"Training runs of a method: {runs}."


def _average(table: Sequence[PaperRow], names: PaperNames) -> str:
    """Return what the averages are computed from."""
    shown = [name for name in benchmarks_of(table) if name != AVERAGE]
    own = [row.score for row in table if row.score.benchmark == AVERAGE]
    if not shown:
        counts = _range([score.problems for score in own])
        return f"The average is of benchmarks that are not shown{f', {counts} problems' if counts else ''}."
    if benchmarks_differ([row.score for row in table]):
        return (
            "The average of a row weights its benchmarks equally; rows with other benchmarks have averages that cannot "
            "be compared."
        )
    measured = any(row.score.low is not None for row in table if row.score.benchmark != AVERAGE)
    unknown = measured and any(score.low is None for score in own)
    untold = " Its interval and test are known only for the benchmarks that were measured together." if unknown else ""
    return f"The average weights all benchmarks equally.{untold}"


def _range(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    return range_text(min(known), max(known)) if known else ""


def _best(table: Sequence[PaperRow]) -> Iterator[str]:
    if any(row.best for row in table):
        yield "Bold: the highest of its model and column, whether or not the difference means anything."


def _differences(table: Sequence[PaperRow], names: PaperNames) -> Iterator[str]:
    own = [row.score for row in table if row.score.difference is not None]
    measured = [score for score in own if score.difference_low is not None]
    bases = ", ".join(names.arm(base) for base in dict.fromkeys(score.baseline for score in own))
    if measured:
        runs = " and training runs" if any((score.seeds or 1) > 1 for score in measured) else ""
        yield f"Differences to {bases} are in points and paired by problem, with 95 % intervals over problems{runs}."
    if len(measured) < len(own):
        yield (
            f"Differences to {bases} in points, without an interval. In brackets: the smallest and the largest 95 % "
            "sampling error that so many problems and samples allow, whatever the spread within problems and between "
            "them; for one training run of each method, and without the choice of the checkpoint."
        )


def _mark(table: Sequence[PaperRow]) -> Iterator[str]:
    tested = [row.score for row in table if row.score.difference is not None and row.score.p_value is not None]
    if not tested:
        return
    yield (
        f"{MARK}: p at most {LEVEL:g} in a two-sided permutation test, after Holm over the benchmarks; of the average "
        "its own p."
    )
    if any(_smallest_p(table, score) > 0 for score in tested):
        yield RUNS_ONLY
    floor = min(_smallest_p(table, score) for score in tested)
    if floor > LEVEL:
        yield f"With so few training runs p cannot be below {floor:.2g}, so that no mark can appear."


def _smallest_p(table: Sequence[PaperRow], score: PaperScore) -> float:
    """Return the smallest possible p-value of a difference if runs are permuted; 0 if answers are."""
    base = next(
        (
            row.score.seeds
            for row in table
            if (row.score.model, row.score.benchmark, row.score.arm) == (score.model, score.benchmark, score.baseline)
        ),
        None,
    )
    if base is None or score.seeds is None or min(base, score.seeds) < 2:
        return 0.0
    return (2 if base == score.seeds else 1) / comb(base + score.seeds, base)


def _detectable(table: Sequence[PaperRow]) -> Iterator[str]:
    found = [row.score.smallest_detectable for row in table if row.score.smallest_detectable is not None]
    if found:
        yield f"Smallest true difference that is found with 80 % power: {_percent_range(found)} points."


def _responses(table: Sequence[PaperRow]) -> Iterator[str]:
    cut = [row.score.truncated_share for row in table if row.score.truncated_share is not None]
    empty = [row.score.no_answer_share for row in table if row.score.no_answer_share is not None]
    parts = [f"cut at the token limit {_percent_range(cut)} %"] if cut else []
    parts += [f"without an answer {_percent_range(empty)} %"] if empty else []
    if parts:
        yield f"Responses {', '.join(parts)}."


def _percent_range(shares: Sequence[float]) -> str:
    low, high = f"{100 * min(shares):.1f}", f"{100 * max(shares):.1f}"
    return low if low == high else f"{low} to {high}"
