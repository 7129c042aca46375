"""A refused call changes nothing of what runs, and what would not count, or would mix, is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.settings.training import TrainingSettings
from sfpo_bench.training.inputs import with_inputs
from sfpo_bench.training.run import refuse_lost_checkpoints
from tests.conftest import TINY, Cli

FILES = ("comparison.json", "config.yaml", "inputs.json", "provenance.json", "sweep.json")


def contents(folder: Path) -> dict[str, bytes]:
    """What tells a run or comparison what it is."""
    return {str(path.relative_to(folder)): path.read_bytes() for name in FILES for path in folder.rglob(name)}


def test_a_run_that_is_in_use_keeps_its_settings_when_another_call_is_refused(cli: Cli, tmp_path: Path) -> None:
    small = ("train", *TINY, "training.steps=2", "tracking=none", "run_name=one")
    cli(*small)
    folder = tmp_path / "results" / "runs" / "one"
    before = contents(tmp_path)
    with RunFolder(folder).locked():
        refused = cli(*small, "training.steps=9", check=False)
    assert refused.returncode != 0 and "in use by another process" in refused.stderr
    assert contents(tmp_path) == before


def test_a_run_that_has_no_step_takes_the_mended_command(cli: Cli, tmp_path: Path) -> None:
    call = ("train", *TINY, "training.steps=1", "tracking=none", "run_name=one")
    folder = RunFolder(tmp_path / "results" / "runs" / "one")
    cli(*call, "learner.learning_rate=1e-3")
    for path in folder.checkpoints.glob("*"):
        shutil.rmtree(path)
    folder.checkpoints.rmdir()
    folder.write_status(RunStatus(RunState.failed, 0, 1, "no memory"))
    cli(*call, "learner.learning_rate=2e-4")
    assert folder.status().state is RunState.finished
    refused = cli(*call, "learner.learning_rate=3e-4", check=False)
    assert refused.returncode != 0 and "0.0002 -> 0.0003" in refused.stderr


def test_a_comparison_that_is_in_use_keeps_its_plan_when_another_call_is_refused(cli: Cli, tmp_path: Path) -> None:
    call = ("compare", *TINY, "tracking=none", "comparison.seeds=1", "comparison.slots=1", "training.steps=2")
    folder = tmp_path / "results" / "arithmetic"
    with RunFolder(folder).locked():
        refused = cli(*call, check=False)
    assert refused.returncode != 0 and "in use by another process" in refused.stderr
    assert contents(tmp_path) == {}, "nothing is written before the lock is held"


def test_an_edited_file_or_class_is_another_identity_and_a_path_is_the_same_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    problems, grader = tmp_path / "problems.jsonl", tmp_path / "own_grader_of_test.py"
    problems.write_text("a")
    grader.write_text("def grade(): pass\n")
    settings = {"task.path": "problems.jsonl", "task.grader": "own_grader_of_test:grade", "learner.rate": 0.1}
    first = with_inputs(settings)
    assert with_inputs({**settings, "task.path": str(problems)}) == first
    problems.write_text("b")
    second = with_inputs(settings)
    assert {key for key in first if first[key] != second[key]} == {"task.path (content)"}
    grader.write_text("def grade(): return 1\n")
    third = with_inputs(settings)
    assert {key for key in second if second[key] != third[key]} == {"task.grader (content)"}


def test_checkpoints_that_are_gone_are_said(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_status(RunStatus(RunState.interrupted, 20, 60))
    with pytest.raises(MissingDataError, match="had a checkpoint of step 20"):
        refuse_lost_checkpoints(folder, TrainingSettings(steps=60))
    folder.write_status(RunStatus(RunState.interrupted, 0, 60))
    refuse_lost_checkpoints(folder, TrainingSettings(steps=60))
    folder.write_status(RunStatus(RunState.finished, 60, 60))
    refuse_lost_checkpoints(folder, TrainingSettings(steps=60))  # it is looked at, and never trained on
    folder.checkpoints.mkdir()
    (folder.checkpoints / "step-000060").mkdir()  # its state is gone
    with pytest.raises(MissingDataError, match=r"no whole one now.*trained to step 90"):
        refuse_lost_checkpoints(folder, TrainingSettings(steps=90))


def test_a_killed_run_is_not_called_running(tmp_path: Path) -> None:
    from sfpo_bench.cli.list import describe

    folder = RunFolder(tmp_path)
    with folder.locked():
        folder.write_status(RunStatus(RunState.running, 20, 60))
        folder.journal.write_text("")
        assert describe(folder).startswith("running")
    assert describe(folder).startswith("killed")
