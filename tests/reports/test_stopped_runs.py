"""Reports of runs that ended at their target: costs as of whole runs, and nothing that would need equal budgets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.reports import Summary, load_comparison
from sfpo_bench.reports.anatomy import anatomy_frame
from sfpo_bench.reports.notes import crossing_shares, figure_caption
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.tables import final_table, report_markdown
from tests.reports.comparison_folder import Folder, Run

STOP = {"accuracy": 0.5, "split": "report", "mode": "sampled", "patience": 1, "allow_report": True}
# Evaluations are two steps apart, of ten steps.
CURVES = {
    "grpo": {0: (0.1, 0.2, 0.3, 0.4, 0.45, 0.6), 1: (0.1, 0.2, 0.3, 0.4, 0.45, 0.49)},
    "sfpo": {0: (0.1, 0.3, 0.6, 0.7, 0.7, 0.8), 1: (0.1, 0.2, 0.4, 0.55, 0.6, 0.6)},
}


def cut(accuracies: tuple[float, ...]) -> tuple[float, ...]:
    end = next((place for place, value in enumerate(accuracies) if value >= 0.5), len(accuracies) - 1)
    return accuracies[: end + 1]


def folder(*, stopped: bool) -> Folder:
    metrics = {"entropy": 1.0, "displacement": 0.5}
    runs = {
        arm: {seed: Run(cut(own) if stopped else own, greedy=0.5, metrics=metrics) for seed, own in seeds.items()}
        for arm, seeds in CURVES.items()
    }
    return Folder(runs, targets=(0.3, 0.5), stop_at=STOP if stopped else None)


@pytest.fixture
def summaries(tmp_path: Path) -> tuple[Summary, Summary]:
    whole, stopped = folder(stopped=False).write(tmp_path / "whole"), folder(stopped=True).write(tmp_path / "stopped")
    return build_summary(load_comparison(whole)), build_summary(load_comparison(stopped))


def test_costs_and_ratios_are_those_of_runs_that_took_all_their_steps(summaries: tuple[Summary, Summary]) -> None:
    whole, stopped = summaries
    assert stopped.absolute == whole.absolute
    costs, of_whole = ([row for row in one.pairs if row.target is not None] for one in (stopped, whole))
    assert costs == of_whole and costs
    assert any(row.reached < row.seeds for row in stopped.absolute.costs), "one run never gets there"
    shares = {(arm.name, curve.seed): curve.planned_share for arm in stopped.arms for curve in arm.curves}
    assert shares == {("grpo", 0): 1.0, ("grpo", 1): 1.0, ("sfpo", 0): 0.4, ("sfpo", 1): 0.6}
    assert Summary.from_json(stopped.to_json()) == stopped


def test_what_needs_equal_budgets_is_not_compared_and_says_so(summaries: tuple[Summary, Summary]) -> None:
    whole, stopped = summaries
    assert whole.paper is not None and len(final_table(whole)) == 4 and crossing_shares(whole)
    assert stopped.paper is None and final_table(stopped).empty
    assert all(arm == "grpo" for arm, _ in crossing_shares(stopped)), "no run of GRPO was cut short"
    assert whole.pairs[0].seen is not None and stopped.pairs[0].seen is None, "accuracies at the end"
    assert "after budgets that differ" in stopped.pairs[0].reason
    text = report_markdown(stopped)
    for said in (
        "2 of 4 ended before",
        "Not compared: 2 runs ended at their target",
        "sampled accuracy of 0.5 on the report split, or after 10 steps",
        "the baseline's best accuracy is not known",
        "The problems that end a run are those that are reported",
    ):
        assert said in text, said
    assert "Runs end at their target" in figure_caption(stopped)
    assert "at their target" not in report_markdown(whole)


def test_means_over_steps_end_with_the_first_run_that_did(tmp_path: Path) -> None:
    frame = anatomy_frame(load_comparison(folder(stopped=True).write(tmp_path)))
    shown = frame[frame["panel"] == "displacement"]
    assert shown[shown["arm"] == "grpo"]["x"].max() == 10
    sfpo = shown[shown["arm"] == "sfpo"]
    assert sfpo["x"].max() == 4 and set(sfpo["seeds"]) == {2}


def test_another_end_of_runs_is_another_comparison(tmp_path: Path) -> None:
    plan = load_comparison(folder(stopped=True).write(tmp_path)).plan
    assert plan.stop_at is not None
    [changed] = plan.differences(replace(plan, stop_at=None))
    assert changed.startswith("training.stop_at: sampled accuracy of 0.5 on the report split -> nothing")
    assert not plan.differences(replace(plan, steps=20)), "runs that ended stay whole, the others get more"
