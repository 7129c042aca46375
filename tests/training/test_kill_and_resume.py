"""A run killed anywhere and started again ends as if nothing had happened: same weights, same journal, same MLflow."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect

import pytest

from tests.campaigns.left_behind import timed, without_seconds
from tests.conftest import TINY, command
from tests.in_process import sfpo_bench

TRAIN = ("train", "algorithm=sfpo", "algorithm.update_rule.trigger.window=3", *TINY)

_DIE = """
import os, signal
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def before(owner, name, when):
    inner = getattr(owner, name)
    calls = []
    def wrapped(*args, **kwargs):
        calls.append(1)
        if when(len(calls), *args, **kwargs):
            die()
        return inner(*args, **kwargs)
    setattr(owner, name, wrapped)
import sfpo_bench.training.learner as learner, sfpo_bench.training.checkpoint as checkpoint
import sfpo_bench.training.evaluation as evaluation, sfpo_bench.training.master_weights as master_weights
import sfpo_bench.rollout.transformers_engine as engine, sfpo_bench.results.journal as journal
"""

# Each kills the process in the middle of step 5 (the newest regular checkpoint is of step 4) or at a checkpoint.
PLACES: Mapping[str, str] = {
    "rollout": "before(engine.TransformersEngine, 'generate', lambda n, s, r, p, noise: noise == type(noise)(0, 'rollout', 5))",
    "first_fast_pass": "before(learner.LocalLearner, '_optimizer_step', lambda n, s, m, t, stage: n == 4 * 4 + 1)",
    "second_fast_pass": "before(learner.LocalLearner, '_optimizer_step', lambda n, s, m, t, stage: n == 4 * 4 + 2)",
    "third_fast_pass": "before(learner.LocalLearner, '_optimizer_step', lambda n, s, m, t, stage: n == 4 * 4 + 3)",
    "inside_reposition": """
lerps = []
def lerp(*args, **kwargs):
    lerps.append(1)
    if len(lerps) == 4 * 25 + 7:
        die()
    return inner(*args, **kwargs)
inner, master_weights.torch.lerp = master_weights.torch.lerp, lerp""",
    "slow_pass": "before(learner.LocalLearner, '_optimizer_step', lambda n, s, m, t, stage: n == 4 * 4 + 4)",
    "evaluation": "before(evaluation.Evaluator, '_evaluate', lambda n, s, evaluated, step, costs: step == 3 and evaluated.mode == 'greedy')",
    "torn_journal_line": """
def append(self, records):
    data = b"".join(map(journal.encode, records))
    if b'"step": 5, "time' in data:
        self._handle.write(data[: len(data) // 2])
        self._handle.flush()
        die()
    self._handle.write(data)
    self._handle.flush()
journal.JournalWriter.append = append""",
    "first_checkpoint_write": "before(checkpoint, '_sync_folder', lambda n, folder: n == 1)",
    "later_checkpoint_write": """
import safetensors.torch
before(safetensors.torch, 'save_file', lambda n, tensors, path: 'partial-000004' in str(path) and 'optimizer' in str(path))""",
    "after_checkpoint_rename": "before(checkpoint.CheckpointStore, '_drop_old', lambda n, s, best: s.newest().step == 4)",
    "while_an_old_checkpoint_is_removed": "before(checkpoint.shutil, 'rmtree', lambda n, p, **k: 'step-000002' in str(p))",
}


@dataclass(frozen=True)
class Ended:
    """What a finished run left behind, without seconds and time stamps."""

    weights_sha256: str
    optimizer_sha256: str
    journal: list[object]
    samples: str
    mlflow: list[tuple[str, float | None, int]]


def ended(folder: Path) -> Ended:
    run = folder / "results" / "runs" / "arithmetic-sfpo-seed0"
    last = run / "checkpoints" / "step-000006"
    return Ended(
        weights_sha256=hashlib.sha256((last / "weights.safetensors").read_bytes()).hexdigest(),
        optimizer_sha256=hashlib.sha256((last / "optimizer.safetensors").read_bytes()).hexdigest(),
        journal=[without_seconds(json.loads(line)) for line in (run / "journal.jsonl").read_text().splitlines()],
        samples=(run / "samples.jsonl").read_text(),
        mlflow=stored(folder / "results" / "mlflow.db"),
    )


def stored(database: Path) -> list[tuple[str, float | None, int]]:
    """Every metric row of the only run in the store; of rows that measure time, that they are there."""
    with closing(connect(database)) as connection:
        [(run_id, status)] = connection.execute("SELECT run_uuid, status FROM runs").fetchall()
        found = connection.execute("SELECT key, value, step FROM metrics WHERE run_uuid = ?", (run_id,)).fetchall()
    assert status == "FINISHED"
    # The delivery's own marker says which requests were made, and its steps by seconds are seconds.
    kept = [row for row in found if not row[0].startswith(("journal_records", "accuracy_by_train_seconds"))]
    return sorted((key, None if timed(key.rpartition("/")[2]) else value, step) for key, value, step in kept)


def start(folder: Path, prelude: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(TRAIN, prelude), cwd=folder, capture_output=True, text=True, timeout=300)


def prepared(folder: Path, migrated_database: Path) -> Path:
    (folder / "results").mkdir(parents=True)
    shutil.copy(migrated_database, folder / "results" / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Ended:
    folder = prepared(tmp_path_factory.mktemp("uninterrupted"), migrated_database)
    done = start(folder)
    assert done.returncode == 0, done.stderr
    return ended(folder)


FAST = ("inside_reposition", "torn_journal_line")


@pytest.mark.parametrize("place", [pytest.param(p, marks=() if p in FAST else pytest.mark.slow) for p in PLACES])
def test_a_kill_changes_nothing(place: str, tmp_path: Path, migrated_database: Path, uninterrupted: Ended) -> None:
    folder = prepared(tmp_path / "killed", migrated_database)
    killed = start(folder, _DIE + PLACES[place])
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    resumed = start(folder)
    assert resumed.returncode == 0, resumed.stderr
    assert ended(folder) == uninterrupted


@pytest.mark.slow
def test_the_slow_weights_of_lookahead_survive_a_kill(tmp_path: Path) -> None:
    """Synchronised every third step; killed in step 5, taken up from step 4, whose slow weights are those of step 3."""
    lookahead = ("train", "algorithm=lookahead", "algorithm.update_rule.sync_every=3", "tracking=none", *TINY)
    hashes = []
    for prelude in ("", _DIE + PLACES["rollout"]):
        folder = tmp_path / ("killed" if prelude else "whole")
        folder.mkdir()
        run = folder / "results" / "runs" / "arithmetic-lookahead-seed0"
        if prelude:
            killed = subprocess.run(command(lookahead, prelude), cwd=folder, capture_output=True, text=True)
            assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
            assert (run / "checkpoints" / "step-000004" / "anchor.safetensors").is_file()
        done = subprocess.run(command(lookahead), cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        last = run / "checkpoints" / "step-000006"
        assert not (last / "anchor.safetensors").exists(), "synchronised at step 6"
        hashes.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(last.glob("*.safetensors"))])
    assert len(hashes[0]) == 2 and hashes[0] == hashes[1]


SECOND = "{first_step: 4, objective: {kind: clipped, ratio: {kind: sequence}, kl_coefficient: 0.1}"
SECOND += ", update_rule: {kind: gxpo, trigger: {kind: gradient_norm_average, threshold: 30.0}}}"


def test_phases_and_a_moving_reference_survive_a_kill(tmp_path: Path) -> None:
    """Killed in step 6, in the second phase, whose own rule and objective began with step 4; the reference moved at
    step 3, and moves again at step 6. The average of GXPO's trigger is in the checkpoint and in the journal."""
    phased = (
        *("train", "tracking=none", *TINY, "training.checkpoint_every=5", "algorithm.objective.kl_coefficient=0.01"),
        *("algorithm/reference=soft", "algorithm.reference.every_steps=3", "algorithm/phases=in_order"),
        f"algorithm.phases.named={{first: {{last_step: 3}}, second: {SECOND}}}",
    )
    found = []
    for prelude in ("", _DIE + PLACES["rollout"].replace("'rollout', 5", "'rollout', 6")):
        folder = tmp_path / ("killed" if prelude else "whole")
        folder.mkdir()
        run = folder / "results" / "runs" / "arithmetic-grpo-seed0"
        if prelude:
            killed = subprocess.run(command(phased, prelude), cwd=folder, capture_output=True, text=True)
            assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
            state = json.loads((run / "checkpoints" / "step-000005" / "state.json").read_text())
            assert state["rule"]["rule 1: seen"] == 2 and state["rule"]["rule 1: mean"] != 1
        done = sfpo_bench(folder, *phased)
        assert done.code == 0, done.err
        journal = [without_seconds(json.loads(line)) for line in (run / "journal.jsonl").read_text().splitlines()]
        parts = sorted((run / "checkpoints" / "step-000006").glob("*.safetensors"))
        assert [path.stem for path in parts] == ["optimizer", "reference", "weights"]
        found.append((journal, [hashlib.sha256(path.read_bytes()).hexdigest() for path in parts]))
    assert found[0] == found[1]


@pytest.mark.slow
def test_further_rounds_of_problems_and_dropped_rows_are_those_of_the_step_after_a_kill(tmp_path: Path) -> None:
    """Dynamic sampling and pruning draw from streams of the step: nothing but its number need be remembered."""
    method = ("train", "algorithm=dapo", "algorithm/selection=dppo_prune", "tracking=none", *TINY)
    found = []
    for prelude in ("", _DIE + PLACES["rollout"]):
        folder = tmp_path / ("killed" if prelude else "whole")
        folder.mkdir()
        run = folder / "results" / "runs" / "arithmetic-dapo-seed0"
        if prelude:
            killed = subprocess.run(command(method, prelude), cwd=folder, capture_output=True, text=True)
            assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        done = sfpo_bench(folder, *method)
        assert done.code == 0, done.err
        weights = (run / "checkpoints" / "step-000006" / "weights.safetensors").read_bytes()
        journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
        found.append((hashlib.sha256(weights).hexdigest(), without_seconds(journal)))
    assert found[0] == found[1]
    rounds = [record["metrics"]["sampling_rounds"] for record in journal if record["kind"] == "step"]
    assert max(rounds) > 1, "further rounds were taken"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run(tmp_path: Path, migrated_database: Path, uninterrupted: Ended) -> None:
    folder = prepared(tmp_path / "again", migrated_database)
    assert start(folder).returncode == 0
    assert ended(folder) == uninterrupted


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_the_first_signal_ends_after_a_step_and_a_checkpoint_and_says_how_to_resume(
    number: signal.Signals, tmp_path: Path, migrated_database: Path, uninterrupted: Ended
) -> None:
    folder = prepared(tmp_path / "stopped", migrated_database)
    kill = f"lambda n, *a: n == 3 and os.kill(os.getpid(), {number.value})"
    prelude = f"{_DIE}before(learner.LocalLearner, 'reposition', {kill})"
    stopped = start(folder, prelude)
    assert stopped.returncode == 130, stopped.stderr
    assert "stopped at step 3 of 6" in stopped.stderr and "Run the same command again to resume" in stopped.stderr
    run = folder / "results" / "runs" / "arithmetic-sfpo-seed0"
    assert (run / "checkpoints" / "step-000003").is_dir()
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    assert start(folder).returncode == 0
    assert ended(folder) == uninterrupted


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_the_last_checkpoint_holds(
    tmp_path: Path, migrated_database: Path, uninterrupted: Ended
) -> None:
    folder = prepared(tmp_path / "twice", migrated_database)
    sleepy = "before(learner.LocalLearner, 'reposition', lambda n, *a: n == 5 and (print('here', flush=True), __import__('time').sleep(60)))"
    with subprocess.Popen(command(TRAIN, _DIE + sleepy), cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "here":
            pass
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM
        assert time.monotonic() - started < 10
    assert start(folder).returncode == 0
    assert ended(folder) == uninterrupted


_LOSE = """
import sfpo_bench.rollout.transformers_engine as engine
from sfpo_bench.core.errors import EngineFailed
def before(owner, name, when):
    inner = getattr(owner, name)
    calls = []
    def wrapped(*args, **kwargs):
        calls.append(1)
        if when(len(calls), *args, **kwargs):
            raise EngineFailed("the engine is gone")
        return inner(*args, **kwargs)
    setattr(owner, name, wrapped)
"""

# Where the engine is lost, and the last step that is whole by then.
LOSSES: Mapping[str, tuple[int, str]] = {
    "rollout": (
        4,
        "before(engine.TransformersEngine, 'generate', lambda n, s, r, p, noise: noise == type(noise)(0, 'rollout', 5))",
    ),
    "evaluation": (
        3,
        "before(engine.TransformersEngine, 'generate', lambda n, s, r, p, noise: noise == type(noise)(0, 'evaluate/report/greedy', 3))",
    ),
    "push": (5, "before(engine.TransformersEngine, 'load', lambda n, *a: n == 5)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", LOSSES)
def test_an_engine_that_is_lost_costs_nothing(
    place: str, tmp_path: Path, migrated_database: Path, uninterrupted: Ended
) -> None:
    folder = prepared(tmp_path / "lost", migrated_database)
    whole, prelude = LOSSES[place]
    lost = start(folder, _LOSE + prelude)
    assert lost.returncode == 1 and "the engine is gone" in lost.stderr, lost.stderr
    run = folder / "results" / "runs" / "arithmetic-sfpo-seed0"
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["step"], status["cause"]) == ("failed", whole, "the engine is gone")
    assert (run / "checkpoints" / f"step-{whole:06d}").is_dir()
    resumed = start(folder)
    assert resumed.returncode == 0, resumed.stderr
    assert ended(folder) == uninterrupted
