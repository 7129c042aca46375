from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sfpo_bench.core.errors import BenchError, MissingDataError, TrackingError
from sfpo_bench.core.types import EventRecord
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.run_tables import write_curves_table
from sfpo_bench.tracking import delivery as delivery_module
from sfpo_bench.tracking.delivery import Delivery, RunKey
from sfpo_bench.tracking.mlflow_store import MlflowStore, hold, resolve_tracking_uri
from tests.tracking import stored
from tests.tracking.records import START_UNIX_S, evaluation, run_folder, short_run, step_record, write

NewDelivery = Callable[[], Delivery]
KEY = RunKey("c1/sfpo/1", "sfpo seed 1")


def whole(folder: RunFolder) -> int:
    return folder.journal.stat().st_size


# --- records ----------------------------------------------------------------------------------------------------------


def test_the_store_holds_exactly_what_the_journal_tells(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    assert delivery.deliver(folder, whole(folder)) == len(short_run())
    assert stored.rows(store_folder, run_id) == stored.told_rows(short_run())
    found = stored.tags(store_folder, run_id)
    assert found["event.trigger_fired"] == "2"
    assert found["sfpo_bench.non_finite_left_out"] == "2"
    assert found["sfpo_bench.run_uid"] == KEY.uid


def test_only_records_wholly_covered_are_delivered_and_the_rest_follows_once(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    records = short_run()
    folder = run_folder(tmp_path / "run", records)
    lengths = [len(content) for content in folder.journal.read_bytes().splitlines(keepends=True)]
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    assert delivery.deliver(folder, 0) == 0
    covered = 0
    for count, length in enumerate(lengths):
        assert delivery.deliver(folder, covered + length - 1) == 0, (
            "a record is not sent before its last byte is covered"
        )
        covered += length
        assert delivery.deliver(folder, covered) == 1
        assert stored.rows(store_folder, run_id) == stored.told_rows(records[: count + 1])


@pytest.mark.parametrize("cursor", ["lost", "damaged", "behind"])
def test_delivering_again_without_a_true_cursor_leaves_identical_history(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery, cursor: str
) -> None:
    folder = run_folder(tmp_path / "run")
    first = new_delivery()
    run_id = first.open_run(folder, KEY)
    first.deliver(folder, 2000)
    early = folder.delivery.read_bytes()
    first.deliver(folder, whole(folder))
    before = stored.rows(store_folder, run_id, marker=True)
    if cursor == "lost":
        folder.delivery.unlink()
    else:
        folder.delivery.write_bytes(b'{"key": ' if cursor == "damaged" else early)
    again = new_delivery()
    assert again.open_run(folder, KEY) == run_id
    assert again.deliver(folder, whole(folder)) == 0
    assert stored.rows(store_folder, run_id, marker=True) == before
    assert stored.active_runs(store_folder) == [run_id]


def test_points_sent_twice_are_stored_once(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that the store carried out but whose answer was lost is repeated by the HTTP layer below us."""
    log = MlflowStore.log

    def twice(self: MlflowStore, *arguments: object) -> None:
        log(self, *arguments)  # type: ignore[arg-type]  # those of `log`
        log(self, *arguments)  # type: ignore[arg-type]  # those of `log`

    monkeypatch.setattr(MlflowStore, "log", twice)
    folder = run_folder(tmp_path / "run")
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    delivery.deliver(folder, whole(folder))
    assert stored.rows(store_folder, run_id) == stored.told_rows(short_run())


class Killed(BaseException):
    """Stands for a kill: nothing in the package may catch it."""


@contextmanager
def killed_at(call: int, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> Iterator[None]:
    """Die before or after the `call`-th thing asked of the store."""
    seen = 0
    names = ("find", "create", "log", "set_tags", "log_params", "set_status", "upload")
    with monkeypatch.context() as patch:
        for name in names:
            original = getattr(MlflowStore, name)

            def counted(self: MlflowStore, *arguments: object, _original: Callable[..., object] = original) -> object:
                nonlocal seen
                seen += 1
                if seen == call and not after:
                    raise Killed
                answer = _original(self, *arguments)
                if seen == call:
                    raise Killed
                return answer

            patch.setattr(MlflowStore, name, counted)
        yield


def delivered_whole(folder: RunFolder, delivery: Delivery) -> str:
    key = RunKey("c1/sfpo/1", "name", params={"seed": 1, "lr": 0.1}, tags={"arm": "sfpo"})
    run_id = delivery.open_run(folder, key)
    delivery.deliver(folder, whole(folder))
    delivery.finish(folder, RunState.finished)
    return run_id


@pytest.mark.parametrize(
    "after", [pytest.param(False, marks=pytest.mark.slow, id="before"), pytest.param(True, id="after")]
)
def test_killed_at_any_request_nothing_is_missing_and_nothing_twice(
    tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr(MlflowStore, "points_per_request", 90)
    requests = 0
    while True:
        place = tmp_path / str(requests)
        place.mkdir()
        shutil.copy(migrated_database, place / "mlflow.db")
        folder = run_folder(place / "run", short_run(4))
        try:
            with killed_at(requests + 1, monkeypatch, after=after):
                delivered_whole(folder, Delivery("test", place, environ={}))
            break
        except Killed:
            requests += 1
        run_id = delivered_whole(folder, Delivery("test", place, environ={}))
        assert stored.active_runs(place) == [run_id]
        assert stored.rows(place, run_id) == stored.told_rows(short_run(4))
        assert stored.params(place, run_id) == {"seed": "1", "lr": "0.1"}
        assert stored.tags(place, run_id)["event.trigger_fired"] == "2"
        assert stored.status(place, run_id) == "FINISHED"
    assert requests >= 10


SLOW_DELIVERY = """
import sys, time
from pathlib import Path
from sfpo_bench.tracking import delivery as module
from sfpo_bench.tracking.mlflow_store import MlflowStore
from sfpo_bench.results.run_folder import RunFolder
MlflowStore.points_per_request = 60
folder = RunFolder(Path(sys.argv[1]))
delivery = module.Delivery("test", Path(sys.argv[2]), environ={})
delivery.open_run(folder, module.RunKey("c1/sfpo/1", "sfpo seed 1"))
delivery.deliver(folder, folder.journal.stat().st_size)
"""


def test_a_process_killed_while_delivering_is_continued_without_a_gap_or_a_repetition(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    records = [step_record(step) for step in range(1, 401)]
    folder = run_folder(tmp_path / "run", records)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_DELIVERY, str(folder.path), str(store_folder)], cwd=root
    ) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if folder.delivery.is_file() and json.loads(folder.delivery.read_text())["records"] >= 20:
                process.kill()
                break
            time.sleep(0.002)
        assert process.wait() == -9, "it was to be killed in the middle"
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    sent = delivery.deliver(folder, whole(folder))
    assert 0 < sent < 400
    assert stored.rows(store_folder, run_id) == stored.told_rows(records)
    assert stored.active_runs(store_folder) == [run_id]


def test_a_record_larger_than_a_request_arrives_whole(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    records = [step_record(1), step_record(2, {f"m{n}": float(n) for n in range(2500)}), step_record(3)]
    folder = run_folder(tmp_path / "run", records)
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    assert delivery.deliver(folder, whole(folder)) == 3
    assert stored.rows(store_folder, run_id) == stored.told_rows(records)


def test_a_journal_rewritten_from_an_earlier_point_gets_a_new_run_and_the_old_one_is_put_away(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run", [step_record(1), step_record(2)])
    delivery = new_delivery()
    old = delivery.open_run(folder, KEY)
    delivery.deliver(folder, whole(folder))
    folder.journal.unlink()
    rewritten = [step_record(1), step_record(2, {"reward_mean": 0.9}), step_record(3)]
    write(folder.journal, rewritten)
    assert delivery.deliver(folder, whole(folder)) == 3
    [new] = stored.active_runs(store_folder)
    assert new != old
    assert stored.rows(store_folder, new) == stored.told_rows(rewritten)


def test_a_journal_that_is_shorter_for_now_keeps_its_run(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    """A resume from an older checkpoint cuts the journal; whether the run still holds shows when it has grown again."""
    folder = run_folder(tmp_path / "run", [step_record(1), step_record(2)])
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    delivery.deliver(folder, whole(folder))
    complete = folder.journal.read_bytes()
    folder.journal.write_bytes(complete.splitlines(keepends=True)[0])
    for again in (delivery, new_delivery()):
        assert again.open_run(folder, KEY) == run_id
        assert again.deliver(folder, whole(folder)) == 0
    folder.journal.write_bytes(complete)
    write(folder.journal, [step_record(3)])
    assert new_delivery().deliver(folder, whole(folder)) == 1
    assert stored.active_runs(store_folder) == [run_id]


def test_another_store_gets_everything(tmp_path: Path, store_folder: Path, new_delivery: NewDelivery) -> None:
    folder = run_folder(tmp_path / "run")
    first = new_delivery()
    first.open_run(folder, KEY)
    first.deliver(folder, whole(folder))
    first.finish(folder, RunState.finished)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(store_folder.parents[0] / "store" / "mlflow.db", other / "mlflow.db")
    delivery = Delivery("another experiment", other, environ={})
    run_id = delivery.open_run(folder, KEY)
    assert delivery.deliver(folder, whole(folder)) == len(short_run())
    assert delivery.finish(folder, RunState.finished)
    assert stored.rows(other, run_id) == stored.told_rows(short_run())
    assert set(stored.artifacts(other, run_id)) == {"config.yaml", "provenance.json"}


def test_delivering_before_opening_says_what_to_call(tmp_path: Path, new_delivery: NewDelivery) -> None:
    with pytest.raises(TrackingError, match="open_run"):
        new_delivery().deliver(run_folder(tmp_path / "run"), 10)


def test_a_journal_of_another_version_is_a_tracking_error_that_names_the_line(
    tmp_path: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run", [])
    folder.journal.write_bytes(b'{"kind": "poem"}\n')
    with pytest.raises(TrackingError, match="line 1"):
        new_delivery().open_run(folder, KEY)


# --- runs, parents, parameters ----------------------------------------------------------------------------------------


def test_children_hang_below_their_comparison(tmp_path: Path, store_folder: Path, new_delivery: NewDelivery) -> None:
    delivery = new_delivery()
    parent = delivery.open_run(RunFolder(tmp_path / "c1"), RunKey("c1", "comparison"))
    child = delivery.open_run(
        run_folder(tmp_path / "c1" / "runs" / "sfpo"), RunKey("c1/sfpo", "sfpo", parent_uid="c1", tags={"arm": "sfpo"})
    )
    found = stored.tags(store_folder, child)
    assert found["mlflow.parentRunId"] == parent
    assert found["arm"] == "sfpo" and found["mlflow.runName"] == "sfpo"
    assert "mlflow.parentRunId" not in stored.tags(store_folder, parent)


def test_a_child_opened_before_its_parent_is_linked_when_it_is_opened_again(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder, key = run_folder(tmp_path / "run"), RunKey("c1/sfpo", "sfpo", parent_uid="c1")
    child = new_delivery().open_run(folder, key)
    assert "mlflow.parentRunId" not in stored.tags(store_folder, child)
    parent = new_delivery().open_run(RunFolder(tmp_path / "c1"), RunKey("c1", "comparison"))
    assert new_delivery().open_run(folder, key) == child
    assert stored.tags(store_folder, child)["mlflow.parentRunId"] == parent


def test_parameters_are_flat_have_names_mlflow_takes_and_fit(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    config = {
        "algorithm": {"name": "sfpo", "alpha": 0.8, "schedule": {}},
        "seeds": [1, 2],
        "x@[0]=": None,
        "x@(0)=": True,
        "long": "y" * 10_000,
        **{f"p{n}": n for n in range(250)},
    }
    run_id = new_delivery().open_run(run_folder(tmp_path / "run"), RunKey("u", "n", params=config))
    found = stored.params(store_folder, run_id)
    assert found["algorithm.name"] == "sfpo" and found["algorithm.alpha"] == "0.8"
    assert found["algorithm.schedule"] == "{}" and found["seeds"] == "[1, 2]"
    assert found["x__0__"] == "null" and found["x__0___2"] == "true"
    assert len(found["long"]) == 6000 and found["p249"] == "249"
    assert len(found) == 7 + 250


def test_a_parameter_changed_on_resume_keeps_its_first_value_and_gets_a_tag(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    new_delivery().open_run(folder, RunKey("u", "n", params={"steps": 10, "seed": 1}))
    run_id = new_delivery().open_run(folder, RunKey("u", "n", params={"steps": 20, "seed": 1, "added": 2}))
    assert stored.params(store_folder, run_id) == {"steps": "10", "seed": "1", "added": "2"}
    assert stored.tags(store_folder, run_id)["sfpo_bench.changed_param.steps"] == "20"


@pytest.mark.parametrize("uid", ["", "it's", "a`b", "x" * 251])
def test_a_uid_that_cannot_be_searched_for_is_refused(uid: str) -> None:
    with pytest.raises(BenchError, match="choose another"):
        RunKey(uid, "name")


def test_a_deleted_experiment_is_named_with_the_way_to_restore_it(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    new_delivery().open_run(folder, KEY)
    client = MlflowClient(tracking_uri=f"sqlite:///{store_folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("test")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackingError, match="restore"):
        new_delivery().open_run(folder, KEY)


# --- the end of a run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RunState.finished, "FINISHED"),
        (RunState.failed, "FAILED"),
        (RunState.interrupted, "KILLED"),
        (RunState.running, "RUNNING"),
    ],
)
def test_the_state_of_a_run_is_its_status_in_the_store(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery, state: RunState, expected: str
) -> None:
    folder = run_folder(tmp_path / "run")
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    delivery.deliver(folder, whole(folder))
    delivery.finish(folder, state, cause="loss is not finite")
    assert stored.status(store_folder, run_id) == expected
    found = stored.tags(store_folder, run_id)
    assert found["sfpo_bench.state"] == state.value and found["sfpo_bench.cause"] == "loss is not finite"


def test_a_run_spans_the_time_of_its_records_however_late_it_is_delivered(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    delivery = new_delivery()
    delivery.open_run(folder, KEY)
    delivery.deliver(folder, whole(folder))
    delivery.finish(folder, RunState.finished)
    [(start, end)] = stored.query(store_folder, "SELECT start_time, end_time FROM runs")
    assert start == round((START_UNIX_S + 1) * 1000) and end == round((START_UNIX_S + 61) * 1000)


def test_finishing_uploads_the_runs_files_and_the_extra_ones_in_their_place(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    write_curves_table(folder)
    figure, outside = folder.path / "figures" / "a.png", tmp_path / "table.md"
    figure.parent.mkdir()
    figure.write_bytes(b"\x89PNG\xff")
    outside.write_text("| a |\n")
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    assert delivery.finish(folder, RunState.finished, artifacts=[figure, outside])
    found = stored.artifacts(store_folder, run_id)
    assert found == {
        "config.yaml": folder.config.read_bytes(),
        "provenance.json": folder.provenance.read_bytes(),
        "curves.parquet": folder.curves.read_bytes(),
        "figures/a.png": figure.read_bytes(),
        "table.md": b"| a |\n",
    }


def test_finishing_twice_uploads_nothing_the_second_time_but_what_changed(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path / "run")
    run_id = new_delivery().open_run(folder, KEY)
    assert new_delivery().finish(folder, RunState.finished)
    assert not new_delivery().finish(folder, RunState.finished)
    folder.config.write_text("seed: 2\n")
    assert new_delivery().finish(folder, RunState.finished)
    assert stored.artifacts(store_folder, run_id)["config.yaml"] == b"seed: 2\n"


def test_an_absent_extra_file_is_refused_before_anything_is_sent(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    with pytest.raises(MissingDataError, match=r"absent\.png"):
        delivery.finish(folder, RunState.finished, artifacts=[tmp_path / "absent.png"])
    assert stored.status(store_folder, run_id) == "RUNNING"


def test_a_finished_run_that_is_extended_runs_again_and_finishes_again(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run", short_run(3))
    first = new_delivery()
    run_id = first.open_run(folder, KEY)
    first.deliver(folder, whole(folder))
    first.finish(folder, RunState.finished)
    folder.journal.unlink()
    write(folder.journal, short_run(6))
    second = new_delivery()
    assert second.open_run(folder, KEY) == run_id
    assert stored.status(store_folder, run_id) == "FINISHED"
    second.deliver(folder, whole(folder))
    assert stored.status(store_folder, run_id) == "RUNNING"
    second.finish(folder, RunState.finished)
    assert stored.status(store_folder, run_id) == "FINISHED"
    assert stored.rows(store_folder, run_id) == stored.told_rows(short_run(6))


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_planted_secret_is_in_any_parameter_tag_artifact_or_bookkeeping(tmp_path: Path, store_folder: Path) -> None:
    planted, shaped = "planted-environment-token", "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
    folder = run_folder(tmp_path / "run")
    folder.config.write_text(f"model: https://ann:S3CRETVALUE@host/m\nnote: {planted}\n")
    folder.provenance.write_text(json.dumps({"git": {"diff": f"+x = '{shaped}'\n+password = 'S3CRETVALUE'"}}))
    report = folder.path / "table.md"
    report.write_text(f"see {planted}")
    delivery = Delivery("test", store_folder, environ={"SOME_TOKEN": planted})
    key = RunKey(
        "c1/sfpo/1",
        f"sfpo {planted}",
        tags={"note": shaped, "api_key": "S3CRETVALUE"},
        params={
            "hub": {"token": "S3CRETVALUE", "url": "https://S3CRETVALUE@host"},
            "note": planted,
            "max_new_tokens": 12,
        },
    )
    run_id = delivery.open_run(folder, key)
    delivery.deliver(folder, whole(folder))
    delivery.finish(folder, RunState.failed, cause=f"401 for {shaped}", artifacts=[report])
    assert stored.params(store_folder, run_id)["max_new_tokens"] == "12"
    everything = [path for path in (*store_folder.rglob("*"), folder.delivery) if path.is_file()]
    assert {"mlflow.db", "config.yaml", "provenance.json", "table.md"} <= {path.name for path in everything}
    for path in everything:
        for secret in (planted, shaped, "S3CRETVALUE"):
            assert secret.encode() not in path.read_bytes(), path.name


# --- sync -------------------------------------------------------------------------------------------------------------


def comparison(root: Path) -> list[RunFolder]:
    folders = [run_folder(root / "c1" / "runs" / arm / "seed-0001", short_run(3)) for arm in ("grpo", "sfpo")]
    for folder in folders:
        folder.write_status(RunStatus(RunState.finished, 3, 3))
    (root / "c1" / "comparison.json").write_text("{}")
    return folders


def key_of(folder: RunFolder) -> RunKey | None:
    if (folder.path / "comparison.json").exists():
        return RunKey("c1", "comparison")
    return RunKey(f"c1/{folder.path.parent.name}", folder.path.parent.name, parent_uid="c1")


def test_sync_delivers_a_comparison_that_trained_without_a_store(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folders = comparison(tmp_path)
    found = new_delivery().sync(tmp_path, whole, key_of)
    assert (found.runs, found.records, found.already_complete) == (3, 2 * len(short_run(3)), 0)
    for folder in folders:
        run_id = json.loads(folder.delivery.read_text())["run_id"]
        assert stored.rows(store_folder, run_id) == stored.told_rows(short_run(3))
        assert stored.status(store_folder, run_id) == "FINISHED"
        assert "mlflow.parentRunId" in stored.tags(store_folder, run_id)
    again = new_delivery().sync(tmp_path, whole)
    assert (again.runs, again.records, again.already_complete) == (3, 0, 3)


def test_sync_takes_no_copy_of_a_store_for_a_run(tmp_path: Path, store_folder: Path, new_delivery: NewDelivery) -> None:
    comparison(tmp_path)
    copies = tmp_path / "mlruns" / "0" / ("0123456789abcdef" * 2) / "artifacts"
    shutil.copytree(tmp_path / "c1", copies)
    assert new_delivery().sync(tmp_path, whole, key_of).runs == 3
    assert len(stored.active_runs(store_folder)) == 3
    assert not list(copies.rglob("delivery.json"))


def test_sync_sends_no_more_than_a_checkpoint_covers(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run", [step_record(1), step_record(2)])
    first = len(folder.journal.read_bytes().splitlines(keepends=True)[0])
    found = new_delivery().sync(tmp_path, lambda _: first, lambda _: KEY)
    assert found.records == 1
    assert stored.rows(store_folder, stored.active_runs(store_folder)[0]) == stored.told_rows([step_record(1)])


def test_sync_leaves_folders_alone_that_nobody_has_a_key_for(tmp_path: Path, new_delivery: NewDelivery) -> None:
    folder = run_folder(tmp_path / "run")
    (tmp_path / "out" / ".hydra").mkdir(parents=True)
    (tmp_path / "out" / ".hydra" / "config.yaml").write_text("seed: 1\n")
    found = new_delivery().sync(tmp_path, whole)
    assert found.runs == 0 and found.unknown == (folder.path,)
    assert not folder.delivery.exists()


def test_sync_does_what_a_finish_could_not_and_keeps_the_extra_files(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = RunFolder(tmp_path / "c1")
    figure = parent.path / "figure.svg"
    parent.path.mkdir()
    figure.write_text("<svg/>")
    run_id = new_delivery().open_run(parent, RunKey("c1", "comparison"))

    def down(*_: object) -> None:
        raise TrackingError("down")

    with monkeypatch.context() as patch, pytest.raises(TrackingError):
        patch.setattr(MlflowStore, "upload", down)
        new_delivery().finish(parent, RunState.finished, artifacts=[figure])
    assert stored.status(store_folder, run_id) == "RUNNING"
    assert new_delivery().sync(tmp_path, whole).already_complete == 0
    assert stored.status(store_folder, run_id) == "FINISHED"
    assert stored.artifacts(store_folder, run_id) == {"figure.svg": b"<svg/>"}


def test_sync_refills_a_run_that_was_deleted_in_the_store(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    new_delivery().sync(tmp_path, whole, lambda _: KEY)
    [old] = stored.active_runs(store_folder)
    MlflowStore(f"sqlite:///{store_folder / 'mlflow.db'}", "test", {}).retire(old, "test")
    assert new_delivery().sync(tmp_path, whole).records == len(short_run())
    [new] = stored.active_runs(store_folder)
    assert stored.rows(store_folder, new) == stored.told_rows(short_run())
    assert folder.delivery.is_file()


# --- the store --------------------------------------------------------------------------------------------------------


def test_the_store_is_the_given_one_else_the_usual_variable_else_an_embedded_one(tmp_path: Path) -> None:
    usual = {"MLFLOW_TRACKING_URI": "http://usual"}
    assert resolve_tracking_uri("http://given", tmp_path, usual) == "http://given"
    assert resolve_tracking_uri(None, tmp_path, usual) == "http://usual"
    assert resolve_tracking_uri(None, tmp_path, {}) == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_store_that_cannot_be_reached_fails_soon_without_its_password_and_loses_nothing(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(tmp_path / "run")
    # Port 9 on the loopback interface: nothing listens there.
    down = Delivery("test", store_folder, tracking_uri="http://ann:S3CRETVALUE@127.0.0.1:9", environ={})
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"bring it back\. The journals on disk hold everything") as caught:
        down.open_run(folder, KEY)
    assert time.monotonic() - started < 20
    assert "S3CRET" not in str(caught.value) and caught.value.__cause__ is None
    assert "S3CRET" not in folder.delivery.read_text()
    assert new_delivery().sync(tmp_path, whole).records == len(short_run())


def test_a_file_that_is_no_database_fails_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("not a database" * 100)
    started = time.monotonic()
    with pytest.raises(TrackingError, match="not a database"):
        Delivery("test", tmp_path, environ={}).open_run(run_folder(tmp_path / "run"), KEY)
    assert time.monotonic() - started < 5


def test_a_store_that_comes_back_is_used_again_by_the_same_delivery(tmp_path: Path, store_folder: Path) -> None:
    folder = run_folder(tmp_path / "run")
    delivery = Delivery("test", store_folder, environ={})
    database = store_folder / "mlflow.db"
    content = database.read_bytes()
    database.write_text("not a database" * 100)
    with pytest.raises(TrackingError):
        delivery.open_run(folder, KEY)
    database.write_bytes(content)
    run_id = delivery.open_run(folder, KEY)
    delivery.deliver(folder, whole(folder))
    assert stored.rows(store_folder, run_id) == stored.told_rows(short_run())


def test_a_folder_held_by_another_delivery_is_waited_for_and_then_refused(
    tmp_path: Path, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path / "run")
    monkeypatch.setattr(delivery_module, "_LOCK_SECONDS", 0.2)
    with hold(folder.path / "delivery.lock", 1.0), pytest.raises(TrackingError, match="one process delivers"):
        new_delivery().open_run(folder, KEY)


def test_artifacts_of_an_embedded_store_lie_beside_it_wherever_the_process_stands(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = run_folder(tmp_path / "run")
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    delivery.finish(folder, RunState.finished)
    assert "config.yaml" in stored.artifacts(store_folder, run_id)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["50%", "what?"])
def test_a_folder_whose_name_a_database_address_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    folder = run_folder(tmp_path / "run")
    with pytest.raises(TrackingError, match="choose another"):
        Delivery("test", tmp_path / name, environ={}).open_run(folder, KEY)


CREATE = """
import sys
from pathlib import Path
from sfpo_bench.tracking.mlflow_store import MlflowStore
print(MlflowStore(f"sqlite:///{sys.argv[1]}/a b#c ü/mlflow.db", "test", {}).find("x"))
"""


@pytest.mark.slow
def test_processes_that_start_on_a_fresh_store_together_all_get_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CREATE, str(tmp_path)]
    root = Path(__file__).parents[2]
    starts = [
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in starts:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, "None\n", ""), "and without a word about migrations"
    assert sorted(path.name for path in (tmp_path / "a b#c ü").iterdir()) == [".mlflow.db.lock", "mlflow.db"]


def test_what_a_killed_creation_left_is_cleared_away(migrated_database: Path) -> None:
    assert sorted(path.name for path in migrated_database.parent.iterdir()) == [".mlflow.db.lock", "mlflow.db"]


def test_importing_the_delivery_imports_no_mlflow_and_using_it_sets_no_tracking_uri(tmp_path: Path) -> None:
    code = (
        "import sys, os\n"
        "from pathlib import Path\n"
        "from sfpo_bench.tracking.delivery import Delivery\n"
        "Delivery('test', Path(sys.argv[1]), environ={})\n"
        "assert not {'mlflow', 'pandas', 'pyarrow', 'torch', 'sqlalchemy'} & set(sys.modules)\n"
        "assert 'MLFLOW_TRACKING_URI' not in os.environ\n"
    )
    root = Path(__file__).parents[2]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, env=environ, check=True)


def test_an_infinite_accuracy_is_not_stored_as_a_large_number(
    tmp_path: Path, store_folder: Path, new_delivery: NewDelivery
) -> None:
    folder = run_folder(
        tmp_path / "run", [evaluation(0, accuracy=math.nan), EventRecord(0, 1.0, "odd", {"x": math.inf})]
    )
    delivery = new_delivery()
    run_id = delivery.open_run(folder, KEY)
    delivery.deliver(folder, whole(folder))
    keys = {row[0] for row in stored.rows(store_folder, run_id)}
    assert "report/sampled/accuracy" not in keys and "event.odd.x" not in keys
    assert "report/sampled/n" in keys and "event.odd" in keys
    assert stored.tags(store_folder, run_id)["sfpo_bench.non_finite_left_out"] == "4"
