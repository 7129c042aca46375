"""The report of a sweep from a folder whose numbers are known."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.types import EvaluationRecord, Split
from sfpo_bench.reports import load_sweep, trials_table, write_sweep_report
from sfpo_bench.reports.packed_runs import pack_runs
from sfpo_bench.reports.sweep.load import states
from sfpo_bench.results.journal import JournalWriter
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus


def parameter(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "key": name, "kind": "float", "low": 0.0, "high": 1.0, "choices": [], **more}


def write_run(folder: Path, trial: int, seed: int, accuracies: list[float]) -> None:
    run = RunFolder(folder / "trials" / f"trial-{trial:04d}" / f"seed-{seed:04d}")
    with JournalWriter(run.journal) as journal:
        for step, accuracy in enumerate(accuracies):
            costs = Costs(responses=50 * step)
            journal.append(
                [EvaluationRecord(step, 0.0, costs, Split.select, "sampled", 1.0, accuracy, 8, 8, {}, 0, 0.0)]
            )
    run.write_status(RunStatus(RunState.finished, len(accuracies) - 1, len(accuracies) - 1))


def trial(number: int, state: str, x: float, values: list[float], **more: object) -> dict[str, object]:
    times = {"started_unix_s": 1.0, "ended_unix_s": 2.0}
    point = {"x": x, "mode": "<b>a|b</b>"}
    fixed: dict[str, object] = {"rungs": {"1": 0.1}, "cause": "", "censored": False, "retry_of": None}
    return {"number": number, "state": state, "point": point, "values": values, **fixed, **times, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three complete trials, the best at the upper end of x and with two new seeds; a pruned and a failed one."""
    goal = {"name": "area", "measure": "area", "axis": "responses", "budget": 100.0, "target": 0.5}
    search = {"seeds": 1, "first_seed": 100, "split": "select", "sampler": "tpe", "pruner": "median"}
    about: dict[str, Any] = {"schema_version": 1, "top_trials": 0, "chosen_on": "", "chosen_on_report": False}
    about |= {"name": "s_w|eep", "experiment": "made up", "trials": 6, "goals": {"area": goal}}
    about |= {"search": search, "code_version": "abc", "settings": {}}
    about["parameters"] = {"x": parameter("x"), "mode": parameter("mode", choices=["<b>a|b</b>", "c"])}
    trials = [
        trial(0, "complete", 0.5, [0.2]),
        trial(1, "complete", 0.995, [0.4]),
        trial(2, "complete", 0.4, [0.3]),
        trial(3, "pruned", 0.1, [0.05], cause="median pruner at 3/10"),
        trial(4, "failed", 0.2, [], cause="RuntimeError: out of memory"),
        trial(5, "running", 0.3, []),
    ]
    for number, last in ((0, 0.4), (1, 0.8), (2, 0.6)):
        write_run(tmp_path, number, 100, [0.0, last / 2, last])
    write_run(tmp_path, 1, 101, [0.0, 0.3, 0.6])
    write_run(tmp_path, 1, 102, [0.0, 0.35, 0.7])
    (tmp_path / "sweep.json").write_text(json.dumps(about))
    content = {"trials": trials, "importances": {"x": 0.75, "mode": 0.25}, "lease_until_unix_s": time.time() + 60}
    (tmp_path / "trials.json").write_text(json.dumps(content))
    return tmp_path


def test_the_best_is_named_with_its_edge_and_judged_by_seeds_that_had_no_part_in_the_choice(folder: Path) -> None:
    sweep = load_sweep(folder)
    assert sweep.best is not None and sweep.best.number == 1
    assert sweep.best.seed_values == pytest.approx({100: 0.4, 101: 0.3, 102: 0.35})
    assert sweep.fresh_values(sweep.best) == pytest.approx([0.3, 0.35])
    report = write_sweep_report(folder).report.read_text()
    assert "3 complete, 1 failed, 1 pruned, 1 running" in report
    assert "**0.4000**; 0.3250 over 2 seeds that had no part in the choice" in report
    assert "**At the edge of the space:** x = 0.995, the high end" in report
    assert "out of memory" in report and "mean accuracy over 100 responses, on select problems" in report


def test_names_are_shown_as_they_are_and_cannot_become_markup(folder: Path) -> None:
    files = write_sweep_report(folder)
    page = files.page.read_text()
    assert "<b>a|b</b>" not in page and "&lt;b&gt;a|b&lt;/b&gt;" in page and "<script" not in page
    assert page.count("data:image/svg+xml") == 4 and len(files.figures) == 4
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.figures)


def test_equal_sweeps_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    one, other = write_sweep_report(folder, tmp_path / "one"), write_sweep_report(folder, tmp_path / "other")
    for a, b in zip(one.all(), other.all(), strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_every_trial_is_a_row_of_the_table(folder: Path) -> None:
    table = trials_table(load_sweep(folder))
    assert list(table["state"]) == ["complete"] * 3 + ["pruned", "failed", "running"]
    assert list(table["seeds"]) == [1, 3, 1, 0, 0, 0] and table["area"].isna().sum() == 2


def test_a_running_trial_whose_process_is_silent_is_lost(folder: Path) -> None:
    content = json.loads((folder / "trials.json").read_text())
    (folder / "trials.json").write_text(json.dumps({**content, "lease_until_unix_s": time.time() - 1}))
    assert [trial.state for trial in states(folder)[1]][-1] == "lost"
    with pytest.raises(MissingDataError, match="is not a sweep"):
        load_sweep(folder / "trials")


def test_a_packed_sweep_is_the_sweep(folder: Path, tmp_path: Path) -> None:
    places = sorted(path.relative_to(folder).as_posix() for path in folder.glob("trials/*/seed-*"))
    out = tmp_path / "packed"
    pack_runs(folder, places, out)
    for name in ("sweep.json", "trials.json"):
        (out / name).write_bytes((folder / name).read_bytes())
    assert repr(replace(load_sweep(out), folder=folder)) == repr(load_sweep(folder))  # NaN is not equal to itself


def test_a_cost_that_was_not_reached_is_a_score_wherever_it_is_shown(folder: Path) -> None:
    about = json.loads((folder / "sweep.json").read_text())
    about["goals"]["area"] |= {"measure": "cost"}
    (folder / "sweep.json").write_text(json.dumps(about))
    content = json.loads((folder / "trials.json").read_text())
    content["trials"] = [
        trial(0, "complete", 0.5, [163.88], censored=True),
        trial(1, "complete", 0.4, [171.2], censored=True),
    ]
    (folder / "trials.json").write_text(json.dumps(content))
    write_sweep_report(folder)
    text = (folder / "report.md").read_text()
    assert text.count("163.9") == text.count("163.9 (score: not reached)") > 1
    assert text.count("171.2") == text.count("171.2 (score: not reached)") > 1
    assert "is no cost" in text and "best accuracy / target" in text
