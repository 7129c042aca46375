"""Runs packed into small files say what their folders say."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.types import FinishReason, GradeStatus, SampleRecord
from sfpo_bench.reports import compare, curves_frame, load_comparison, write_report
from sfpo_bench.reports.anatomy import anatomy_frame
from sfpo_bench.reports.packed_runs import CURVES, INDEX, pack_runs, read_packed, read_packed_samples
from sfpo_bench.results.journal import JournalWriter
from sfpo_bench.results.run_folder import RunState
from tests.reports.comparison_folder import Folder, Run

METRICS = {"entropy": 0.5123, "displacement": 1.5, "step_seconds": 0.25, "rollout_seconds": 0.1, "private": 3.0}
GRPO = Run((0.1, 0.2, 0.4), metrics=METRICS, greedy=0.5)
SFPO = Run((0.1, 0.5, 0.6), metrics=METRICS, trigger_step=2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    failed = Run((0.1, 0.3), state=RunState.failed, cause="out of memory")
    return Folder({"grpo": {0: GRPO, 1: GRPO}, "sfpo": {0: SFPO, 1: failed}}, seeds=(0, 1, 2)).write(tmp_path / "runs")


def packed(source: Path, out: Path) -> Path:
    places = sorted(path.relative_to(source).as_posix() for path in source.glob("runs/*/seed-*"))
    pack_runs(source, places, out, sampled=places[:1])
    (out / "comparison.json").write_text((source / "comparison.json").read_text(encoding="utf-8"), encoding="utf-8")
    return out


def test_every_number_of_the_report_is_the_same(source: Path, tmp_path: Path) -> None:
    whole, small = load_comparison(source), load_comparison(packed(source, tmp_path / "packed"))
    assert curves_frame(whole).equals(curves_frame(small))
    assert compare(whole) == compare(small)
    assert anatomy_frame(whole).equals(anatomy_frame(small))
    assert [(run.status, run.cause, run.step) for run in whole.runs] == [
        (r.status, r.cause, r.step) for r in small.runs
    ]


def test_only_numbers_that_figures_show_are_kept(source: Path, tmp_path: Path) -> None:
    run = load_comparison(packed(source, tmp_path / "packed")).runs[0]
    assert sorted(run.metrics) == ["displacement", "entropy", "rollout_seconds", "step_seconds"]


def test_numbers_of_training_steps_have_five_digits(tmp_path: Path) -> None:
    run = Run((0.1, 0.2), metrics={"entropy": 0.5123456})
    folder = Folder({"grpo": {0: run}}, seeds=(0,)).write(tmp_path / "runs")
    assert load_comparison(packed(folder, tmp_path / "packed")).runs[0].metrics["entropy"].values[0] == 0.51235


def test_equal_runs_give_equal_bytes(source: Path, tmp_path: Path) -> None:
    first, second = packed(source, tmp_path / "a"), packed(source, tmp_path / "b")
    for name in (INDEX, CURVES):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_packed_comparison_is_reported_without_links_to_runs(source: Path, tmp_path: Path) -> None:
    files = write_report(packed(source, tmp_path / "packed"), tmp_path / "out")
    assert "seed-0000" not in files.page.read_text(encoding="utf-8")


def test_responses_are_packed_of_the_first_and_the_last_stored_step(source: Path, tmp_path: Path) -> None:
    def sample(step: int) -> SampleRecord:
        return SampleRecord(step, "p", "1+1", "2", 0, "=2", 3, FinishReason.stopped, "2", GradeStatus.correct, 1.0, 0.5)

    with JournalWriter(source / "runs" / "grpo" / "seed-0000" / "samples.jsonl") as samples:
        samples.append([sample(step) for step in (1, 20, 40, 60, 80)])
    frame = read_packed_samples(packed(source, tmp_path / "packed"))
    assert frame["step"].tolist() == [1, 40, 80]
    assert set(frame["run"]) == {"runs/grpo/seed-0000"}


def test_what_is_missing_or_damaged_is_said(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="holds no packed runs"):
        read_packed(tmp_path)
    out = packed(source, tmp_path / "packed")
    with pytest.raises(MissingDataError, match="holds no packed responses"):
        read_packed_samples(out)
    (out / CURVES).write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ConfigError, match=r"packed-runs.parquet is damaged.*pack the runs again"):
        read_packed(out)
