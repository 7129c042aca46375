"""The public names of `sfpo_bench.reports` do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

import sfpo_bench.reports as reports
from sfpo_bench.reports import Comparison, load_comparison
from sfpo_bench.reports.tables import COST_COLUMNS, FINAL_COLUMNS
from tests.reports.comparison_folder import Folder, Run


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    slow, fast = Run((0.1, 0.3, 0.6), metrics={"entropy": 0.5}), Run((0.1, 0.5, 0.7), metrics={"entropy": 0.25})
    return load_comparison(Folder({"grpo": {0: slow, 1: slow}, "sfpo": {0: fast, 1: fast}}).write(tmp_path))


def test_metrics_frame_has_the_declared_columns_and_one_row_per_number(comparison: Comparison) -> None:
    frame = reports.metrics_frame(comparison)
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == dict(reports.METRIC_COLUMNS)
    assert frame.query("arm == 'sfpo' and seed == 1")[["step", "key", "value"]].to_numpy().tolist() == [
        [step, "entropy", 0.25] for step in (1, 2, 3, 4)
    ]


def test_metrics_frame_of_nothing_has_the_declared_columns_too(tmp_path: Path) -> None:
    frame = reports.metrics_frame(load_comparison(Folder({"grpo": {}}).write(tmp_path / "empty")))
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == dict(reports.METRIC_COLUMNS)


def test_compare_answers_against_the_baseline_asked_for(comparison: Comparison) -> None:
    given = reports.compare(comparison).absolute.ratio("sfpo", 0.5, "responses").point
    turned = reports.compare(comparison, "sfpo").absolute.ratio("grpo", 0.5, "responses").point
    assert given is not None and turned == pytest.approx(1 / given)


def test_tables_have_their_declared_columns(comparison: Comparison) -> None:
    summary = reports.compare(comparison)
    assert tuple(reports.table(summary)) == COST_COLUMNS
    assert tuple(reports.table(summary, "final")) == FINAL_COLUMNS
    with pytest.raises(ValueError, match="expected one of costs, final"):
        reports.table(summary, "prices")  # type: ignore[arg-type]  # no such table


def test_figures_are_matplotlibs(comparison: Comparison) -> None:
    assert len(reports.figure(comparison).axes) == 2
    assert len(reports.figure(comparison, "anatomy").axes) == 9
    with pytest.raises(ValueError, match="expected one of accuracy, anatomy"):
        reports.figure(comparison, "pie")  # type: ignore[arg-type]  # no such figure
