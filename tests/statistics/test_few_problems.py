"""What few problems leave open."""

from __future__ import annotations

from sfpo_bench.statistics.few_problems import few_problems


def test_six_problems_may_be_off_by_forty_points_and_thirty_are_enough() -> None:
    warning = few_problems(6, "report")  # 1.96 * 0.5 / sqrt(6) = 0.40
    assert warning is not None and "6 report problems" in warning and "up to 40 points" in warning
    assert few_problems(29, "report") is not None and few_problems(30, "report") is None
