"""The confidence interval of an accuracy of a single run."""

from __future__ import annotations

from sfpo_bench.reports.summary import IntervalKind
from sfpo_bench.statistics import Interval, wilson_interval


def one_run_interval(accuracy: float, n: int, problems: int) -> tuple[Interval, IntervalKind]:
    """Return Wilson's interval of an accuracy over `n` responses to `problems` problems, and what it covers.

    Responses to the same problem are correlated. If there are fewer problems than responses, the interval is that of
    `problems` independent trials, as if each problem were solved always or never. This is conservative: the interval
    is too wide for less correlated responses. Unknown problems (0) count as one per response. Without responses the
    interval is the point.
    """
    if n == 0:
        return Interval(accuracy, accuracy), IntervalKind.none
    fewer = 0 < problems < n
    size = problems if fewer else n
    interval = wilson_interval(accuracy * size, size).interval
    assert interval is not None
    return interval, IntervalKind.problems if fewer else IntervalKind.responses
