"""W&B's offline files hold what the journal tells, one row for each record, wherever a kill falls; read by the import,
which reads what W&B's own package writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.tracking import TrackingSettings, TrackingStore
from sfpo_bench.core.types import JournalRecord
from sfpo_bench.importing.log import RunLog
from sfpo_bench.importing.naming import Names
from sfpo_bench.importing.reader import Given
from sfpo_bench.importing.readers import recognised
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking.cursor import RunKey
from sfpo_bench.tracking.points import BY_COST
from sfpo_bench.tracking.store import MARKER
from sfpo_bench.tracking.stores import check_store, delivery_of
from tests.conftest import TINY, Cli
from tests.extras import needs
from tests.tracking.records import run_folder, short_run, step_record, write
from tests.tracking.stored import told_rows
from tests.tracking.test_tensorboard_store import KILLED_IN_STEP_5

WANDB = TrackingSettings(TrackingStore.wandb, experiment="test")
KEY = RunKey("c1/sfpo/1", "sfpo seed 1", tags={"arm": "sfpo"}, params={"lr": 0.1})
Point = tuple[str, float, int]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    needs("wandb")


def logs(root: Path) -> list[RunLog]:
    return recognised(root / "wandb").runs(Given(names=Names(arm="lr", seed="tags.seed")))


def points(log: RunLog) -> list[Point]:
    """The points of a run, accuracies over cost at their cost."""
    found = []
    for row in log.rows:
        for key, value in row.values.items():
            if key in BY_COST:
                found.append((key, value, int(row.values[f"{key}_at"])))
            elif key not in (MARKER, "_timestamp", "_runtime", "_step") and key.removesuffix("_at") not in BY_COST:
                found.append((key, value, row.step))
    return sorted(found)


def told(records: Sequence[JournalRecord]) -> list[Point]:
    return sorted((key, value, step) for key, value, _, step in told_rows(records))


def deliver(root: Path, covered: float, *, dies: bool = False, seed: str = "1") -> None:
    """Deliver a share of the journal of `root/run` in a process of its own, which ends the run or dies."""
    subprocess.run(
        [sys.executable, "-c", DELIVER, str(root), str(covered), "dies" * dies, seed], check=not dies, timeout=200
    )


DELIVER = """
import os, signal, sys
from pathlib import Path
from sfpo_bench.core.tracking import TrackingSettings, TrackingStore
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking.cursor import RunKey
from sfpo_bench.tracking.stores import delivery_of
root, folder = Path(sys.argv[1]), RunFolder(Path(sys.argv[1]) / "run")
one = delivery_of(TrackingSettings(TrackingStore.wandb, experiment="test"), root)
key = RunKey("c1/sfpo/1", "sfpo seed 1", tags={"arm": "sfpo", "seed": sys.argv[4]}, params={"lr": 0.1})
one.open_run(folder, key)
one.deliver(folder, int(folder.journal.stat().st_size * float(sys.argv[2])))
if sys.argv[3]:
    os.kill(os.getpid(), signal.SIGKILL)
one.finish(folder, RunState.finished)
"""


@pytest.mark.slow
def test_a_run_that_a_kill_and_a_resume_made_is_one_file_with_every_record_once(tmp_path: Path) -> None:
    records = short_run()
    run_folder(tmp_path / "run", records)
    deliver(tmp_path, 0.4)
    half = points(logs(tmp_path)[0])
    assert half == told(records)[: len(half)] or 0 < len(half) < len(told(records))
    deliver(tmp_path, 0.7, dies=True)
    deliver(tmp_path, 1.0)
    [log] = logs(tmp_path)
    assert points(log) == told(records) and log.state is RunState.finished
    assert [row.values[MARKER] for row in log.rows] == list(range(1, len(records) + 1))
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
    deliver(tmp_path, 1.0)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.slow
def test_a_journal_written_anew_is_a_new_run_of_wandb(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", [step_record(1), step_record(2)])
    deliver(tmp_path, 1.0)
    folder.journal.unlink()
    rewritten = [step_record(1), step_record(2, {"reward_mean": 0.9}), step_record(3)]
    write(folder.journal, rewritten)
    deliver(tmp_path, 1.0)
    [kept] = (tmp_path / "wandb").glob("offline-run-*")
    [log] = recognised(kept).runs(Given(names=Names(arm="lr", seed="tags.seed")))
    assert points(log) == told(rewritten)
    [retired] = (tmp_path / "wandb").glob("retired-offline-run-*")
    assert kept.name.split("-")[3] != retired.name.split("-")[4], "an uploaded run keeps its id to itself"


@pytest.mark.slow
def test_a_training_run_killed_and_resumed_leaves_its_journal_in_the_files(tmp_path: Path, cli: Cli) -> None:
    train = ("train", "algorithm=sfpo", "tracking=wandb", *TINY)
    killed = cli(*train, check=False, prelude=KILLED_IN_STEP_5)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    cli(*train)
    folder = RunFolder(tmp_path / "results" / "runs" / "arithmetic-sfpo-seed0")
    [log] = recognised(tmp_path / "results" / "wandb").runs(Given(names=Names(arm="name", seed="seed")))
    assert points(log) == told(read_journal(folder.journal))
    assert "1 runs: 0 records delivered, 1 runs were complete" in cli("sync").stdout


def test_the_files_hold_exactly_what_the_journal_tells(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    one = delivery_of(WANDB, tmp_path, dict(os.environ))
    assert one is not None
    above = RunFolder(tmp_path / "comparison")
    one.open_run(above, RunKey("c1", "comparison"))
    one.open_run(folder, RunKey(KEY.uid, KEY.name, "c1", tags={"seed": "1"}, params=KEY.params))
    for share in (2, 1):
        one.deliver(folder, folder.journal.stat().st_size // share)
    one.finish(folder, RunState.finished)
    one.finish(above, RunState.finished)
    [log] = logs(tmp_path)
    assert b"comparison" in Path(log.source).read_bytes(), "the group of its children"
    assert (log.arm, log.seed, log.state) == ("0.1", 1, RunState.finished)
    assert points(log) == told(short_run())
    assert [row.values[MARKER] for row in log.rows] == list(range(1, len(short_run()) + 1))


def test_what_wandb_does_not_read_and_a_missing_package_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri = 'x' with tracking\.store = wandb, which does not read it"):
        check_store(TrackingSettings(TrackingStore.wandb, uri="x"), tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"tracking=wandb needs the package wandb, .*pip install '\.\[wandb\]'"):
        check_store(WANDB, tmp_path)
