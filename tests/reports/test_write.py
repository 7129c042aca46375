"""The report of a folder, end to end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from sfpo_bench.core.errors import BenchError
from sfpo_bench.reports import ReportFiles, Summary, curves_frame, load_comparison, write_report
from sfpo_bench.reports.notebook import answer, compare
from sfpo_bench.results.run_folder import RunState
from tests.reports.comparison_folder import Folder, Run

SLOW, FAST = Run((0.1, 0.2, 0.3, 0.4, 0.6)), Run((0.1, 0.4, 0.6, 0.6, 0.6))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    running = dataclasses.replace(FAST, accuracies=(0.1, 0.4), state=RunState.running)
    return Folder({"grpo": {0: SLOW, 1: SLOW}, "sfpo": {0: FAST, 1: running}}).write(tmp_path / "comparison")


def contents(files: ReportFiles) -> dict[str, bytes]:
    return {name: getattr(files, name).read_bytes() for name in ReportFiles.__dataclass_fields__}


def test_a_report_lies_in_the_comparisons_folder_and_reproduces_its_bytes(folder: Path) -> None:
    files = write_report(folder)
    first = contents(files)
    assert all(first.values())
    assert files.summary == folder / "summary.json"
    assert contents(write_report(folder)) == first
    assert not list(folder.glob(".*"))  # no temporary file stays


def test_a_report_can_go_elsewhere_and_leaves_the_comparison_alone(folder: Path, tmp_path: Path) -> None:
    before = sorted(folder.rglob("*"))
    files = write_report(folder, tmp_path / "new" / "place")
    assert files.report.parent == tmp_path / "new" / "place"
    assert sorted(folder.rglob("*")) == before


def test_the_files_agree_with_each_other(folder: Path) -> None:
    files = write_report(folder)
    summary = Summary.from_json(files.summary.read_text(encoding="utf-8"))
    curves = pd.read_csv(files.curves)
    pd.testing.assert_frame_equal(curves, curves_frame(load_comparison(folder)), check_dtype=False)
    stored = [point.accuracy for arm in summary.arms for curve in arm.curves for point in curve.points]
    assert curves["accuracy"].tolist() == stored
    costs = pd.read_csv(files.costs).query("block == 'absolute' and arm == 'sfpo' and axis == 'responses'")
    assert costs["ratio"].item() == summary.absolute.ratio("sfpo", 0.5, "responses").point
    assert "![Accuracy against responses and training time](figure.png)" in files.report.read_text(encoding="utf-8")


def test_how_early_first_crossings_come_is_said_once_wherever_costs_are_printed(folder: Path) -> None:
    files, said = write_report(folder), "First crossings of noisy curves come early"
    for path in (files.report, files.page, files.latex, files.latex_tables, files.latex_tables_two_column):
        assert " ".join(path.read_text(encoding="utf-8").split()).count(said) == 1, path.name
    assert answer(compare(load_comparison(folder))).markdown.count(said) == 1
    shares = pd.read_csv(files.costs).set_index(["block", "axis", "arm", "target"])["crossing_share"].sort_index()
    known = shares.loc["absolute", "responses"].dropna()
    assert set(known.index) == {("grpo", 0.5), ("sfpo", 0.5)} and known.between(0.5, 1.1).all()
    assert f"GRPO {known['grpo', 0.5]:.2f}" in files.report.read_text(encoding="utf-8")
    assert shares.loc["absolute", "train_seconds"].isna().all()


def test_a_comparison_that_has_not_begun_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    folder = Folder({"grpo": {}, "sfpo": {}}).write(tmp_path)
    with pytest.raises(BenchError, match="let at least one run reach its first evaluation"):
        write_report(folder)
    assert [path.name for path in folder.iterdir()] == ["comparison.json"]


def test_only_a_start_is_enough_for_a_report(tmp_path: Path) -> None:
    start = Run((0.1,), state=RunState.running)
    files = write_report(Folder({"grpo": {0: start}, "sfpo": {}}).write(tmp_path))
    text = files.report.read_text(encoding="utf-8")
    assert "Cannot tell" in text and "**Not complete.**" in text
