"""A finished run is found again by what it is, whatever it is called, and taken over whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.experiments.reuse import FinishedRuns, finished_runs
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus, TakenFrom
from sfpo_bench.settings.config import read
from sfpo_bench.settings.training import TrainingSettings
from sfpo_bench.training.run import is_finished, plain_node, prepare

STEPS = 4
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        yield


@pytest.fixture(scope="module")
def node() -> DictConfig:
    return compose("train", ["experiment=arithmetic", "algorithm=grpo", f"training.steps={STEPS}"])


@pytest.fixture
def made(tmp_path: Path, node: DictConfig) -> Path:
    """A comparison's folder with a run that says it is finished."""
    run = RunFolder(tmp_path / "made" / "runs" / "theirs" / "seed-0000")
    prepare(run, plain_node(node, {"seed": 0, "run_name": "theirs-seed0"}), "cpu")
    run.journal.write_text("what happened\n")
    checkpoint = run.checkpoints / f"step-{STEPS:06d}"
    checkpoint.mkdir(parents=True)
    for name in ("state.json", "weights.safetensors"):
        (checkpoint / name).write_text("{}")
    run.write_status(RunStatus(RunState.finished, STEPS, STEPS))
    run.uid()
    return tmp_path / "made"


def others(folder: Path) -> FinishedRuns:
    finished_runs.cache_clear()
    return finished_runs((str(folder),))


def wanted(folder: Path) -> RunFolder:
    return RunFolder(folder / "here" / "runs" / "ours" / "seed-0000")


def test_a_run_of_another_name_is_taken_with_a_note_of_where_from(made: Path, node: DictConfig, tmp_path: Path) -> None:
    run, names = wanted(tmp_path), {"seed": 0, "run_name": "ours-seed0", "name": "ours", "algorithm.name": "another"}
    assert others(made).take(run, plain_node(node, names))
    source = made / "runs" / "theirs" / "seed-0000"
    assert is_finished(run, TrainingSettings(steps=STEPS)) and run.taken_from() == TakenFrom(str(source))
    assert run.journal.read_bytes() == (source / "journal.jsonl").read_bytes()
    assert (run.checkpoints / f"step-{STEPS:06d}" / "weights.safetensors").is_file()
    assert read(run.config).run_name == "ours-seed0", "the configuration is that of the run here"
    assert run.uid() != RunFolder(source).uid(), "to a tracking store it is a run of its own"
    prepare(run, plain_node(node, names), "cpu")  # which refuses a folder that holds another run


@pytest.mark.parametrize(
    "change",
    [
        *({"seed": 1}, {"learner.learning_rate": 1e-3}, {"training.steps": 8}, {"evaluation.responses": 10}),
        {"training.stop_at.accuracy": 0.5},
    ],
)
def test_another_run_is_not_taken(change: dict[str, object], made: Path, node: DictConfig, tmp_path: Path) -> None:
    assert not others(made).take(wanted(tmp_path), plain_node(node, {"seed": 0, **change}))
    assert not wanted(tmp_path).path.exists()


def test_neither_is_one_of_other_code_nor_one_that_did_not_end_nor_one_without_weights(
    made: Path, node: DictConfig, tmp_path: Path
) -> None:
    run, source = wanted(tmp_path), RunFolder(made / "runs" / "theirs" / "seed-0000")
    asked, provenance = plain_node(node, {"seed": 0}), source.provenance.read_text()
    source.provenance.write_text(json.dumps({**json.loads(provenance), "code_version": "older"}))
    assert not others(made).take(run, asked)
    source.provenance.write_text(provenance)
    source.write_status(RunStatus(RunState.interrupted, STEPS, STEPS))
    assert not others(made).take(run, asked)
    source.write_status(RunStatus(RunState.finished, STEPS, STEPS))
    (source.checkpoints / f"step-{STEPS:06d}" / "weights.safetensors").unlink()
    assert not others(made).take(run, asked)
    assert others(made).take(run, asked, weights=False)


def test_a_run_that_has_begun_here_stays_and_one_that_was_only_prepared_is_replaced(
    made: Path, node: DictConfig, tmp_path: Path
) -> None:
    run, asked = wanted(tmp_path), plain_node(node, {"seed": 0})
    prepare(run, asked, "cpu")
    run.journal.write_text("begun here\n")
    assert not others(made).take(run, asked) and run.journal.read_text() == "begun here\n"
    run.journal.unlink()
    assert others(made).take(run, asked) and is_finished(run, TrainingSettings(steps=STEPS))


def test_what_a_kill_left_of_a_copy_is_no_run_and_is_made_anew(made: Path, node: DictConfig, tmp_path: Path) -> None:
    run, asked = wanted(tmp_path), plain_node(node, {"seed": 0})
    left = run.path.with_name(f".taking-{run.path.name}")
    shutil.copytree(made / "runs" / "theirs" / "seed-0000", left)
    (left / "journal.jsonl").write_text("ha")
    assert not run.path.exists() and not list(run.path.parent.glob("seed-*"))
    assert others(made).take(run, asked) and run.journal.read_text() == "what happened\n"
    assert not left.exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"comparison\.reuse lists .*nowhere, which is not a folder"):
        others(tmp_path / "nowhere")
