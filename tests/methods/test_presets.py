"""Every packaged preset trains, is the same after SIGKILL and on two ranks, and composes with SFPO or is refused."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.algorithms.update_rules import OnePass
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.config import from_node
from sfpo_bench.training.checkpoint import CheckpointStore
from tests.campaigns.left_behind import without_seconds
from tests.conftest import command
from tests.in_process import sfpo_bench
from tests.methods import ranks_worker
from tests.methods.members import PRESETS
from tests.methods.preset_runs import RUN_NAME, STEPS, composed, overrides_of
from tests.training.test_kill_and_resume import _DIE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUN = Path("results/runs") / RUN_NAME
# The newest checkpoint is of the step before; the batch of this one is collected.
KILLED = _DIE + f"before(learner.LocalLearner, 'begin_step', lambda n, s, step, *a, **k: step == {STEPS})"

RunOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """The folder in which an uninterrupted run of a preset was made."""

    @functools.cache
    def trained(preset: str) -> Path:
        folder = tmp_path_factory.mktemp(preset)
        done = sfpo_bench(folder, "train", *overrides_of(preset))
        assert done.code == 0, done.err
        return folder

    return trained


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RUN / "journal.jsonl").read_text().splitlines()]


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("preset", PRESETS)
def test_five_steps_have_finite_losses_and_leave_the_accuracy_at_least_where_it_was(preset: str, run_of: RunOf) -> None:
    """Not below the start's by more than three standard errors of the difference."""
    journal = records(run_of(preset))
    steps = [record for record in journal if record["kind"] == "step"]
    assert len(steps) == STEPS
    for step in steps:
        assert step["stages"] and all(math.isfinite(number) for number in numbers(step["stages"]))
    start, end = (record for record in journal if record["kind"] == "evaluation" and record["mode"] == "sampled")
    spread = sum(one["accuracy"] * (1 - one["accuracy"]) / one["n"] for one in (start, end)) ** 0.5
    assert start["accuracy"] > 0.02 and end["accuracy"] > start["accuracy"] - 3 * spread


def remembered(checkpoint: Path) -> bool:
    """True for a checkpoint of more than weights, their optimizer, and counts of the loop."""
    state = json.loads((checkpoint / "state.json").read_text())
    parts = {path.name.removesuffix(".safetensors") for path in checkpoint.iterdir()}
    return bool(state["rule"] or state["collector"] or parts - {"weights", "optimizer", "state.json"})


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_remembers_survives_a_kill(preset: str, run_of: RunOf, tmp_path: Path) -> None:
    whole = run_of(preset)
    last = RUN / "checkpoints" / f"step-{STEPS:06d}"
    if not remembered(whole / last):
        pytest.skip("it remembers nothing")
    killed = subprocess.run(
        command(("train", *overrides_of(preset)), KILLED), cwd=tmp_path, capture_output=True, text=True, timeout=250
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    resumed = sfpo_bench(tmp_path, "train", *overrides_of(preset))
    assert resumed.code == 0, resumed.err
    files = sorted(path.relative_to(whole / last) for path in (whole / last).rglob("*.safetensors"))
    assert files
    for name in files:
        found, expected = (
            hashlib.sha256((folder / last / name).read_bytes()).hexdigest() for folder in (tmp_path, whole)
        )
        assert found == expected, name
    assert [without_seconds(one) for one in records(tmp_path)] == [without_seconds(one) for one in records(whole)]


@pytest.mark.parametrize("preset", PRESETS)
def test_under_sfpo_a_preset_trains_or_is_refused_by_name(preset: str, tmp_path: Path) -> None:
    if type(from_node(composed(f"algorithm={preset}")).rule) is not OnePass:
        pytest.skip("it is about the update rule")
    under = ("algorithm/update_rule=slow_fast", "algorithm.update_rule.fast_passes=2", "training.steps=2")
    try:
        overrides = overrides_of(preset, *under, "evaluation.responses=8")
    except ConfigError as error:
        assert "algorithm." in str(error), "says which setting"
        return
    done = sfpo_bench(tmp_path, "train", *overrides)
    assert done.code == 0, done.err
    stages = [record["stages"] for record in records(tmp_path) if record["kind"] == "step"]
    assert [len(each) for each in stages] == [3, 3] and all(math.isfinite(n) for n in numbers(stages))


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of two ranks; the first one that fails ends them."""
    folder = tmp_path_factory.mktemp("by-two")
    arguments = [sys.executable, "-m", ranks_worker.__name__]
    ranks = [
        subprocess.Popen([*arguments, f"{rank}", "2", f"{folder}"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            rank.communicate(timeout=1_800)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return folder


@pytest.mark.timeout(2_000)  # the first one waits for the runs of all
@pytest.mark.parametrize("preset", PRESETS)
def test_two_ranks_learn_what_one_does(preset: str, by_two: Path, tmp_path: Path) -> None:
    failed = by_two / f"{preset}.error"
    assert not failed.exists(), failed.read_text()
    ranks_worker.alone(preset, tmp_path)
    found, expected = (
        CheckpointStore(folder / preset / "checkpoints").at(ranks_worker.STEPS) for folder in (by_two, tmp_path)
    )
    assert found is not None and expected is not None
    weights = found.weights()
    assert expected.weights().keys() == weights.keys()
    for name, weight in expected.weights().items():
        assert float((weights[name] - weight).abs().max()) < 1e-10, name
