"""Reading comparison folders: complete, partial, damaged and wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.reports import CURVE_COLUMNS, curves_frame, load_comparison
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.results.journal import JournalWriter
from sfpo_bench.results.run_folder import RunState
from tests.reports.comparison_folder import Folder, Run, evaluation

RUN = Run((0.1, 0.3, 0.7), trigger_step=3, greedy=0.8)


def journal(folder: Path, arm: str = "grpo", seed: int = 0) -> Path:
    return folder / "runs" / arm / f"seed-{seed:04d}" / "journal.jsonl"


def test_every_planned_run_is_there_in_display_order(tmp_path: Path) -> None:
    runs = {"sfpo": {1: replace(RUN, state=RunState.failed, cause="loss is not finite")}, "grpo": {0: RUN}}
    comparison = load_comparison(Folder(runs).write(tmp_path))
    found = [(run.arm, run.seed, run.status, run.cause) for run in comparison.runs]
    assert found == [
        ("sfpo", 0, SeedStatus.pending, ""),
        ("sfpo", 1, SeedStatus.failed, "loss is not finite"),
        ("grpo", 0, SeedStatus.finished, ""),
        ("grpo", 1, SeedStatus.pending, ""),
    ]


def test_a_curve_is_the_evaluations_of_the_plans_split_and_mode(tmp_path: Path) -> None:
    run = load_comparison(Folder({"grpo": {0: RUN}}).write(tmp_path)).runs[0]
    assert [(record.step, record.accuracy) for record in run.curve] == [(0, 0.1), (2, 0.3), (4, 0.7)]
    assert run.greedy is not None and run.greedy.accuracy == 0.8
    assert (run.trigger_step, run.device) == (3, "cpu")


def test_other_temperatures_are_no_part_of_the_curve(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: RUN}}).write(tmp_path)
    with JournalWriter(journal(folder)) as writer:
        writer.append([replace(evaluation(RUN, 4, 0.9), temperature=0.7)])
    assert load_comparison(folder).runs[0].curve[-1].accuracy == 0.7


def test_of_two_evaluations_at_a_step_the_last_written_counts(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: RUN}}).write(tmp_path)
    with JournalWriter(journal(folder)) as writer:
        writer.append([evaluation(RUN, 2, 0.35)])
    assert [record.accuracy for record in load_comparison(folder).runs[0].curve] == [0.1, 0.35, 0.7]


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: RUN}}).write(tmp_path)
    whole = load_comparison(folder)
    with open(journal(folder), "ab") as handle:
        handle.write(b'{"kind": "evaluation", "step": 6, "acc')
    assert load_comparison(folder) == whole


@pytest.mark.parametrize(
    "line", [b"not JSON\n", b'{"kind": "unheard"}\n', b'{"kind": "evaluation"}\n', b"[]\n", b"7\n"]
)
def test_a_damaged_journal_makes_its_run_unreadable_and_no_other(tmp_path: Path, line: bytes) -> None:
    folder = Folder({"grpo": {0: RUN, 1: RUN}}).write(tmp_path)
    content = journal(folder).read_bytes()
    journal(folder).write_bytes(line + content)
    damaged, whole = load_comparison(folder).runs
    assert (damaged.status, damaged.curve) == (SeedStatus.unreadable, ())
    assert damaged.cause and str(tmp_path) not in damaged.cause
    assert whole.status is SeedStatus.finished


def test_a_finished_run_without_its_last_evaluation_is_unreadable(tmp_path: Path) -> None:
    """A shorter curve would look like one that ended earlier."""
    folder = Folder({"grpo": {0: RUN}}).write(tmp_path)
    lines = journal(folder).read_text().splitlines(keepends=True)
    journal(folder).write_text("".join(line for line in lines if '"step":4' not in line.replace(" ", "")))
    run = load_comparison(folder).runs[0]
    assert run.status is SeedStatus.unreadable
    assert "finished at step 4, and the last evaluation in the journal is of step 2" in run.cause


def test_costs_that_fall_make_a_run_unreadable(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: RUN}}).write(tmp_path)
    with JournalWriter(journal(folder)) as writer:
        writer.append([evaluation(replace(RUN, step_seconds=0.01), 6, 0.8)])
    run = load_comparison(folder).runs[0]
    assert run.status is SeedStatus.unreadable
    assert "train_seconds falls between the evaluations at steps 4 and 6" in run.cause


def test_an_accuracy_outside_its_range_makes_a_run_unreadable(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: replace(RUN, accuracies=(0.1, 1.2))}}).write(tmp_path)
    assert "accuracy 1.2" in load_comparison(folder).runs[0].cause


def test_curves_frame_has_the_declared_columns_and_one_row_per_evaluation(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: RUN}, "sfpo": {1: Run((0.2, 0.4))}}).write(tmp_path)
    frame = curves_frame(load_comparison(folder))
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == dict(CURVE_COLUMNS)
    assert frame["arm"].tolist() == ["grpo"] * 3 + ["sfpo"] * 2
    assert frame.query("arm == 'sfpo'")[["seed", "step", "prompts", "responses", "tokens"]].to_numpy().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 2, 8, 64, 640],
    ]
    assert frame["train_seconds"].tolist() == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert frame["n"].tolist() == [100] * 5


def test_curves_frame_of_nothing_has_the_declared_columns_too(tmp_path: Path) -> None:
    frame = curves_frame(load_comparison(Folder({"grpo": {}}).write(tmp_path)))
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == dict(CURVE_COLUMNS)
    assert len(frame) == 0


def test_a_folder_that_is_no_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="found no comparison\\.json"):
        load_comparison(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"baseline": "absent"}, "expected one of its arms: grpo"),
        ({"seeds": "three"}, "expected a list"),
        ({"split": "test"}, "expected one of train, select, report"),
        ({"temperature": "hot"}, "expected float"),
        ({"steps": 1.5}, "expected int"),
        ({"arms": []}, "expected an object"),
        ({"arms": {"grpo": {}}}, "lacks label"),
    ],
)
def test_a_wrong_plan_is_refused_with_what_was_expected(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = Folder({"grpo": {0: RUN}})
    folder.write(tmp_path)
    (tmp_path / "comparison.json").write_text(json.dumps(folder.plan() | change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_comparison(tmp_path)


def test_a_plan_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"comparison\.json is damaged"):
        load_comparison(tmp_path)


def test_importing_reports_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "hydra", "mlflow", "matplotlib", "scipy.stats")
    script = f"import sys, sfpo_bench.reports; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
