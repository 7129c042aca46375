"""`sfpo-bench sync` delivers what was meant to be delivered and trained here, and nothing else."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sfpo_bench.cli import main
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.study import StudyFolder
from sfpo_bench.tracking.cursor import RunKey
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.outstanding import Home, has_own_numbers, home_of, is_tracked

RUNS = Path(__file__).parents[1] / "importing" / "runs.csv"


def run(place: Path, tracked: bool) -> RunFolder:
    folder = RunFolder(place)
    place.mkdir(parents=True)
    folder.config.write_text(f"tracking: {{mlflow: {str(tracked).lower()}}}\n")
    folder.journal.write_text("")
    return folder


def test_a_run_by_itself_is_tracked_as_its_settings_say(tmp_path: Path) -> None:
    assert is_tracked(run(tmp_path / "runs" / "a", True))
    assert not is_tracked(run(tmp_path / "runs" / "b", False))


@pytest.mark.parametrize("file", ["comparison.json", "sweep.json"])
def test_a_run_of_a_comparison_is_tracked_as_the_comparison_is(file: str, tmp_path: Path) -> None:
    """Its own settings are always those of no tracking: the comparison delivers it."""
    above = RunFolder(tmp_path / "above")
    one = run(above.path / "runs" / "sfpo" / "seed-0000", False)
    (above.path / file).write_text("{}")
    evaluation = one.path / "evaluations" / "step-000006" / "delivery.json"
    evaluation.parent.mkdir(parents=True)
    evaluation.write_text("{}")
    assert not is_tracked(above) and not is_tracked(one)
    above.delivery.write_text("{}")
    assert is_tracked(above) and is_tracked(one)
    study = RunFolder(tmp_path)
    StudyFolder(study.path).plan_file.write_text("{}")
    assert is_tracked(study)


def test_an_import_and_a_comparison_without_runs_have_nothing_to_deliver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["import", str(RUNS), "arm=method", "name=mine"])
    packed = tmp_path / "results" / "packed"
    packed.mkdir()
    (packed / "comparison.json").write_text("{}")
    assert not has_own_numbers(RunFolder(tmp_path / "results" / "mine")) and not has_own_numbers(RunFolder(packed))
    capsys.readouterr()
    for more in ([], ["untracked=true"]):
        main(["sync", *more])
        assert capsys.readouterr().out == "0 runs: 0 records delivered, 0 runs were complete\n"
    assert not list(tmp_path.rglob("delivery.json")) and not list(tmp_path.rglob("mlflow.db"))


def test_a_run_stays_one_run_in_the_experiment_and_the_store_that_it_was_made_in(
    tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run(Path("results") / "runs" / "a", True)
    shutil.copy(migrated_database, "results/mlflow.db")
    Delivery("first", Path("results"), environ={}).open_run(folder, RunKey("uid-a", "a"))
    main(["sync"])
    assert capsys.readouterr().out == "1 runs: 0 records delivered, 1 runs were complete\n"
    with closing(sqlite3.connect("results/mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]
        assert connection.execute("SELECT name FROM experiments ORDER BY 1").fetchall() == [("Default",), ("first",)]
    cursor = json.loads(folder.delivery.read_text())
    folder.delivery.write_text(json.dumps({**cursor, "store": "http://127.0.0.1:9"}))
    main(["sync"])
    assert (
        "0 runs: " in (out := capsys.readouterr().out) and "1 belong to http://127.0.0.1:9 and were left alone" in out
    )


def test_a_store_that_was_moved_is_the_same_store(tmp_path: Path) -> None:
    before, now = f"sqlite:///{tmp_path / 'before.db'}", f"sqlite:///{tmp_path / 'now.db'}"
    assert not Home(before).is_elsewhere(now)
    (tmp_path / "before.db").touch()
    assert Home(before).is_elsewhere(now) and not Home(before).is_elsewhere(before) and not Home("").is_elsewhere(now)


def test_a_run_that_was_never_delivered_belongs_where_its_settings_say(tmp_path: Path) -> None:
    folder = run(tmp_path / "runs" / "a", True)
    folder.config.write_text("tracking: {mlflow: true, uri: 'http://server', experiment: mine}\n")
    assert home_of(folder) == Home("http://server", "mine")
