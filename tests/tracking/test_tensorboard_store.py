"""Event files hold what the journal tells, each point once, wherever a kill falls; read back by TensorBoard itself."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.core.errors import ConfigError, TrackingError
from sfpo_bench.core.tracking import TrackingSettings, TrackingStore
from sfpo_bench.core.types import JournalRecord
from sfpo_bench.importing.naming import Names
from sfpo_bench.importing.reader import Given
from sfpo_bench.importing.readers import recognised
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking.cursor import RunKey
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.store import MARKER
from sfpo_bench.tracking.stores import at_address, check_store, delivery_of
from tests.conftest import TINY, Cli
from tests.extras import needs
from tests.tracking.records import evaluation, run_folder, short_run, step_record, write
from tests.tracking.stored import Row, told_rows

KEY = RunKey("c1/sfpo/1", "sfpo seed 1", tags={"arm": "sfpo"}, params={"seed": 1, "lr": 0.1})
TENSORBOARD = TrackingSettings(TrackingStore.tensorboard, experiment="test")

KILLED_IN_STEP_5 = """
import os, signal
import sfpo_bench.training.learner as learner
inner, calls = learner.LocalLearner._optimizer_step, []
def counted(*arguments):
    calls.append(1)
    if len(calls) == 4 * 4 + 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(*arguments)
learner.LocalLearner._optimizer_step = counted
"""


@pytest.fixture(autouse=True)
def installed() -> None:
    needs("tensorboard")


def delivery(root: Path) -> Delivery:
    """A delivery as a new process makes it."""
    found = delivery_of(TENSORBOARD, root, {})
    assert found is not None
    return found


def whole(folder: RunFolder) -> int:
    return folder.journal.stat().st_size


def delivered(root: Path, folder: RunFolder, key: RunKey = KEY) -> None:
    one = delivery(root)
    one.open_run(folder, key)
    one.deliver(folder, whole(folder))
    one.finish(folder, RunState.finished)


def accumulated(folder: Path) -> Any:
    """All that TensorBoard's own reader keeps of a folder."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={}, tensor_size_guidance={"scalars": 0})
    found.Reload()
    return found


def rows(folder: Path) -> list[Row]:
    """Every point as TensorBoard reads it; the delivery's own marker is left out."""
    from tensorboard.util.tensor_util import make_ndarray

    found = accumulated(folder)
    return sorted(
        (tag, float(make_ndarray(event.tensor_proto).item()), round(event.wall_time * 1000), event.step)
        for tag in found.summary_metadata
        if found.summary_metadata[tag].plugin_data.plugin_name == "scalars" and tag != MARKER
        for event in found.Tensors(tag)
    )


def points_file(root: Path, experiment: str = "test") -> Path:
    [file] = (root / "tensorboard" / experiment).rglob("*tfevents*points")
    return file


def test_the_files_hold_exactly_what_the_journal_tells(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    delivered(tmp_path, folder)
    place = tmp_path / "tensorboard" / "test" / "sfpo-seed-1"
    assert rows(place) == told_rows(short_run())
    start, end = (
        accumulated(place).SummaryMetadata(f"_hparams_/session_{part}_info").plugin_data.content
        for part in ("start", "end")
    )
    from tensorboard.plugins.hparams import api_pb2, metadata

    assert metadata.parse_session_start_info_plugin_data(start).hparams["lr"].string_value == "0.1"
    assert metadata.parse_session_end_info_plugin_data(end).status == api_pb2.STATUS_SUCCESS
    text = accumulated(place).Tensors("about")[0].tensor_proto.string_val[0].decode()
    assert "| arm | sfpo |" in text and "| event.trigger_fired | 2 |" in text and "| status | FINISHED |" in text


def test_wherever_a_kill_cuts_the_file_nothing_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    records = short_run(3)
    folder = run_folder(tmp_path / "run", records)
    one = delivery(tmp_path)
    one.open_run(folder, KEY)
    one.deliver(folder, whole(folder) // 2)
    before, cursor = points_file(tmp_path).read_bytes(), folder.delivery.read_bytes()
    one.deliver(folder, whole(folder))
    after, later = points_file(tmp_path).read_bytes(), folder.delivery.read_bytes()
    assert after.startswith(before) and len(after) > len(before)
    lengths = [*range(len(before), len(after), 1999), len(before) + 1, len(after) - 1, len(after)]
    for length in lengths:
        for kept in (cursor, later):  # the cursor is written after the points, so both may be found
            points_file(tmp_path).write_bytes(after[:length])
            folder.delivery.write_bytes(kept)
            again = delivery(tmp_path)
            again.open_run(folder, KEY)
            again.deliver(folder, whole(folder))
            assert points_file(tmp_path).read_bytes() == after, "the points are a function of the journal alone"
    assert rows(points_file(tmp_path).parent) == told_rows(records)


def test_records_that_a_kill_left_without_their_count_are_gone_if_the_journal_lacks_them(tmp_path: Path) -> None:
    records = short_run(3)
    folder = run_folder(tmp_path / "run", records)
    delivered(tmp_path, folder)
    points_file(tmp_path).write_bytes(points_file(tmp_path).read_bytes()[:-1])
    folder.delivery.unlink()
    folder.journal.unlink()
    write(folder.journal, records[:2])
    delivered(tmp_path, folder)
    delivered(tmp_path / "fresh", run_folder(tmp_path / "fresh" / "run", records[:2]))
    assert points_file(tmp_path).read_bytes() == points_file(tmp_path / "fresh").read_bytes()


@pytest.mark.slow
def test_a_kill_at_any_write_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, 0
    while True:
        root = tmp_path / str(calls)
        folder = run_folder(root / "run", short_run(2))
        seen = 0

        def killed(source: str, target: str, stop: int = calls) -> None:
            nonlocal seen
            if seen == stop:
                raise KeyboardInterrupt
            seen += 1
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            try:
                delivered(root, folder)
                break
            except KeyboardInterrupt:
                calls += 1
        delivered(root, folder)
        assert rows(points_file(root).parent) == told_rows(short_run(2))
    assert calls >= 10


def test_a_journal_written_anew_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", [step_record(1), step_record(2)])
    delivered(tmp_path, folder)
    folder.journal.unlink()
    rewritten = [step_record(1), step_record(2, {"reward_mean": 0.9}), step_record(3)]
    write(folder.journal, rewritten)
    delivered(tmp_path, folder)
    assert rows(points_file(tmp_path).parent) == told_rows(rewritten)
    assert len(list((tmp_path / "tensorboard").rglob("retired-1.points"))) == 1


def test_runs_lie_below_their_comparison_and_are_imported_as_the_journals_tell(tmp_path: Path) -> None:
    arms: dict[str, list[JournalRecord]] = {"grpo": short_run(3), "sfpo": [evaluation(0), step_record(1, {"x": 1 / 3})]}
    above = RunFolder(tmp_path / "comparison")
    one = delivery(tmp_path)
    one.open_run(above, RunKey("c1", "my study"))
    for arm, records in arms.items():
        folder = run_folder(tmp_path / arm, records)
        delivered(tmp_path, folder, RunKey(f"c1/{arm}", f"{arm} seed-0001", parent_uid="c1"))
        delivered(tmp_path, folder, RunKey(f"c1/{arm}", f"{arm} seed-0001", parent_uid="c1"))
    read = recognised(tmp_path / "tensorboard" / "test" / "my-study").runs(
        Given(names=Names(run_name="{arm}-seed-{seed}"))
    )
    assert [(log.arm, log.seed) for log in read] == [(arm, 1) for arm in arms]
    for log, records in zip(read, arms.values(), strict=True):
        found = sorted((key, value, row.step) for row in log.rows for key, value in row.values.items() if key != MARKER)
        assert found == sorted((key, value, step) for key, value, _, step in told_rows(records))


def test_runs_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    for number in (1, 2):
        delivered(tmp_path, run_folder(tmp_path / str(number), [step_record(number)]), RunKey(f"u{number}", "same"))
    for place, number in (("same", 1), ("same-2", 2)):
        assert rows(tmp_path / "tensorboard" / "test" / place) == told_rows([step_record(number)])


def test_a_store_without_room_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path / "run")
    one = delivery(tmp_path)
    one.open_run(folder, KEY)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TrackingError, match="No space left on device; expected a folder with room"):
            one.deliver(folder, whole(folder))
    assert one.deliver(folder, whole(folder)) == len(short_run())
    assert rows(points_file(tmp_path).parent) == told_rows(short_run())


def test_what_the_store_does_not_read_and_a_missing_package_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri = 'http://x' with tracking\.store = tensorboard, which does"):
        check_store(TrackingSettings(TrackingStore.tensorboard, uri="http://x"), tmp_path)
    with pytest.raises(ConfigError, match=r"tracking\.folder = 'x' with tracking\.store = mlflow, which does not read"):
        check_store(TrackingSettings(folder="x"), tmp_path)
    check_store(TENSORBOARD, tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ConfigError, match=r"needs the package tensorboard, found none: `pip install '\.\[ten"):
        check_store(TENSORBOARD, tmp_path)


def test_an_address_names_its_store_again_and_a_moved_one_is_the_default(tmp_path: Path) -> None:
    address = f"tensorboard:{tmp_path / 'events'}"
    assert at_address(address) == TrackingSettings(TrackingStore.tensorboard)
    (tmp_path / "events").mkdir()
    assert at_address(address) == TrackingSettings(TrackingStore.tensorboard, folder=str(tmp_path / "events"))


@pytest.mark.slow
def test_a_run_killed_and_resumed_leaves_its_journal_in_the_files(tmp_path: Path, cli: Cli) -> None:
    train = ("train", "algorithm=sfpo", "tracking=tensorboard", *TINY)
    killed = cli(*train, check=False, prelude=KILLED_IN_STEP_5)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert len(rows(points_file(tmp_path / "results", "sfpo_bench").parent)) > 0
    cli(*train)
    folder = RunFolder(tmp_path / "results" / "runs" / "arithmetic-sfpo-seed0")
    assert rows(points_file(tmp_path / "results", "sfpo_bench").parent) == told_rows(read_journal(folder.journal))
    assert "1 runs: 0 records delivered, 1 runs were complete" in cli("sync").stdout
