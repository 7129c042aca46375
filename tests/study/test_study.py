"""A whole study through the command line: what it leaves, killed everywhere and resumed, refused, and blind to report
problems when it chooses."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sfpo_bench.reports.papers.score import AVERAGE, PaperCheckpoint, PaperScore, read_paper_scores
from tests.conftest import TINY, Cli
from tests.study.tiny_study import (
    AT_A_FILE,
    AT_A_JOINT,
    IN_THE_SCORES,
    NO_MODEL,
    NO_TRAINING,
    place,
    study,
)

PARTS = ("start", "tune", "compare", "choose", "evaluate", "score")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    done = study(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def rows(folder: Path) -> list[PaperScore]:
    return read_paper_scores(place(folder) / "scores.csv")


def test_it_leaves_scores_tables_figures_and_a_page(finished: Path) -> None:
    names = {path.name for path in place(finished).iterdir()}
    assert {"scores.csv", "report.md", "report.html", "figure.png", "paper.tex", "tuning.csv", "comparison"} <= names
    found = rows(finished)
    checkpoints = (PaperCheckpoint.last, PaperCheckpoint.best_on_select, PaperCheckpoint.equal_budget)
    assert [(one.arm, one.checkpoint) for one in found] == [
        ("before training", PaperCheckpoint.start),
        *[(arm, checkpoint) for checkpoint in checkpoints for arm in ("GRPO", "SFPO")],
    ]
    assert all(one.benchmark == "arithmetic" and one.samples == 2 and one.problems == 20 for one in found)
    assert [(one.steps, one.budget) for one in found if one.checkpoint is PaperCheckpoint.last] == [(4, 4), (4, 16)]
    equal = [(one.steps, one.budget) for one in found if one.checkpoint is PaperCheckpoint.equal_budget]
    assert equal == [(4, 4), (1, 4)]  # optimizer steps: a pass each step against four


def test_scores_are_the_means_of_the_samples_that_were_kept(finished: Path) -> None:
    for one in rows(finished):
        if one.checkpoint is not PaperCheckpoint.last:
            continue
        runs = (place(finished) / "comparison" / "runs" / one.arm.lower()).glob("seed-*")
        files = [next(run.glob("evaluations/step-000004/*/samples.parquet")) for run in sorted(runs)]
        frames = [pd.read_parquet(file, engine="pyarrow", use_threads=False) for file in files]
        assert [len(frame) for frame in frames] == [40, 40]
        assert one.avg_at_k == pytest.approx(pd.concat(frames).answer_class.eq(0).mean())


def test_again_every_part_is_kept_and_no_model_is_loaded(finished: Path) -> None:
    files = [path for path in place(finished).rglob("*") if path.suffix in (".parquet", ".safetensors", ".csv", ".md")]
    before = {path: path.stat().st_mtime_ns for path in files}
    done = study(finished, prelude=f"{NO_MODEL}\n{NO_TRAINING}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"[{n}/6] {part}: done before" for n, part in enumerate(PARTS, start=1)]
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_a_changed_setting_is_refused_with_the_difference_before_anything_is_done(finished: Path) -> None:
    done = study(finished, "learner.beta2=0.9", "study.evaluation.problems=10")
    assert done.returncode == 2 and "[1/6]" not in done.stderr
    assert "grpo.learner.beta2: 0.999 -> 0.9 (tune, compare)" in done.stderr
    assert "problems: 20 -> 10 (start, evaluate)" in done.stderr and "name=..." in done.stderr


def test_a_comparison_done_again_with_another_setting_is_refused_with_what_a_study_can_do(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "results", tmp_path / "results")
    done = study(tmp_path, "training.evaluate_every=2", "study.redo=compare", prelude=NO_TRAINING)
    assert done.returncode == 2 and "give this study another name" in done.stderr, done.stderr
    assert "new_on_change" not in done.stderr


def test_the_last_parts_are_done_again_when_asked_and_reuse_the_samples_there_are(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "results", tmp_path / "results")
    done = study(tmp_path, "study.evaluation.sampling.samples=3", "study.redo=evaluate", prelude=NO_TRAINING)
    assert done.returncode == 0, done.stderr
    assert "[3/6] compare: done before" in done.stderr and "40 of 60 samples are there" in done.stderr
    assert {one.samples for one in rows(tmp_path)} == {3}


def test_seeds_are_added_to_those_that_are_there(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "results", tmp_path / "results")
    trained = [path.stat().st_mtime_ns for path in sorted(place(tmp_path).rglob("seed-0001/journal.jsonl"))]
    refused = study(tmp_path, "comparison.seeds=3")
    assert refused.returncode == 2 and "study.redo=compare" in refused.stderr
    done = study(tmp_path, "comparison.seeds=3", "study.redo=compare")
    assert done.returncode == 0, done.stderr
    assert "[2/6] tune: done before" in done.stderr
    assert [path.stat().st_mtime_ns for path in sorted(place(tmp_path).rglob("seed-0001/journal.jsonl"))] == trained
    assert {one.seeds for one in rows(tmp_path) if one.checkpoint is not PaperCheckpoint.start} == {3}


def test_a_part_whose_result_is_gone_is_done_again_and_comes_out_the_same(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "results", tmp_path / "results")
    (place(tmp_path) / "scores.csv").unlink()
    for folder in (place(tmp_path) / "comparison" / "runs" / "grpo" / "seed-0001").glob("evaluations"):
        shutil.rmtree(folder)
    done = study(tmp_path, prelude=NO_TRAINING)
    assert done.returncode == 0, done.stderr
    assert "evaluate: again, because comparison/runs/grpo/seed-0001/evaluations" in done.stderr
    assert (place(tmp_path) / "scores.csv").read_bytes() == (place(finished) / "scores.csv").read_bytes()


def test_killed_inside_every_part_and_at_every_joint_it_ends_as_if_it_had_not_been(
    finished: Path, tmp_path: Path
) -> None:
    kills = [
        AT_A_FILE.format(pattern="evaluations/*/*/parts/*.parquet"),
        AT_A_JOINT.format(part="start", before=True),
        AT_A_JOINT.format(part="start", before=False),
        AT_A_FILE.format(pattern="sweeps/*-sfpo/trials/*/*/checkpoints/step-000002"),
        AT_A_JOINT.format(part="tune", before=True),
        AT_A_JOINT.format(part="tune", before=False),
        AT_A_FILE.format(pattern="comparison/runs/*/*/checkpoints/step-000002"),
        AT_A_JOINT.format(part="compare", before=True),
        AT_A_JOINT.format(part="compare", before=False),
        AT_A_JOINT.format(part="choose", before=True),
        AT_A_JOINT.format(part="choose", before=False),
        AT_A_FILE.format(pattern="comparison/runs/*/*/evaluations/*/*/parts/*.parquet"),
        AT_A_JOINT.format(part="evaluate", before=True),
        AT_A_JOINT.format(part="evaluate", before=False),
        IN_THE_SCORES,
        AT_A_JOINT.format(part="score", before=True),
        AT_A_JOINT.format(part="score", before=False),
    ]
    for kill in kills:
        killed = study(tmp_path, prelude=kill)
        assert killed.returncode == -signal.SIGKILL, kill + killed.stderr
    done = study(tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("scores.csv", "report.md", "paper.csv", "figure.png", "tuning.csv"):
        assert (place(tmp_path) / name).read_bytes() == (place(finished) / name).read_bytes(), name


def test_all_of_it_is_one_tree_in_the_tracking_store(tmp_path: Path, migrated_database: Path) -> None:
    (tmp_path / "results").mkdir()
    shutil.copy(migrated_database, tmp_path / "results" / "mlflow.db")
    done = study(tmp_path, "tracking=mlflow", "comparison.seeds=1")
    assert done.returncode == 0, done.stderr
    again = study(tmp_path, "tracking=mlflow", "comparison.seeds=1")
    assert again.returncode == 0 and "score: done before" in again.stderr
    with closing(sqlite3.connect(tmp_path / "results" / "mlflow.db")) as store:
        names = dict(store.execute("SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active'").fetchall())
        parents = dict(store.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall())
        states = {row[0] for row in store.execute("SELECT status FROM runs").fetchall()}
        keys = {row[0] for row in store.execute("SELECT key FROM latest_metrics").fetchall()}
    tree = {(name, names[parents[uid]] if uid in parents else "") for uid, name in names.items()}
    assert states == {"FINISHED"} and len(tree) == len(names)
    assert {
        ("tiny", ""),
        ("before training on embedded", "tiny"),
        ("comparison-tiny_sweep-grpo", "tiny"),
        ("trial-0001 seed-0100", "comparison-tiny_sweep-sfpo"),
        ("comparison", "tiny"),
        ("sfpo seed-0000", "comparison"),
        ("sfpo seed-0000 step 4 on embedded", "sfpo seed-0000"),
    } <= tree
    assert [name for name, parent in tree if not parent] == ["tiny"]
    assert "arithmetic/last/SFPO/avg_at_2" in keys


POISON = """
import sfpo_bench.problems.arithmetic as arithmetic
from dataclasses import replace
from sfpo_bench.core.types import Split
problems = arithmetic.Arithmetic.problems
def poisoned(self, split):
    found = problems(self, split)
    return [replace(one, answer="no such number") for one in found] if split is Split.report else found
arithmetic.Arithmetic.problems = poisoned
"""


def test_the_best_checkpoint_is_the_same_when_every_reported_answer_is_poisoned(cli: Cli, tmp_path: Path) -> None:
    """Report accuracy is 0 throughout the second run, and neither its path nor its choice knows."""
    states, accuracies = [], []
    for name, prelude in (("healthy", ""), ("poisoned", POISON)):
        cli("train", *TINY, "tracking=none", f"run_name={name}", "training.evaluate_every=1", prelude=prelude)
        run = tmp_path / "results" / "runs" / name
        last = json.loads((run / "checkpoints" / "step-000006" / "state.json").read_text())
        best = run / "checkpoints" / f"step-{last['best_step']:06d}" / "weights.safetensors"
        states.append((last["best_step"], last["best_accuracy"], best.read_bytes()))
        journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
        accuracies.append([one["accuracy"] for one in journal if one.get("split") == "report"])
    assert states[0] == states[1]
    assert max(accuracies[0]) > 0 and set(accuracies[1]) == {0.0}


def test_arms_that_are_the_same_differ_by_nothing(tmp_path: Path) -> None:
    twins = ("comparison.arms.sfpo.overrides=['algorithm=grpo','learner.learning_rate=4e-4']", "comparison.tune=''")
    done = study(tmp_path, *twins)
    assert done.returncode == 0, done.stderr
    compared = [one for one in rows(tmp_path) if one.difference is not None]
    assert len(compared) == 3 and AVERAGE not in {one.benchmark for one in compared}
    for one in compared:
        assert one.difference == 0 and one.p_value == 1 and one.p_holm == 1
        assert one.difference_low is not None and one.difference_high is not None
        assert one.difference_low < 0 < one.difference_high


def test_settings_under_which_a_part_could_not_work_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "reporting.yaml").write_text("sweep: {split: report, choose_on_report: true}\n")
    for more, message in (
        (("study.evaluation.suite=select",), "is a suite for choosing; expected one for reporting"),
        (("evaluation.select_responses=0",), "no checkpoint could be best on select problems"),
        (("training.keep_every=0",), "checkpoints of equal budget would not be kept"),
        (("comparison.arms.sfpo.label=GRPO",), "has the labels GRPO, GRPO; expected every one once"),
        (("tune=reporting.yaml",), "searches on the problems that are reported"),
        (("comparison.tune=nothing",), "neither a file nor a packaged sweep"),
    ):
        done = study(tmp_path, *more)
        assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not (tmp_path / "results").exists()


def test_a_study_whose_data_is_not_there_says_which_file_it_wants(cli: Cli, tmp_path: Path) -> None:
    done = cli("study", "smollm2_gsm8k", "model=embedded", f"data.dir={tmp_path}", check=False)
    assert done.returncode == 2
    assert f"found no gsm8k_train.jsonl in {tmp_path}" in done.stderr


def test_the_study_that_the_page_shows_is_one(cli: Cli, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    (tmp_path / "my_study.yaml").write_text(shown[1])
    composed = yaml.safe_load(cli("study", "my_study.yaml", "--cfg", "job").stdout)
    assert (composed["name"], composed["comparison"]["seeds"]) == ("my_study", 5)
    assert composed["study"]["budget_axis"] == "tokens" and set(composed["comparison"]["arms"]) >= {"grpo", "sfpo"}


def test_a_store_that_never_answers_is_spoken_of_once_in_all_of_it(tmp_path: Path) -> None:
    impatient = "from sfpo_bench.tracking import feed; feed._CLOSE_SECONDS = 3.0"
    done = study(
        tmp_path, "tracking=mlflow", "tracking.uri=http://127.0.0.1:9", "comparison.seeds=1", prelude=impatient
    )
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "127.0.0.1:9" in line]
    assert len(warnings) == 1 and warnings[0].startswith("warning: tracking store http://127.0.0.1:9 failed while")
    assert "nothing answers there" in warnings[0] and "sfpo-bench sync" in warnings[0]
