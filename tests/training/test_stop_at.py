"""Runs that end at an accuracy: where they end, that all agree they are whole, and that a kill changes nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.stop_at import EvaluationMode, StopAt
from sfpo_bench.core.types import Completion, EvaluationRecord, Grade, GradeStatus, Problem, Split
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.settings.comparison import ComparisonSettings
from sfpo_bench.settings.stop_checks import check_stop, check_stopped_comparison
from sfpo_bench.settings.training import EvaluationSettings, TrainingSettings
from sfpo_bench.training.checkpoint import CheckpointStore
from tests.campaigns.left_behind import without_seconds
from tests.conftest import TINY, command
from tests.in_process import sfpo_bench
from tests.training.test_kill_and_resume import _DIE


def evaluated(step: int, accuracy: float, split: Split = Split.select, mode: str = "sampled") -> EvaluationRecord:
    return EvaluationRecord(step, 0.0, Costs(), split, mode, 1.0, accuracy, 10, 10, {}, 0, 0.0)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_a_run_ends_at_the_first_step_whose_last_evaluations_are_all_high_enough(patience: int) -> None:
    random, ends = np.random.default_rng(patience), Counter[bool]()
    for _ in range(200):
        accuracies = (random.integers(0, 11, size=8) / 10).tolist()
        records = [evaluated(step, accuracy) for step, accuracy in enumerate(accuracies)]
        # What lies before training, on other problems or decoded otherwise counts for nothing, in any order.
        others = [evaluated(step, 1.0, split, mode) for step in range(8) for split, mode in OTHERS]
        windows = range(patience, 8)  # the last step of each; step 0 is in none
        expected = next((end for end in windows if min(accuracies[end - patience + 1 : end + 1]) >= 0.6), None)
        found = StopAt(0.6, patience=patience).reached_at([*others, *reversed(records)])
        assert found == expected
        ends[found is None] += 1
    assert len(ends) == 2
    assert StopAt(0.0).reached_at([evaluated(1, 1.0)]) is None


OTHERS = ((Split.report, "sampled"), (Split.select, "greedy"), (Split.report, "greedy"))


def test_a_late_first_evaluation_leaves_out_those_before_it_and_no_other() -> None:
    every, late = (TrainingSettings(steps=23, evaluate_every=5, first_evaluation=first) for first in (0, 12))
    assert [step for step in range(24) if every.evaluates_after(step)] == [0, 5, 10, 15, 20, 23]
    assert [step for step in range(24) if late.evaluates_after(step)] == [12, 15, 20, 23]


@pytest.mark.parametrize(
    ("stop", "found"),
    [
        (StopAt(0.5, split=Split.report), "allow_report=true"),
        (StopAt(0.5, split=Split.train), "expected select or report"),
        (StopAt(0.5, mode=EvaluationMode.greedy), "only report problems are decoded greedily"),
        (StopAt(0.5, Split.report, EvaluationMode.greedy, allow_report=True), "evaluation.greedy_problems above 0"),
        (StopAt(0.5), "evaluation.select_responses above 0"),
    ],
)
def test_a_target_that_no_run_may_see_is_refused(stop: StopAt, found: str) -> None:
    nothing = EvaluationSettings(select_responses=0, greedy_problems=0)
    with pytest.raises(ConfigError, match=found):
        check_stop(TrainingSettings(stop_at=stop), nothing)
    check_stop(TrainingSettings(stop_at=StopAt(0.0, split=stop.split, mode=stop.mode)), nothing)


def test_a_comparison_is_refused_whose_curves_are_not_those_that_end_its_runs() -> None:
    stopped = TrainingSettings(stop_at=StopAt(0.6))
    check_stopped_comparison(stopped, ComparisonSettings(split=Split.select, targets=[0.5, 0.6]))
    with pytest.raises(ConfigError, match=r"comparison.targets\[1\] = 0.7 is above training.stop_at.accuracy = 0.6"):
        check_stopped_comparison(stopped, ComparisonSettings(split=Split.select, targets=[0.5, 0.7]))
    with pytest.raises(ConfigError, match=r"comparison\.split=select"):
        check_stopped_comparison(stopped, ComparisonSettings(split=Split.report, targets=[0.5]))
    check_stopped_comparison(TrainingSettings(), ComparisonSettings(split=Split.report, targets=[0.7]))


# --- runs -------------------------------------------------------------------------------------------------------------

SELECT = {0: 4, 2: 3, 4: 1, 6: 3, 8: 3, 10: 1}  # right answers of 4, by step; 3 in a row twice at step 8 alone
graded: Counter[str] = Counter()


def as_told(problem: Problem, completion: Completion) -> Grade:
    """Right as often as `SELECT` says of the problem's evaluation; of others never."""
    split, _, place = problem.answer.partition(" ")
    graded[problem.answer] += 1
    right = split == "select" and int(place) < list(SELECT.values())[graded[problem.answer] - 1]
    return Grade(GradeStatus.correct if right else GradeStatus.wrong, 0.0, None)


def told_run(tmp_path: Path, *changes: str) -> tuple[str, RunFolder]:
    splits = {"train": (1, "path"), "select": (2, "select_path"), "report": (3, "report_path")}
    for split, (factor, key) in splits.items():
        rows = [{"problem": f"{factor}*{n}+2=", "answer": f"{split} {n}"} for n in range(4)]
        (tmp_path / f"{key}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = sfpo_bench(
        tmp_path,
        *("train", "tracking=none", "task=jsonl", "name=told", "training.evaluate_every=2"),
        *("task.chat=false", "task.prompt_template='{problem}'", f"task.grader={__name__}:as_told"),
        *(f"task.{key}={tmp_path / key}.jsonl" for _, key in splits.values()),
        *("rollout.prompts=1", "rollout.group=2", "rollout.max_new_tokens=2", "training.checkpoint_every=50"),
        *("evaluation.responses=4", "evaluation.select_responses=4", "evaluation.greedy_problems=0", *changes),
    )
    assert done.code == 0, done.out + done.err
    [run] = tmp_path.glob("results/runs/*")
    return done.out, RunFolder(run)


@pytest.mark.slow
def test_a_run_at_its_target_is_whole_whatever_its_steps_and_goes_on_without_one(tmp_path: Path) -> None:
    graded.clear()
    stop = ("training.stop_at.accuracy=0.75", "training.stop_at.patience=2")
    said, run = told_run(tmp_path, *stop, "training.steps=9")
    assert "finished at its target, step 8" in said
    assert run.status() == RunStatus(RunState.finished, 8, 9, at_target=True)
    newest = CheckpointStore(run.checkpoints).newest()
    assert newest is not None and newest.step == 8
    journal = run.journal.read_bytes()
    said, _ = told_run(tmp_path, *stop, "training.steps=10")
    assert "is finished already" in said and "at step 8: a larger training.steps changes nothing" in said
    assert run.journal.read_bytes() == journal
    assert "finished at its target, step 8 of 9" in sfpo_bench(tmp_path, "list").out
    said, _ = told_run(tmp_path, "training.steps=10")
    assert run.status() == RunStatus(RunState.finished, 10, 10)
    assert run.journal.read_bytes().startswith(journal), "it goes on from there"


STOPPING = ("training.stop_at.accuracy=0.05", "training.stop_at.patience=2", "training.first_evaluation=2")
TRAIN = ("train", "algorithm=sfpo", *TINY, "training.evaluate_every=1", "tracking=none", *STOPPING)
PLACES = {
    "the evaluation that ends it": "before(evaluation.Evaluator, '_evaluate', lambda n, s, e, step, c: step == {end})",
    "its last checkpoint": "before(checkpoint, '_sync_folder', lambda n, folder: '{end:06d}' in str(folder))",
    "the word that it ended": """
import sfpo_bench.training.logbook as logbook
before(logbook.FolderLogbook, 'status', lambda n, s, state, *a, **k: state == 'finished')""",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_ends_at_its_target_ends_the_same_killed_or_not(tmp_path: Path, place: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert sfpo_bench(whole, *TRAIN).code == 0
    end = run_of(whole).status().step
    assert run_of(whole).status() == RunStatus(RunState.finished, end, 6, at_target=True) and 2 < end < 6
    prelude = _DIE + PLACES[place].replace("{end}", str(end)).replace("{end:06d}", f"{end:06d}")
    done = subprocess.run(command(TRAIN, prelude), cwd=killed, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert run_of(killed).status().state is RunState.running
    assert sfpo_bench(killed, *TRAIN).code == 0
    assert run_of(killed).status() == run_of(whole).status()
    assert left_behind(killed, end) == left_behind(whole, end)


def run_of(folder: Path) -> RunFolder:
    [path] = folder.glob("results/runs/*")
    return RunFolder(path)


def left_behind(folder: Path, end: int) -> tuple[list[object], str, list[bytes]]:
    run = run_of(folder)
    weights = sorted((run.checkpoints / f"step-{end:06d}").glob("*.safetensors"))
    assert weights
    lines = run.journal.read_text().splitlines()
    numbers = [without_seconds(json.loads(line)) for line in lines]
    return numbers, run.samples.read_text(), [file.read_bytes() for file in weights]
