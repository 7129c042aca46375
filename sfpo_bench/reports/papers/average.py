"""The average of the benchmarks that a table shows, where it was given that of others.

An average weighs every benchmark alike, so that rows which are kept without the others have another one. Its point is
theirs to compute; its interval and test are not, since they take the answers to each problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum

from sfpo_bench.reports.papers.score import AVERAGE, PaperScore

# Averages that were published are rounded to 0.01 %; of our own every digit is there.
_ROUNDING = 0.00005 + 1e-9
_OF_ANSWERS = (
    *("low", "high", "difference_low", "difference_high", "p_value", "p_holm"),
    *("smallest_detectable", "truncated_share", "no_answer_share"),
)

Row = tuple[str, str, str, str]
Groups = Mapping[Row, Sequence[PaperScore]]


def averages_of_shown(scores: Sequence[PaperScore]) -> list[PaperScore]:
    """The scores in their order; an average that is not that of the other scores of its row becomes it.

    One without other scores in its row stays as it is.
    """
    groups: dict[Row, list[PaperScore]] = {}
    for score in scores:
        if score.benchmark != AVERAGE:
            groups.setdefault(_row(score), []).append(score)
    return [_settled(score, groups) if score.benchmark == AVERAGE else score for score in scores]


def benchmarks_differ(scores: Sequence[PaperScore]) -> bool:
    """True when two rows of a table that have an average have other benchmarks: their averages are not comparable."""
    rows = {_row(score) for score in scores if score.benchmark == AVERAGE}
    covered = [
        frozenset(one.benchmark for one in scores if _row(one) == row and one.benchmark != AVERAGE) for row in rows
    ]
    return len(set(covered)) > 1


def _row(score: PaperScore, arm: str | None = None) -> Row:
    return (score.source, score.checkpoint.value, score.model, score.arm if arm is None else arm)


def _settled(average: PaperScore, groups: Groups) -> PaperScore:
    own = groups.get(_row(average), [])
    base = groups.get(_row(average, average.baseline), [])
    alike = {one.benchmark for one in own} == {one.benchmark for one in base}
    if not own:
        return average
    if _covers(average, own):
        return average if average.difference is None or alike or not base else _without_difference(average)
    difference = _mean([one.difference for one in own]) if average.difference is not None and alike else None
    return replace(
        average,
        avg_at_k=fsum(one.avg_at_k for one in own) / len(own),
        problems=_sum([one.problems for one in own]),
        difference=difference,
        **dict.fromkeys(_OF_ANSWERS),  # type: ignore[arg-type]  # all of them may be None
    )


def _covers(average: PaperScore, own: Sequence[PaperScore]) -> bool:
    """True when the average is that of the benchmarks in `own`, as far as the numbers tell."""
    problems = _sum([one.problems for one in own])
    same_size = problems is None or average.problems is None or problems == average.problems
    return same_size and abs(fsum(one.avg_at_k for one in own) / len(own) - average.avg_at_k) <= _ROUNDING


def _without_difference(average: PaperScore) -> PaperScore:
    """Without what compares it to a baseline of other benchmarks."""
    return replace(
        average,
        difference=None,
        difference_low=None,
        difference_high=None,
        p_value=None,
        p_holm=None,
        smallest_detectable=None,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) / len(values) if values and len(known) == len(values) else None


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
