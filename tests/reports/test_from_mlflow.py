"""A comparison read back from an MLflow store alone is the one in its folder."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from sfpo_bench.core.errors import ConfigError, MissingDataError, TrackingError
from sfpo_bench.core.types import StageStats
from sfpo_bench.reports import Comparison, curves_frame, load_comparison, load_from_mlflow, metrics_frame, write_report
from sfpo_bench.reports import from_mlflow as module
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.reports.stored_curves import numbers_of_history, numbers_of_parquet
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.results.run_tables import write_curves_table
from sfpo_bench.tracking.delivery import Delivery, RunKey
from sfpo_bench.tracking.feed import key_of
from sfpo_bench.tracking.mlflow_store import moved_artifacts
from sfpo_bench.tracking.stored_runs import ClientRuns, SqliteRuns, stored_runs
from tests.conftest import Cli
from tests.reports.comparison_folder import Folder, Run

STAGES = (StageStats("fast_1", 0.1, 0.0, 1.0, 1.1, 0.01, 0.7, 0.5, 1, 0, 0.1),)
RUN = Run((0.1, 0.3, 0.7), metrics={"entropy": 0.5, "odd@name": 2.0}, stages=STAGES, trigger_step=3, greedy=0.8)
FAILED = replace(RUN, accuracies=(0.1, 0.2), greedy=None, state=RunState.failed, cause="loss is not finite")


@dataclass(frozen=True, slots=True)
class Stored:
    """A comparison's folder, and the store it was delivered to."""

    folder: Path
    store: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.store / 'mlflow.db'}"

    @property
    def whole(self) -> Comparison:
        return load_comparison(self.folder)

    def artifacts(self, name: str) -> Iterator[Path]:
        return (self.store / "mlartifacts").glob(f"*/artifacts/{name}")


def deliver(folder: Path, store: Path) -> None:
    """What a comparison's feed does: every run, then the comparison itself."""
    delivery = Delivery("test", store, environ={})
    parent = RunFolder(folder)
    open_run(delivery, parent)
    for place in sorted(folder.glob("runs/*/*")):
        run = RunFolder(place)
        settings = f"algorithm: {{name: {place.parent.name}}}\nseed: {int(place.name[5:])}\ntemperature: 0.5\n"
        run.config.write_text(settings, encoding="utf-8")
        open_run(delivery, run)
        delivery.deliver(run, run.journal.stat().st_size)
        write_curves_table(run)
        delivery.finish(run, run.status().state, cause=run.status().cause)
    delivery.finish(parent, RunState.finished, artifacts=[folder / "summary.json"])


def open_run(delivery: Delivery, folder: RunFolder) -> None:
    key = key_of(folder)
    assert key is not None
    delivery.open_run(folder, key)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Stored:
    root = tmp_path_factory.mktemp("delivered")
    runs = {"sfpo": {0: RUN, 1: FAILED}, "grpo": {0: replace(RUN, trigger_step=None)}}
    folder = Folder(runs, labels={"sfpo": "SFPO <b>"}).write(root / "comparison")
    write_report(folder)
    (root / "store").mkdir()
    shutil.copy(migrated_database, root / "store" / "mlflow.db")
    deliver(folder, root / "store")
    return Stored(folder, root / "store")


@pytest.fixture
def stored(delivered: Stored, tmp_path: Path) -> Stored:
    """A copy of the store that a test may change."""
    store = tmp_path / "store"
    shutil.copytree(delivered.store, store)
    with changing(store) as connection:
        connection.execute(
            "UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)", (delivered.store.as_uri(), store.as_uri())
        )
    return Stored(delivered.folder, store)


@contextmanager
def changing(store: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(store / "mlflow.db")) as connection, connection:
        yield connection


def test_the_comparison_is_the_one_in_the_folder(delivered: Stored) -> None:
    loaded = load_from_mlflow("synthetic", delivered.uri)
    assert loaded == delivered.whole
    assert [run.status for run in loaded.runs] == ["finished", "failed", "finished", "pending"]
    assert loaded.runs[0].trigger_step == 3 and loaded.runs[0].device == "cpu"


def test_an_id_names_it_too_and_the_store_is_not_written(delivered: Stored) -> None:
    before = (delivered.store / "mlflow.db").read_bytes()
    [parent] = SqliteRuns(delivered.store / "mlflow.db").named("synthetic")
    assert load_from_mlflow(parent.run_id, delivered.uri) == delivered.whole
    assert (delivered.store / "mlflow.db").read_bytes() == before


def test_a_report_can_be_written_from_the_store_alone(delivered: Stored, tmp_path: Path) -> None:
    files = write_report(load_from_mlflow("synthetic", delivered.uri), tmp_path / "out")
    assert files.report.read_bytes() == write_report(delivered.folder, tmp_path / "again").report.read_bytes()
    assert "seed-0000/" not in files.page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="expected a folder to write to"):
        write_report(load_from_mlflow("synthetic", delivered.uri))


def test_without_parquet_files_the_history_says_the_same(stored: Stored) -> None:
    for path in stored.artifacts("curves.parquet"):
        path.unlink()
    assert_same_but_for_total_seconds(load_from_mlflow("synthetic", stored.uri), stored.whole)


def assert_same_but_for_total_seconds(loaded: Comparison, whole: Comparison) -> None:
    """MLflow's names are the keys with other characters for those it does not accept."""
    assert loaded.plan == whole.plan
    pd.testing.assert_frame_equal(
        curves_frame(loaded).drop(columns="total_seconds"), curves_frame(whole).drop(columns="total_seconds")
    )
    order = ["arm", "seed", "key", "step"]
    named = metrics_frame(whole).replace({"key": {"odd@name": "odd_name"}})
    pd.testing.assert_frame_equal(
        metrics_frame(loaded).sort_values(order, ignore_index=True), named.sort_values(order, ignore_index=True)
    )
    for one, other in zip(loaded.runs, whole.runs, strict=True):
        assert (one.status, one.cause, one.step, one.trigger_step) == (
            other.status,
            other.cause,
            other.step,
            other.trigger_step,
        )


def test_every_point_of_the_parquet_files_is_in_the_metric_history(delivered: Stored) -> None:
    store = stored_runs(delivered.uri)
    [parent] = store.named("synthetic")
    children = store.children(parent.run_id)
    for history, content in zip(store.histories(children), store.files(children, "curves.parquet"), strict=True):
        assert content is not None
        told, kept = numbers_of_history(history), numbers_of_parquet(content)
        metrics = {key.replace("@", "_"): one for key, one in kept.metrics.items()}
        assert (told.metrics, told.evaluations) == (metrics, kept.evaluations)
        assert told.events == kept.events


def shorten(path: Path) -> None:
    """A file of an earlier end of the run."""
    frame = pd.read_parquet(path)
    frame[frame["step"] < 2].to_parquet(path)


@pytest.mark.parametrize("harm", [shorten, lambda path: path.write_bytes(b"no Parquet")], ids=["old", "damaged"])
def test_a_parquet_file_that_contradicts_the_history_is_not_used(stored: Stored, harm: Callable[[Path], None]) -> None:
    for path in stored.artifacts("curves.parquet"):
        harm(path)
    assert_same_but_for_total_seconds(load_from_mlflow("synthetic", stored.uri), stored.whole)


def test_the_reports_summary_stands_in_for_the_plan(stored: Stored) -> None:
    for path in stored.artifacts("comparison.json"):
        path.unlink()
    assert load_from_mlflow("synthetic", stored.uri) == stored.whole


def test_parameters_stand_in_for_both(stored: Stored) -> None:
    for name in ("comparison.json", "summary.json"):
        for path in stored.artifacts(name):
            path.unlink()
    plan = load_from_mlflow("synthetic", stored.uri).plan
    assert (plan.baseline, plan.targets, plan.seeds, plan.steps) == ("grpo", (0.5,), (0, 1), 10)
    whole = stored.whole.plan.arms
    assert [(arm, about.label) for arm, about in plan.arms.items()] == [(arm, one.label) for arm, one in whole.items()]
    assert plan.arms["sfpo"].settings["temperature"] == 0.5


def test_a_store_that_was_moved_is_read_and_written_where_it_lies(stored: Stored, tmp_path: Path) -> None:
    old = tmp_path / "old"
    with changing(stored.store) as connection:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            connection.execute(
                f"UPDATE {table} SET {column} = replace(replace({column}, ?, ?), ?, ?)",
                (
                    *(stored.store.as_uri(), old.as_uri()),
                    *(stored.folder.parent.joinpath("store").as_uri(), old.as_uri()),
                ),
            )
    before = (stored.store / "mlflow.db").read_bytes()
    assert load_from_mlflow("synthetic", stored.uri) == stored.whole
    assert (stored.store / "mlflow.db").read_bytes() == before
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (run.path / "figure.svg").write_text("<svg/>")
    delivery = Delivery("test", stored.store, environ={})
    run_id = delivery.open_run(run, RunKey("new", "new"))
    delivery.finish(run, RunState.finished, artifacts=[run.path / "figure.svg"])
    assert (stored.store / "mlartifacts" / run_id / "artifacts" / "figure.svg").is_file() and not old.exists()
    for one in ClientRuns(stored.uri, stored.uri).named("synthetic"):
        assert one.artifacts.startswith(stored.store.as_uri())


def test_artifacts_that_were_never_beside_the_store_stay_where_they_are(tmp_path: Path) -> None:
    database, shared = tmp_path / "here" / "mlflow.db", tmp_path / "shared" / "mlartifacts"
    shared.mkdir(parents=True)
    for uri in (f"{shared.as_uri()}/0/abc/artifacts", "s3://bucket/mlartifacts/abc", (tmp_path / "other").as_uri()):
        assert moved_artifacts(uri, database) == uri
    shared.rmdir()
    assert moved_artifacts(f"{shared.as_uri()}/0/abc/artifacts", database) == (
        (tmp_path / "here" / "mlartifacts" / "0" / "abc" / "artifacts").as_uri()
    )


def test_a_seed_added_since_is_there(stored: Stored) -> None:
    for path in stored.artifacts("comparison.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seeds": [0]}))
    assert load_from_mlflow("synthetic", stored.uri).plan.seeds == (0, 1)


def test_mlflows_client_finds_what_the_file_holds(delivered: Stored) -> None:
    file, client = SqliteRuns(delivered.store / "mlflow.db"), ClientRuns(delivered.uri, delivered.uri)
    [parent] = file.named("synthetic")
    assert client.named("synthetic") == client.named(parent.run_id) == [parent]
    assert client.named("another 'name'") == file.named("another 'name'") == []
    children = file.children(parent.run_id)
    assert sorted(client.children(parent.run_id), key=str) == sorted(children, key=str)
    for one, other in zip(file.histories(children), client.histories(children), strict=True):
        assert numbers_of_history(one) == numbers_of_history(other)
    assert client.files(children, "curves.parquet") == file.files(children, "curves.parquet")
    assert client.files(children, "absent") == [None] * len(children)


def test_a_comparison_through_the_client_is_the_one_in_the_folder(
    delivered: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "stored_runs", lambda uri: ClientRuns(uri, uri))
    assert load_from_mlflow("synthetic", delivered.uri) == delivered.whole


def test_a_local_store_is_read_without_loading_mlflow(delivered: Stored) -> None:
    script = (
        "import sys; from sfpo_bench.reports import load_from_mlflow;"
        "load_from_mlflow('synthetic', sys.argv[1]); print('mlflow' in sys.modules)"
    )
    command = [sys.executable, "-c", script, delivered.uri]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_the_report_verb_reads_a_store_into_a_new_folder(delivered: Stored, cli: Cli, tmp_path: Path) -> None:
    done = cli("report", "run=synthetic", f"uri={delivered.uri}")
    assert "synthetic/report.html" in done.stdout
    written = write_report(delivered.folder, tmp_path / "from the folder").summary.read_bytes()
    assert (tmp_path / "synthetic" / "summary.json").read_bytes() == written
    again = cli("report", "run=synthetic", f"uri={delivered.uri}", check=False)
    assert again.returncode == 2 and "say where with out=FOLDER" in again.stderr
    both = cli("report", "results/other", "run=synthetic", f"uri={delivered.uri}", check=False)
    assert both.returncode == 2 and "expected one of the two" in both.stderr


def test_costs_that_fall_make_a_run_unreadable(stored: Stored) -> None:
    for path in stored.artifacts("curves.parquet"):
        path.unlink()
    with changing(stored.store) as connection:
        connection.execute("UPDATE metrics SET value = 0 WHERE key = 'tokens' AND step = 4")
    run = load_from_mlflow("synthetic", stored.uri).runs[0]
    assert run.status is SeedStatus.unreadable and "tokens falls between the evaluations" in run.cause


def test_a_name_that_is_no_comparison_is_refused(delivered: Stored) -> None:
    with pytest.raises(MissingDataError, match=r"no comparison 'grpo seed-0000' in the tracking store \(1 other"):
        load_from_mlflow("grpo seed-0000", delivered.uri)
    with pytest.raises(MissingDataError, match="expected the name or id"):
        load_from_mlflow("it's not there", delivered.uri)


def test_two_comparisons_of_one_name_are_told_apart_by_id(stored: Stored) -> None:
    with changing(stored.store) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        values = ", ".join("'other'" if column == "run_uuid" else column for column in columns)
        connection.execute(f"INSERT INTO runs SELECT {values} FROM runs WHERE name = 'synthetic'")
        connection.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('sfpo_bench.kind', 'comparison', 'other')")
    with pytest.raises(ConfigError, match="found 2 comparisons named 'synthetic'; expected one: give one of their ids"):
        load_from_mlflow("synthetic", stored.uri)


def test_a_store_that_is_not_there_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="found no tracking store"):
        load_from_mlflow("synthetic", f"sqlite:///{tmp_path / 'absent.db'}")
    (tmp_path / "text.db").write_text("no database")
    with pytest.raises(TrackingError, match="expected the tables of MLflow 3"):
        load_from_mlflow("synthetic", f"sqlite:///{tmp_path / 'text.db'}")
