"""What notebooks show: frames, sentences, tables, and triggers replayed on recorded entropies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep, Trigger
from sfpo_bench.reports import answer, compare, load_comparison, paper_tables, show, table
from sfpo_bench.reports.load import SeedRun, SeedStatus
from sfpo_bench.reports.papers.published_results import published, published_scores
from sfpo_bench.reports.series import series
from sfpo_bench.reports.trigger_replay import replayed, trigger_frame
from tests.reports.comparison_folder import Folder, Run


def with_entropy(values: list[float]) -> SeedRun:
    steps = list(range(1, len(values) + 1))
    return SeedRun("sfpo", 0, SeedStatus.finished, metrics={"entropy": series(steps, values)})


def test_a_frame_shows_its_numbers_and_leaves_missing_ones_empty() -> None:
    frame = pd.DataFrame(
        {"name": ["a|b", "c"], "value": [1.23456, np.nan], "count": pd.array([3, None], dtype="Int64")}
    )
    assert show(frame, digits=3)._repr_markdown_() == (
        "| name | value | count |\n| :--- | ---: | ---: |\n| a\\|b | 1.23 | 3 |\n| c |  |  |"
    )


def test_the_answer_is_that_of_the_report(tmp_path: Path) -> None:
    slow, fast = Run((0.1, 0.3, 0.6)), Run((0.1, 0.5, 0.7))
    arms = {"grpo": dict.fromkeys(range(3), slow), "sfpo": dict.fromkeys(range(3), fast)}
    folder = Folder(arms, seeds=range(3)).write(tmp_path)
    said = answer(compare(load_comparison(folder))).markdown
    assert said.startswith("**To 0.50:**\n\n- SFPO reached 0.50 with fewer responses than GRPO")


def test_a_printed_cost_or_ratio_says_its_kind(tmp_path: Path) -> None:
    slow, never, fast = Run((0.1, 0.3, 0.6)), Run((0.1, 0.3, 0.4)), Run((0.1, 0.5, 0.7))
    arms = {"grpo": {0: slow, 1: slow, 2: never}, "sfpo": {0: fast, 1: fast, 2: fast}}
    summary = compare(load_comparison(Folder(arms, seeds=range(3)).write(tmp_path)))
    frame = table(summary).query("block == 'absolute' and axis == 'responses'")
    costs, ratios = (
        dict(zip(frame["arm"], frame[name].astype(str), strict=True)) for name in ("cost_text", "ratio_text")
    )
    assert costs["grpo"].startswith("at least ") and ratios["sfpo"].startswith("at least ")
    assert " to " in costs["sfpo"] and ratios["grpo"] == "baseline"


def test_paper_tables_hold_the_published_rows() -> None:
    assert "**Published in arXiv:2510.04072" in paper_tables(published_scores(published())).markdown


def test_a_replayed_trigger_fires_where_the_same_trigger_fired_in_a_run() -> None:
    entropies = [*np.linspace(2.0, 1.0, 20).tolist(), 1.6, 1.5]
    live = EntropyZScore(window=10, threshold=1.0)
    fired = next(step for step, entropy in enumerate(entropies, 1) if live.observe(step, entropy))
    assert replayed(with_entropy(entropies), EntropyZScore(window=10, threshold=1.0)) == fired == 21
    assert replayed(with_entropy(entropies[:20]), EntropyZScore(window=10, threshold=1.0)) is None
    assert replayed(with_entropy(entropies), EntropyZScore(window=10, threshold=1.0, two_sided=True)) == 10
    assert replayed(with_entropy(entropies), FixedStep(last_step=5)) == 5
    assert replayed(SeedRun("sfpo", 0, SeedStatus.pending), FixedStep(last_step=5)) is None


def test_a_table_of_triggers_counts_runs_and_steps(tmp_path: Path) -> None:
    run = Run((0.1, 0.3, 0.6), metrics={"entropy": 0.5})
    comparison = load_comparison(Folder({"grpo": {0: run, 1: run}}).write(tmp_path))
    frame = trigger_frame(comparison, "grpo", {"third": lambda: FixedStep(last_step=3), "never": Trigger})
    assert frame["fired"].tolist() == [2, 0]
    assert frame["median"].tolist()[0] == 3 and frame["first"].isna().tolist() == [False, True]
    with pytest.raises(KeyError, match="expected one of grpo"):
        trigger_frame(comparison, "ppo", {})
