"""Mean curves: exact where runs share their costs, interpolated where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.reports import load_comparison
from sfpo_bench.reports.mean_curve import mean_curve
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import ArmSummary, IntervalKind
from sfpo_bench.results.run_folder import RunState
from sfpo_bench.statistics import mean_interval, wilson_interval
from tests.reports.comparison_folder import Folder, Run

FIRST, SECOND = Run((0.1, 0.3, 0.5), step_seconds=0.5), Run((0.2, 0.3, 0.7), step_seconds=1.0)


def arm_of(path: Path, *runs: Run) -> ArmSummary:
    folder = Folder({"grpo": dict(enumerate(runs))}, seeds=range(len(runs)))
    return build_summary(load_comparison(folder.write(path))).arm("grpo")


def test_on_shared_costs_the_mean_is_exact(tmp_path: Path) -> None:
    curve = mean_curve(arm_of(tmp_path, FIRST, SECOND), "responses")
    assert curve is not None
    assert (curve.x, curve.seeds, curve.band) == ((0.0, 64.0, 128.0), 2, IntervalKind.seeds)
    assert curve.mean == pytest.approx((0.15, 0.3, 0.6))
    assert (curve.low[1], curve.high[1]) == (0.3, 0.3)  # both seeds agree there
    interval = mean_interval([0.5, 0.7]).interval
    assert interval is not None and interval.low < 0  # so the band is cut to what an accuracy can be
    assert (curve.low[2], curve.high[2]) == (0.0, 1.0)


def test_on_seconds_runs_are_interpolated_up_to_the_smallest_last_time(tmp_path: Path) -> None:
    curve = mean_curve(arm_of(tmp_path, FIRST, SECOND), "train_seconds")
    assert curve is not None
    assert (len(curve.x), curve.x[0], curve.x[-1]) == (101, 0.0, 2.0)  # the second run goes on to 4 s
    expected = (np.interp(curve.x, [0, 1, 2], FIRST.accuracies) + np.interp(curve.x, [0, 2, 4], SECOND.accuracies)) / 2
    assert curve.mean == pytest.approx(tuple(expected))


def test_one_run_has_the_band_of_its_responses(tmp_path: Path) -> None:
    curve = mean_curve(arm_of(tmp_path, FIRST), "train_seconds")
    interval = wilson_interval(50, 100).interval
    assert curve is not None and interval is not None
    assert (curve.band, curve.x, curve.mean) == (IntervalKind.responses, (0.0, 1.0, 2.0), (0.1, 0.3, 0.5))
    assert (curve.low[-1], curve.high[-1]) == (interval.low, interval.high)


def test_one_run_with_several_responses_to_a_problem_has_the_band_of_its_problems(tmp_path: Path) -> None:
    curve = mean_curve(arm_of(tmp_path, replace(FIRST, n=100, problems=20)), "train_seconds")
    interval = wilson_interval(10, 20).interval
    assert curve is not None and interval is not None and curve.band is IntervalKind.problems
    assert (curve.low[-1], curve.high[-1]) == (interval.low, interval.high)


def test_unfinished_runs_are_left_out_of_the_mean_once_one_has_finished(tmp_path: Path) -> None:
    short = replace(FIRST, accuracies=(0.9,), state=RunState.running)
    curve = mean_curve(arm_of(tmp_path / "one", FIRST, short), "responses")
    assert curve is not None and curve.mean == FIRST.accuracies
    running = replace(FIRST, state=RunState.running)
    curve = mean_curve(arm_of(tmp_path / "none", running, short), "responses")
    assert curve is not None and (curve.x, curve.mean) == ((0.0,), (0.5,))


def test_an_arm_without_runs_has_no_curve(tmp_path: Path) -> None:
    summary = build_summary(load_comparison(Folder({"grpo": {0: FIRST}, "sfpo": {}}).write(tmp_path)))
    assert mean_curve(summary.arm("sfpo"), "responses") is None
