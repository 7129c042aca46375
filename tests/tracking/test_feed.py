"""The thread that delivers a comparison: one warning, never an error, a bounded end."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from sfpo_bench.core.errors import DeliveredElsewhere, TrackingError
from sfpo_bench.results.comparison import ComparisonFolder, ComparisonPlan
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking import feed as feed_module
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.feed import Feed
from sfpo_bench.tracking.mlflow_store import MlflowStore
from sfpo_bench.tracking.store_warnings import StoreWarnings
from tests.reports.comparison_folder import Folder
from tests.tracking import stored


@pytest.fixture
def comparison(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "results" / "arithmetic")
    folder.path.mkdir(parents=True)
    plan = ComparisonPlan.from_plain(Folder({"grpo": {}}).plan(), "the test's plan")
    ComparisonFolder(folder.path).write_plan(plan)
    (folder.path / "figure.png").write_bytes(b"figure")
    return folder


def feed(comparison: RunFolder, uri: str, warnings: list[str]) -> Feed:
    delivery = Delivery("test", comparison.path.parent, tracking_uri=uri, environ={})
    return Feed(delivery, comparison, [], lambda run: 0, StoreWarnings(warnings.append))


def test_a_store_that_is_always_down_costs_one_warning_and_the_end_is_written_down_for_sync(
    comparison: RunFolder, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_BACK_OFF_SECONDS", 0.01)
    warnings: list[str] = []
    thread = feed(comparison, f"sqlite:///{store_folder}/mlflow.db", warnings)
    tries = []

    def down(self: MlflowStore, uid: str) -> None:
        tries.append(uid)
        raise TrackingError("tracking store is down")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowStore, "find", down)
        thread.start()
        while len(tries) < 3:
            time.sleep(0.01)
        thread.close(RunState.finished, [comparison.path / "figure.png"])
    assert warnings == [
        "warning: tracking store is down. Work continues without it; `sfpo-bench sync` delivers what is missing"
    ]
    delivery = Delivery("test", comparison.path.parent, tracking_uri=f"sqlite:///{store_folder}/mlflow.db", environ={})
    assert delivery.sync(comparison.path.parent, lambda run: 0).runs == 1
    [run_id] = stored.active_runs(store_folder)
    assert stored.status(store_folder, run_id) == "FINISHED"
    assert "figure.png" in stored.artifacts(store_folder, run_id)


def test_the_wait_for_a_slow_store_ends(
    comparison: RunFolder, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_CLOSE_SECONDS", 0.3)
    find = MlflowStore.find

    def slow(self: MlflowStore, uid: str) -> object:
        time.sleep(1.0)
        return find(self, uid)

    monkeypatch.setattr(MlflowStore, "find", slow)
    warnings: list[str] = []
    thread = feed(comparison, f"sqlite:///{store_folder}/mlflow.db", warnings)
    thread.start()
    thread.close(RunState.finished, [])
    assert len(warnings) == 1 and "it is too slow to take everything within 0.3 s" in warnings[0]
    assert json.loads(comparison.delivery.read_text())["ending"]["state"] == "finished"


def test_another_process_that_delivers_is_waited_for_in_silence_and_named_at_the_end_only(
    comparison: RunFolder, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def busy(folder: RunFolder) -> None:
        tries.append(time.monotonic())
        raise DeliveredElsewhere("held")

    monkeypatch.setattr(feed_module, "key_of", busy)
    monkeypatch.setattr(feed_module, "_PAUSE_SECONDS", 0.01)
    warnings: list[str] = []
    thread = feed(comparison, f"sqlite:///{store_folder}/mlflow.db", warnings)
    thread.start()
    while len(tries) < 3:
        time.sleep(0.01)
    assert warnings == []
    thread.close(RunState.finished, [])
    assert len(warnings) == 1 and warnings[0].startswith("warning: held. ")


def test_an_output_folder_that_cannot_be_written_is_a_warning_too(
    comparison: RunFolder, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: RunFolder) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(feed_module, "key_of", refused)
    warnings: list[str] = []
    thread = feed(comparison, f"sqlite:///{store_folder}/mlflow.db", warnings)
    thread.start()
    thread.close(RunState.finished, [])
    assert len(warnings) == 1 and warnings[0].startswith("warning: read-only. ")


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="this system has no priorities")
@pytest.mark.parametrize(("started_at", "becomes"), [(0, 10), (19, 19)])
def test_priority_is_lowered_and_never_raised(started_at: int, becomes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "getpriority", lambda which, who: started_at)
    monkeypatch.setattr(os, "setpriority", lambda *arguments: asked.append(arguments))
    feed_module._low_priority()
    assert asked == [(os.PRIO_PROCESS, threading.get_native_id(), becomes)]


def test_the_parts_of_a_command_speak_of_a_store_once_and_in_plain_words() -> None:
    said: list[str] = []
    warnings = StoreWarnings(said.append)
    assert not warnings.tracking_failed
    for _ in range(2):
        warnings.tracking(TrackingError("tracking store is down"))
        broken = RuntimeError("An exception is raised during the commit. This typically happens due to …")
        broken.__cause__ = RuntimeError(
            "(psycopg.OperationalError) connection failed: Connection refused\n  Is it there?"
        )
        warnings.sweep(broken)
    assert warnings.tracking_failed and len(said) == 2
    assert said[1] == (
        "warning: the store of the sweep does not answer: nothing answers there (connection refused); runs continue, "
        "and it is updated later"
    )
