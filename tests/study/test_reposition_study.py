"""The study of reposition through the command line: killed and resumed, its numbers those of the journals."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import command
from tests.in_process import sfpo_bench
from tests.study.tiny_study import AT_A_FILE, AT_A_JOINT, TINY_SWEEP, place

TINY = """
defaults:
  - study
  - override study: reposition
  - override tracking: none
  - _self_
name: tiny
rollout: {prompts: 4, group: 4}
training: {steps: 2, evaluate_every: 1, checkpoint_every: 1}
evaluation: {select_responses: 64}
learner: {learning_rate: 2e-3}
comparison: {seeds: 2, slots: 2, tune: tiny_sweep.yaml, targets: [0.05]}
study:
  reposition:
    conditions:
      base: {fast_passes: [1], alphas: [0.5], rate_factors: [8]}
      stale_8: {fast_passes: [1], alphas: [0.5], rate_factors: [8]}
"""
FEWER = ("~study.reposition.conditions.batch_8", "~study.reposition.conditions.noise_20")
RESULTS = (
    *("reposition.csv", "areas.csv", "report.md", "report.html", "tuning.csv", "best_rates.png", "equal_rate.png"),
    *("equal_displacement.png", "conditions.png"),
)


def study(folder: Path, *more: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "tiny_sweep.yaml").write_text(TINY_SWEEP)
    line = command(("study", "tiny.yaml", *FEWER, *more), prelude)
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    done = study(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def journal_areas(folder: Path) -> dict[str, dict[int, float]]:
    """The area of every run, from its journal, with a program of this test's own."""
    found: dict[str, dict[int, float]] = {}
    for journal in place(folder).glob("comparison/runs/*/seed-*/journal.jsonl"):
        records = [json.loads(line) for line in journal.read_text().splitlines()]
        curve = [(one["costs"]["responses"], one["accuracy"]) for one in records if one["kind"] == "evaluation"]
        spent, accuracy = zip(*curve, strict=True)
        area = float(np.trapezoid(accuracy, spent) / (spent[-1] - spent[0]))
        found.setdefault(journal.parents[1].name, {})[int(journal.parent.name.removeprefix("seed-"))] = area
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_table_is_that_of_the_journals(finished: Path) -> None:
    areas = journal_areas(finished)
    rates = {"base": (8,), "stale_8": (8,)}
    cells = {f"{name}-k1-{rule}-x{100 * rate}" for name in rates for rate in rates[name]
             for rule in ("repeat", "sfpo-a50", "shortened-a50")}  # fmt: skip
    assert areas.keys() == cells | {"grpo"} and all(len(own) == 2 for own in areas.values())
    written = table(finished, "areas.csv")
    assert {(one["arm"], one["seed"]): one["area"] for one in written} == pytest.approx(
        {(arm, seed): area for arm, own in areas.items() for seed, area in own.items()}
    )
    rows = table(finished, "reposition.csv")
    assert len(rows) == 2 * 2
    for one in rows:
        arm = f"{one['condition']}-k1-sfpo-a50-x{100 * one['rate_factor']:g}"
        differences = [areas[arm][seed] - areas[one["control"]][seed] for seed in range(2)]
        assert one["difference"] == pytest.approx(np.mean(differences)) and one["seeds"] == 2
        assert one["spread"] == pytest.approx(np.std(differences, ddof=1))
        assert one["low"] <= one["difference"] <= one["high"] and one["p"] <= one["p_holm"] <= 1


def table(folder: Path, name: str) -> list[dict[Hashable, Any]]:
    return pd.read_csv(place(folder) / name).to_dict("records")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cells_are_trained_at_their_multiple_of_the_tuned_rate(finished: Path) -> None:
    tuned = {one["arm"]: one["learning_rate"] for one in table(finished, "tuning.csv")}
    plan = json.loads((place(finished) / "comparison" / "comparison.json").read_text())
    rates = {key: arm["settings"]["learner.learning_rate"] for key, arm in plan["arms"].items()}
    rate = tuned["repeat-k1"]
    assert rates["base-k1-repeat-x800"] == rates["base-k1-sfpo-a50-x800"] == pytest.approx(8 * rate)
    assert rates["base-k1-shortened-a50-x800"] == pytest.approx(8 * rate * 1.5 / 2)
    assert rates["grpo"] == pytest.approx(tuned["grpo"])
    assert plan["arms"]["stale_8-k1-repeat-x800"]["settings"]["rollout.stale_steps"] == 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_the_comparison_and_before_the_table_it_ends_as_one_that_was_not(
    finished: Path, tmp_path: Path
) -> None:
    for prelude in (
        AT_A_FILE.format(pattern="comparison/runs/*/seed-0001/checkpoints/step-000001/state.json"),
        AT_A_JOINT.format(part="table", before=True),
    ):
        died = study(tmp_path, prelude=prelude)
        assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    done = study(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compare: done before" in done.stderr
    for name in RESULTS:
        assert (place(tmp_path) / name).read_bytes() == (place(finished) / name).read_bytes(), name


@pytest.mark.slow
def test_the_plan_says_cells_seeds_time_and_what_was_dropped_and_starts_nothing(tmp_path: Path) -> None:
    for more, cells, seeds in (((), 34, 6), (("reposition=full",), 369, 15), (("reposition=long",), 25, 15)):
        done = sfpo_bench(tmp_path, "study", "reposition", "tracking=none", "--plan", *more)
        assert done.code == 0, done.err
        assert f"{cells} cells with {seeds} seeds each" in done.out and "alpha = 1: it is Repeat(K + 1)" in done.out
    assert not list(tmp_path.iterdir())
