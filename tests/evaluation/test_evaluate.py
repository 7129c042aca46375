"""`sfpo-bench evaluate` and `scores` as a user runs them, with the embedded model on the shipped problems."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pandas as pd
import pytest

from sfpo_bench.evaluation.record import read_evaluation
from sfpo_bench.results.sample_store import GRADED_COLUMNS
from tests.conftest import TINY, Cli, command

SMALL = (
    *("model=embedded", "sampling.max_new_tokens=12", "sampling.samples=2", "problems=30", "device=cpu", "threads=1"),
    "rollout.batch_responses=8",
)
EVALUATE = ("evaluate", "suite=embedded", *SMALL)
NO_MODEL = "import sys; sys.modules['sfpo_bench.evaluation.model_engine'] = None  # whoever loads a model fails"


def only_folder(root: Path) -> Path:
    [file] = root.glob("results/evaluations/*/*/samples.parquet")
    return file.parent


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "samples.parquet", engine="pyarrow", use_threads=False)


@pytest.mark.slow
def test_an_evaluation_killed_and_started_again_is_the_uninterrupted_one(cli: Cli, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    subprocess.run(command([*EVALUATE, "tracking=none"]), cwd=whole, check=True, capture_output=True)
    for parts in (1, 4):
        process = subprocess.Popen(command([*EVALUATE, "tracking=none"]), cwd=killed, stderr=subprocess.PIPE)
        while len(list(killed.glob("results/evaluations/*/*/parts/*.parquet"))) < parts and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    there = {path: path.read_bytes() for path in killed.glob("results/evaluations/*/*/parts/*.parquet")}
    assert 4 <= len(there) < 8  # 60 samples are 8 parts
    done = subprocess.run(command([*EVALUATE, "tracking=none"]), cwd=killed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{8 * len(there)} of 60 samples are there" in done.stderr
    assert {path: path.read_bytes() for path in there} == there  # nothing was generated twice
    pd.testing.assert_frame_equal(table(only_folder(whole)), table(only_folder(killed)))
    assert (only_folder(whole) / "table.md").read_text() == (only_folder(killed) / "table.md").read_text()


def sides_agree(text: str) -> bool:
    """True where all sides of `text` that are sums, differences and products of numbers have one value."""
    sums = [side for side in text.split("=") if re.fullmatch(r"\d+([-+*]\d+)*", side.strip())]
    return len({eval(re.sub(r"\b0+(?=\d)", "", side)) for side in sums}) <= 1


@pytest.mark.slow
def test_scores_are_written_tracked_and_made_again_without_a_model(cli: Cli, tmp_path: Path) -> None:
    done = cli(*EVALUATE)
    folder = only_folder(tmp_path)
    assert "| arithmetic | 30 | 1 |" in (folder / "table.md").read_text().replace("\\", "")
    assert {"table.md", "table.tex", "scores.csv", "sampling.json", "journal.jsonl"} <= {
        p.name for p in folder.iterdir()
    }
    frame = table(folder)
    assert list(frame.columns) == list(GRADED_COLUMNS) and len(frame) == 60 and frame.seed.nunique() == 60
    # The task's own rule for the same texts: the part after the last `=`, in full. What stands before it must agree: of
    # `67+8=70` nobody can say which of two numbers is meant.
    own = (frame.text.str.rsplit("=", n=1).str[-1].str.strip() == frame.gold) & frame.text.map(sides_agree)
    assert own.tolist() == (frame.answer_class == 0).tolist() and 0 < own.sum() < 60
    # In the store: one run of its own with every score.
    with closing(connect(tmp_path / "results" / "mlflow.db")) as store:
        [(name, status)] = store.execute("SELECT name, status FROM runs").fetchall()
        keys = dict(store.execute("SELECT key, value FROM latest_metrics").fetchall())
    assert (name, status) == ("arithmetic_character_start on embedded", "FINISHED")
    assert keys["arithmetic/avg_at_2"] == pytest.approx(own.mean()) and keys["responses"] == 60
    # The same call again, and a grader that has changed, need no model.
    again = cli(*EVALUATE, prelude=NO_MODEL)
    assert "60 of 60 samples are there" in again.stderr and again.stdout == done.stdout
    changed = (
        f"{NO_MODEL}\nimport sfpo_bench.problems.graded_by_card as g\n"
        "import sfpo_bench.evaluation.grading as e\ne.grader_version = lambda card: 'new'"
    )
    cli(*EVALUATE, prelude=changed)
    assert set(table(folder).grader) == {"new"} and set(frame.grader) != {"new"}
    # Another prompt or temperature needs the model again.
    for change in ("prompt=boxed", "sampling.temperature=0.5"):
        refused = cli(*EVALUATE, change, "tracking=none", prelude=NO_MODEL, check=False)
        assert refused.returncode != 0 and re.search(r"\b0 of 60 samples are there", refused.stderr)


@pytest.mark.slow
def test_a_checkpoint_of_a_run_is_tracked_beneath_it_and_compared_with_another(cli: Cli, tmp_path: Path) -> None:
    arms = ("~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate", "comparison.targets=[]")
    cli("compare", *TINY, *arms, "comparison.seeds=2", "comparison.slots=2")
    runs = sorted((tmp_path / "results/arithmetic/runs").glob("*/seed-*"))
    assert len(runs) == 4
    cli("evaluate", "run=results/arithmetic", "suite=embedded", *SMALL[1:])
    single = cli("evaluate", f"run={runs[0].relative_to(tmp_path)}", "suite=embedded", *SMALL[1:], prelude=NO_MODEL)
    assert "60 of 60 samples are there" in single.stderr
    found = [read_evaluation(run / "evaluations" / "step-000006") for run in runs]
    assert [(one.owner.arm, one.owner.seed) for one in found] == [("grpo", 0), ("grpo", 1), ("sfpo", 0), ("sfpo", 1)]
    assert len({one.owner.model.sha256 for one in found}) == 4
    with closing(connect(tmp_path / "results" / "mlflow.db")) as store:
        parents = dict(
            store.execute(
                "SELECT runs.name, tags.value FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid "
                "WHERE tags.key = 'mlflow.parentRunId' AND runs.name LIKE '% on embedded'"
            ).fetchall()
        )
        names = dict(store.execute("SELECT run_uuid, name FROM runs").fetchall())
    assert {child: names[parent] for child, parent in parents.items()} == {
        f"{arm} seed-000{seed} step 6 on embedded": f"{arm} seed-000{seed}"
        for arm in ("grpo", "sfpo")
        for seed in (0, 1)
    }
    done = cli("scores", "folders=[results/arithmetic]")
    assert "Differences to grpo" in done.stdout and "runs permuted" in done.stdout
    scores = pd.read_csv(tmp_path / "results/scores/scores.csv")
    assert set(scores.runs) == {2} and set(scores.arm) == {"grpo", "sfpo"}
    text = (tmp_path / "results/scores/table.tex").read_text()
    page = (tmp_path / "results/scores/table.md").read_text()
    captions = re.findall(r"\\caption\{([^}]*)\}", text)
    tables = len(re.findall(r"^\| :---", page, re.MULTILINE))
    assert len(captions) == len(set(captions)) == tables == len(re.findall(r"\\begin\{table\*?\}", text))
    assert "Leaderboard" in captions and "Responses" in captions


@pytest.mark.slow
def test_choosing_on_a_suite_for_reporting_is_refused_and_marked_when_forced(cli: Cli, tmp_path: Path) -> None:
    both = ("suite=embedded", "suite=embedded_select")
    for label, temperature in (("warm", 1.0), ("hot", 1.5)):
        for suite in both:
            cli("evaluate", *SMALL, suite, f"label={label}", f"sampling.temperature={temperature}", "tracking=none")
    # The two suites of one model lie in one folder by now: what was asked last counts, so that each is named.
    folders = ",".join(
        str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("results/evaluations/*/*/samples.parquet")
    )
    scores = ("scores", f"folders=[{folders}]", "unlike=true")
    refused = cli(*scores, "choose_on=embedded", check=False)
    assert refused.returncode == 2 and "allow_report=embedded" in refused.stderr and "embedded_select" in refused.stderr
    assert "unlike" in cli("scores", f"folders=[{folders}]", check=False).stderr
    free = cli(*scores, "choose_on=embedded_select")
    # Of so few answers of the warm start neither may be right: which one is chosen is not what this test is about.
    chosen = (
        "chosen: (warm|hot)(, the first of 2 [^,]*)?, chosen by its scores on embedded_select, a suite for choosing"
    )
    assert re.search(chosen, free.stdout)
    assert "too high" not in free.stdout
    for label, temperature in (("warm", 1.0), ("hot", 1.5)):
        cli("evaluate", *SMALL, both[0], f"label={label}", f"sampling.temperature={temperature}", "tracking=none")
    forced = cli(*scores, "choose_on=embedded", "allow_report=embedded")
    assert "a suite for reporting" in forced.stdout and "too high" in (tmp_path / "results/scores/table.md").read_text()
    later = cli(*scores)
    assert "too high" in later.stdout
    [choice] = tmp_path.glob("results/evaluations/*/choice.json")
    assert json.loads(choice.read_text())["among"] in (["warm", "hot"], ["hot", "warm"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("suite=nonsense",), "'nonsense' is not a suite or a benchmark"),
        (("sampling.samples=0",), "sampling.samples = 0 is out of range"),
        (("sampling.top_p=0",), "sampling.top_p = 0 is out of range"),
        (("sampling.temperature=0",), "greedy decoding gives the same response every time"),
        (("prompt=loud",), "'loud' is not a prompt template"),
        (("run=nowhere",), "nowhere is not a run folder"),
        (("suite=paper", "data.dir=nowhere"), "no math500.jsonl in nowhere"),
        (("model=hf", "model.path=./nowhere"), "./nowhere does not exist"),
        (("sampling.tempratur=1",), "tempratur"),
        (("step=5",), "step=5 without run"),
        (("checkpoint=best",), "checkpoint=best without run"),
        (("model=hf",), "model=embedded"),
        (("first=3", "problems=3"), "choose problems in two ways"),
    ],
)
def test_wrong_settings_are_named_before_torch_is_loaded(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli(*EVALUATE, *arguments, "tracking=none", check=False, prelude="import sys; sys.modules['torch'] = None")
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_overlap_prints_counts_and_writes_pairs(cli: Cli, tmp_path: Path) -> None:
    done = cli("overlap", "benchmarks=[mixed,arithmetic]", "training=[mixed,arithmetic_select]", "out=pairs.json")
    assert "in none of the training sets: mixed, arithmetic" in done.stdout
    assert json.loads((tmp_path / "pairs.json").read_text()) == []
