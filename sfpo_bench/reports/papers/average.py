"""Recomputes averages for the benchmarks that a table shows.

An average weights all benchmarks equally, so a row that omits some benchmarks has a different average. Its value can be
computed from the row's scores. Its interval and test cannot, since they need the answers to each problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum

from sfpo_bench.reports.papers.score import AVERAGE, PaperScore

# Published averages are rounded to 0.01 %; those of this package have all digits.
_ROUNDING = 0.00005 + 1e-9
_OF_ANSWERS = (
    *("low", "high", "difference_low", "difference_high", "p_value", "p_holm"),
    *("smallest_detectable", "truncated_share", "no_answer_share"),
)

Row = tuple[str, str, str, str]
Groups = Mapping[Row, Sequence[PaperScore]]


def averages_of_shown(scores: Sequence[PaperScore]) -> list[PaperScore]:
    """Return the scores in order, with each average that differs from the mean of its row's scores recomputed.

    An average without other scores in its row is kept.
    """
    groups: dict[Row, list[PaperScore]] = {}
    for score in scores:
        if score.benchmark != AVERAGE:
            groups.setdefault(_row(score), []).append(score)
    return [_settled(score, groups) if score.benchmark == AVERAGE else score for score in scores]


def benchmarks_differ(scores: Sequence[PaperScore]) -> bool:
    """Return True if two rows with an average cover different benchmarks, so that their averages cannot be compared."""
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
    """Return True if the average is consistent with the benchmarks in `own`."""
    problems = _sum([one.problems for one in own])
    same_size = problems is None or average.problems is None or problems == average.problems
    return same_size and abs(fsum(one.avg_at_k for one in own) / len(own) - average.avg_at_k) <= _ROUNDING


def _without_difference(average: PaperScore) -> PaperScore:
    """Return the score without its comparison to a baseline that covers different benchmarks."""
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
