"""The interval of an accuracy that rests on one run."""

from __future__ import annotations

from sfpo_bench.reports.summary import IntervalKind
from sfpo_bench.statistics import Interval, wilson_interval


def one_run_interval(accuracy: float, n: int, problems: int) -> tuple[Interval, IntervalKind]:
    """Wilson's interval of an accuracy over `n` responses to `problems` problems, and what it covers.

    Several responses to a problem are alike: where there are fewer problems than responses the interval is that of so
    many problems, each of them solved always or never. It holds however alike they are, and is too wide where they are
    less so. Problems that are not known (0) count as many as the responses; without responses there is no interval.
    """
    if n == 0:
        return Interval(accuracy, accuracy), IntervalKind.none
    fewer = 0 < problems < n
    size = problems if fewer else n
    interval = wilson_interval(accuracy * size, size).interval
    assert interval is not None
    return interval, IntervalKind.problems if fewer else IntervalKind.responses
