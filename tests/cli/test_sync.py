"""`sfpo-bench sync` delivers what was meant to be delivered and trained here, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.cli import main
from sfpo_bench.tracking.feed import has_own_numbers, is_tracked
from sfpo_bench.tracking.run_folder import STUDY_FILE, RunFolder

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
    assert not is_tracked(above) and not is_tracked(one)
    above.delivery.write_text("{}")
    assert is_tracked(above) and is_tracked(one)
    study = RunFolder(tmp_path)
    (study.path / STUDY_FILE).write_text("{}")
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
