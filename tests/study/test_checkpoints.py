"""Which checkpoints are chosen: from folders that hold states alone, no journal, no sample, no reported number."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from sfpo_bench.core.costs import CostAxis, Costs
from sfpo_bench.core.errors import CheckpointError
from sfpo_bench.experiments.comparison.arms import PlannedRun
from sfpo_bench.experiments.study.checkpoints import choose, from_plain, to_plain
from sfpo_bench.reports.papers.score import PaperCheckpoint
from sfpo_bench.training.checkpoint import TrainingState

LAST, BEST, EQUAL = PaperCheckpoint.last, PaperCheckpoint.best_on_select, PaperCheckpoint.equal_budget


def run(folder: Path, arm: str, steps: list[int], passes: int, best: int, seed: int = 0) -> PlannedRun:
    """A run's folder with nothing but the states of its checkpoints; a step costs `passes` optimizer steps."""
    place = folder / arm / f"seed-{seed:04d}"
    for step in steps:
        costs = Costs(prompts=8 * step, responses=64 * step, optimizer_steps=passes * step, train_seconds=0.5 * step)
        state = TrainingState(step, costs, {}, 0, 0, best, 0.5)
        checkpoint = place / "checkpoints" / f"step-{step:06d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "state.json").write_text(json.dumps(asdict(state)))
    return PlannedRun(arm, seed, place)


def steps(runs: list[PlannedRun], axis: CostAxis, keep_every: int = 15) -> dict[tuple[str, PaperCheckpoint], int]:
    return {(one.arm, one.checkpoint): one.step for one in choose(runs, axis, keep_every).chosen}


def test_of_equal_budget_is_the_latest_checkpoint_that_costs_no_more_than_the_cheapest_run(tmp_path: Path) -> None:
    runs = [run(tmp_path, "grpo", [15, 30, 45, 60], 1, 45), run(tmp_path, "sfpo", [15, 30, 45, 60], 4, 30)]
    found = choose(runs, CostAxis.optimizer_steps, 15)
    assert found.shared_budget == 60 and found.without_equal == ()
    assert {(one.arm, one.checkpoint): (one.step, one.budget) for one in found.chosen} == {
        ("grpo", LAST): (60, 60),
        ("grpo", BEST): (45, 45),
        ("grpo", EQUAL): (60, 60),
        ("sfpo", LAST): (60, 240),
        ("sfpo", BEST): (30, 120),
        ("sfpo", EQUAL): (15, 60),
    }


@pytest.mark.parametrize("axis", [CostAxis.prompts, CostAxis.responses, CostAxis.train_seconds])
def test_where_all_arms_spend_alike_equal_budget_is_the_last(tmp_path: Path, axis: CostAxis) -> None:
    runs = [run(tmp_path, "grpo", [30, 60], 1, 30), run(tmp_path, "sfpo", [30, 60], 4, 30)]
    found = steps(runs, axis)
    assert found["grpo", EQUAL] == found["grpo", LAST] == found["sfpo", EQUAL] == 60


def test_checkpoints_that_an_interruption_left_are_not_chosen(tmp_path: Path) -> None:
    """Step 14 is there because the run was stopped there; without the stop there would be none between 0 and 15."""
    runs = [run(tmp_path, "grpo", [15, 56], 1, 15), run(tmp_path, "sfpo", [14, 30, 56], 4, 30)]
    found = choose(runs, CostAxis.optimizer_steps, 15)
    assert found.without_equal == ("sfpo",)
    assert {one.arm for one in found.chosen if one.checkpoint is EQUAL} == {"grpo"}


def test_the_seed_that_spent_least_sets_the_budget_for_all(tmp_path: Path) -> None:
    runs = [run(tmp_path, "a", [10, 20, 30], 2, 10, seed) for seed in (0, 1)]
    runs.append(run(tmp_path, "b", [10, 20], 2, 10))
    assert choose(runs, CostAxis.optimizer_steps, 10).shared_budget == 40
    assert steps(runs, CostAxis.optimizer_steps, 10)["a", EQUAL] == 20


def test_the_choice_survives_being_written_down(tmp_path: Path) -> None:
    found = choose([run(tmp_path, "grpo", [15, 60], 1, 15)], CostAxis.responses, 15)
    assert from_plain(json.loads(json.dumps(to_plain(found)))) == found


def test_a_run_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        choose([PlannedRun("grpo", 0, tmp_path / "grpo" / "seed-0000")], CostAxis.responses, 15)
