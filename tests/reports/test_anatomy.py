"""The anatomy of the updates: its numbers against hand-made runs, its figure's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sfpo_bench.core.types import StageStats
from sfpo_bench.reports.anatomy import (
    ANATOMY_COLUMNS,
    PANELS,
    anatomy_bytes,
    anatomy_figure,
    anatomy_frame,
    pass_number,
)
from sfpo_bench.reports.load import load_comparison
from sfpo_bench.results.run_folder import RunState
from tests.reports.comparison_folder import Folder, Run


def stage(name: str, clip: float, gradient: float = 1.0) -> StageStats:
    return StageStats(name, 0.1, clip, 1.0, 1.2, 0.01, gradient, 0.5, 1, 0, 0.1)


SECONDS = {"step_seconds": 1.0, "rollout_seconds": 0.25, "fast_seconds": 0.5, "slow_seconds": 0.125}
SFPO = Run(
    (0.1, 0.3, 0.5),
    metrics={"displacement": 2.0, "entropy": 0.5, "trigger_z": float("nan"), **SECONDS},
    stages=(stage("fast_1", 0.0, 1.0), stage("fast_2", 0.1, 2.0), stage("slow", 0.4, 6.0)),
    trigger_step=3,
)
GRPO = Run((0.1, 0.2, 0.3), metrics={"displacement": 1.0, "step_seconds": 0.5}, stages=(stage("pass_1", 0.2),))


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    second = replace(SFPO, metrics={**SFPO.metrics, "displacement": 4.0}, trigger_step=None)
    unfinished = replace(SFPO, metrics={"displacement": 99.0}, state=RunState.running)
    runs = {"sfpo": {0: SFPO, 1: second, 2: unfinished}, "grpo": {0: GRPO}, "absent": {}}
    folder = Folder(runs, seeds=(0, 1, 2), labels={"sfpo": "_$x$"}).write(tmp_path / "comparison")
    return anatomy_frame(load_comparison(folder))


def rows(frame: pd.DataFrame, arm: str, panel: str, part: str = "") -> pd.DataFrame:
    return frame[(frame["arm"] == arm) & (frame["panel"] == panel) & (frame["part"] == part)]


def test_columns_are_as_declared(frame: pd.DataFrame) -> None:
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == dict(ANATOMY_COLUMNS)


def test_a_mean_is_over_finished_seeds_at_each_step(frame: pd.DataFrame) -> None:
    found = rows(frame, "sfpo", "displacement")
    assert found["x"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found["mean"].tolist() == [3.0] * 4
    assert found["seeds"].tolist() == [2] * 4
    assert found["high"].iloc[0] == pytest.approx(3 + 12.7062047362)  # t(1) = 12.706, standard error 1
    assert found["low"].iloc[0] == 0.0  # no norm is negative


def test_one_seed_has_no_interval_and_an_arm_without_runs_no_rows(frame: pd.DataFrame) -> None:
    assert rows(frame, "grpo", "displacement")["low"].isna().all()
    assert frame[frame["arm"] == "absent"].empty


def test_gradient_norm_is_the_mean_over_a_steps_passes(frame: pd.DataFrame) -> None:
    assert rows(frame, "sfpo", "gradient_norm")["mean"].tolist() == [3.0] * 4


def test_clip_fraction_stands_by_pass_with_the_slow_one_last(frame: pd.DataFrame) -> None:
    found = rows(frame, "sfpo", "clip_fraction_by_pass")
    assert list(zip(found["x"], found["mean"].round(12), strict=True)) == [(1, 0.0), (2, 0.1), (3, 0.4)]
    assert rows(frame, "grpo", "clip_fraction_by_pass")["x"].tolist() == [1]
    assert [pass_number(name, 3) for name in ("fast_1", "fast_3", "slow", "pass_2")] == [1, 3, 4, 2]


def test_the_parts_of_a_steps_time_add_up_to_the_step(frame: pd.DataFrame) -> None:
    own = frame[(frame["arm"] == "sfpo") & (frame["panel"] == "seconds")].set_index("part")["mean"]
    assert own["other_seconds"] == pytest.approx(0.125)
    assert own.drop("step_seconds").sum() == pytest.approx(own["step_seconds"])


def test_a_fired_trigger_is_marked_at_its_run_and_step_and_nan_is_left_out(frame: pd.DataFrame) -> None:
    fired = frame[frame["panel"] == "trigger_fired"]
    assert fired[["arm", "part", "x", "mean"]].to_numpy().tolist() == [["sfpo", "0", 3.0, 0.5]]
    assert frame[frame["panel"] == "trigger_z"].empty


@pytest.mark.slow
def test_the_figure_names_arms_panels_and_what_was_not_recorded_and_reproduces_its_bytes(frame: pd.DataFrame) -> None:
    figure = anatomy_figure(frame, "a name of $5")
    assert [axes.get_title(loc="left") for axes in figure.axes][: len(PANELS)] == [panel.title for panel in PANELS]
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_$x$", "GRPO"]
    notes = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert notes.count("not recorded in these runs") == 3  # cosine, z, groups without signal
    files = anatomy_bytes(frame, "a name of $5")
    assert anatomy_bytes(frame.copy(), "a name of $5") == files
    assert files["png"].startswith(b"\x89PNG") and b"CreationDate" not in files["pdf"]
    assert b"<dc:date>" not in files["svg"]


def test_runs_without_a_step_leave_a_figure_that_says_so(tmp_path: Path) -> None:
    frame = anatomy_frame(load_comparison(Folder({"grpo": {}}).write(tmp_path)))
    assert frame.empty and anatomy_figure(frame, "nothing").axes
