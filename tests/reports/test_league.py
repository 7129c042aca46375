"""A league's table says what the runs say: ratios, scores and ties by an independent count, and twins by their bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations, pairwise
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import pytest
from scipy.stats import ttest_rel

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.league.blocks import PageText, league_blocks, league_frame, pairs_frame
from sfpo_bench.reports.league.figure import label_heights, places
from sfpo_bench.reports.league.standings import Duplicate, League, Weights, standings
from sfpo_bench.reports.load import load_comparison
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.method_facts import MethodFacts
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.statistics import Claim
from tests.reports.comparison_folder import Folder, Run

SEEDS, STEPS, N = tuple(range(6)), (0, 2, 4, 6, 8, 10), 1000
# How far an arm is ahead of the baseline, and the optimizer steps that a step takes.
ARMS = {"grpo": (0.0, 1), "twin": (0.0, 1), "near": (0.004, 1), "far": (0.25, 4), "slow": (-0.2, 2)}
FACTS = MethodFacts("none", "none", "V")


def curves(lead: float, arm: str) -> dict[int, list[float]]:
    random = np.random.default_rng(sum(map(ord, arm)))
    return {
        seed: [
            round(0.1 + (0.06 + 0.05 * lead) * step * (1 + 0.02 * random.normal()) * (1 + 0.01 * seed), 3) * (step > 0)
            for step in STEPS
        ]
        for seed in SEEDS
    }


def folder(path: Path, arms: Mapping[str, tuple[float, int]] = ARMS) -> Path:
    runs = {
        arm: {
            seed: Run(accuracies, n=N, optimizer_steps=passes)
            for seed, accuracies in curves(lead, "grpo" if arm == "twin" else arm).items()
        }
        for arm, (lead, passes) in arms.items()
    }
    return Folder(runs, seeds=SEEDS, settings={"learner.learning_rate": 4e-4}).write(path)


def league_at(path: Path, weights: Weights | None = None) -> League:
    summary = build_summary(load_comparison(path))
    return standings(summary, {arm.name: FACTS for arm in summary.arms}, weights or {})


def evaluations(path: Path, arm: str, seed: int) -> list[dict[str, float]]:
    lines = (path / "runs" / arm / f"seed-{seed:04d}" / "journal.jsonl").read_text().splitlines()
    found = [one for line in lines if (one := json.loads(line)).get("split") == "report"]
    return [{**one["costs"], "accuracy": one["accuracy"]} for one in found]


def crossing(rows: list[dict[str, float]], axis: str, target: float = 0.5) -> float:
    at = next(place for place, row in enumerate(rows) if row["accuracy"] >= target)
    low, high = rows[at - 1], rows[at]
    share = (target - low["accuracy"]) / (high["accuracy"] - low["accuracy"])
    return low[axis] + share * (high[axis] - low[axis])


def test_the_table_is_what_the_journals_say(tmp_path: Path) -> None:
    path = folder(tmp_path / "made")
    found = league_frame(league_at(path)).set_index("arm")
    runs = {arm: [evaluations(path, arm, seed) for seed in SEEDS] for arm in ARMS}
    for arm in ("near", "far", "slow"):
        for axis in ("responses", "optimizer_steps", "tokens", "prompts"):
            costs = {one: geometric_mean(crossing(rows, axis) for rows in runs[one]) for one in ("grpo", arm)}
            assert found.loc[arm, f"{axis}_to_0.50_ratio"] == pytest.approx(costs["grpo"] / costs[arm])
    finals = {arm: [rows[-1]["accuracy"] for rows in each] for arm, each in runs.items()}
    for arm in ARMS:
        assert found.loc[arm, "final"] == pytest.approx(np.mean(finals[arm]))
    kept = [arm for arm in ARMS if arm != "twin"]
    pairs = {pair: ttest_rel(finals[pair[0]], finals[pair[1]]).pvalue for pair in combinations(kept, 2)}
    ordered = sorted(pairs.values())
    holm = {
        p: min(1.0, max((len(pairs) - place) * ordered[place] for place in range(ordered.index(p) + 1)))
        for p in ordered
    }
    frame = pairs_frame(league_at(path)).set_index(["first", "second"])
    assert set(frame.index) == set(pairs)
    for pair, p in pairs.items():
        assert frame.loc[pair, "p_holm"] == pytest.approx(holm[p])
        letters = [set(str(found.loc[arm, "tie_group"])) for arm in pair]
        told = bool(frame["told_apart"].to_dict()[pair])
        assert bool(letters[0] & letters[1]) is (not told) and told is bool(holm[p] <= 0.05)


def test_the_first_group_is_that_of_the_best_whatever_the_arms_are_called(tmp_path: Path) -> None:
    league = league_at(folder(tmp_path / "made", {"grpo": (0.0, 1), "a slow one": (-0.2, 2), "z far": (0.25, 4)}))
    assert {row.arm: row.group for row in league.rows} == {"z far": "a", "grpo": "b", "a slow one": "c"}


def test_every_ratio_is_of_one_family(tmp_path: Path) -> None:
    league = league_at(folder(tmp_path / "made"))
    rows = [ratio for row in league.compared for ratio in row.ratios]
    assert {row.family for row in rows} == {len(rows)} == {3 * 4}  # three arms that are no twin, four counted axes
    smallest = min(rows, key=lambda row: row.p_value or 1.0)
    assert smallest.p_value is not None and smallest.adjusted_p == pytest.approx(min(1.0, 12 * smallest.p_value))


def test_a_twin_is_said_to_be_one_and_is_ranked_nowhere(tmp_path: Path) -> None:
    path = folder(tmp_path / "made")
    same = {arm: {seed: f"{seed}" for seed in SEEDS} for arm in ("grpo", "twin")}
    by_bits, by_curves = league_at(path, same), league_at(path)
    assert by_bits.row("twin").same == Duplicate("grpo", bits=True)
    assert by_curves.row("twin").same == Duplicate("grpo", bits=False, apart=0)
    one_seed = {"grpo": same["grpo"], "twin": {**same["twin"], 3: "other bits"}}
    assert league_at(path, one_seed).row("twin").same == Duplicate("grpo", bits=False, apart=0)
    assert by_bits.row("twin").group == by_bits.row("grpo").group and not by_bits.row("twin").ratios
    assert all("twin" not in (one.first, one.second) for one in by_bits.pairs)
    text = markdown(
        league_blocks(by_bits, PageText("made", "", {"left": "it cannot"}, 2, ["made by two versions"]), "league.png")
    )
    assert "TWIN is the same as GRPO on this task: for every seed the final weights have the same bits" in text
    assert "as GRPO" in text and "left: it cannot" in text and "2 runs were not trained here" in text
    assert "made by two versions" in text


def test_arms_at_other_rates_or_a_response_too_far_apart_are_no_twins(tmp_path: Path) -> None:
    path = folder(tmp_path / "made")
    plan = json.loads((path / "comparison.json").read_text())
    plan["arms"]["twin"]["settings"] = {"learner.learning_rate": 2e-4}
    (path / "comparison.json").write_text(json.dumps(plan))
    assert league_at(path).row("twin").same is None
    for apart, same in ((0.002, True), (0.003, False)):
        moved = {seed: [*own[:-1], own[-1] + (apart if seed == 3 else 0)] for seed, own in curves(0, "grpo").items()}
        runs = {
            arm: {seed: Run(own, n=N) for seed, own in each.items()}
            for arm, each in (("grpo", curves(0, "grpo")), ("twin", moved))
        }
        made = Folder(runs, seeds=SEEDS, settings={"learner.learning_rate": 4e-4}).write(tmp_path / f"{apart}")
        assert (league_at(made).row("twin").same is not None) is same


def test_every_method_that_has_both_ratios_has_a_point_and_the_others_are_named(tmp_path: Path) -> None:
    league = league_at(folder(tmp_path / "made", {**ARMS, "never": (-1.0, 1)}))
    drawn, without = places(league)
    assert [place.label for place in drawn] == [
        row.label for row in league.compared if row.arm in ("near", "far", "slow", "never")
    ]
    assert {place.x.claim for place in drawn if place.label == "NEVER"} == {Claim.at_most}
    assert without == []
    stopped = folder(tmp_path / "stopped", {"grpo": (-1.0, 1), "never": (-0.9, 1)})
    assert places(league_at(stopped)) == ([], ["NEVER"]), "no run of either arm reached the target"
    ratios = {place.label: (place.x, place.y) for place in drawn}
    assert all(CostAxis(x.axis) is CostAxis.responses for x, _ in ratios.values())
    far = league.row("far")
    assert ratios[far.label] == (far.ratio(0.5, CostAxis.responses), far.ratio(0.5, CostAxis.optimizer_steps))


def test_labels_lie_apart_inside_the_panel_and_no_farther_from_their_points_than_that_takes() -> None:
    for shares in ([0.5] * 30, list(np.linspace(0.9, 1.0, 30)), list(np.linspace(0, 1, 30) ** 2)):
        heights = label_heights(shares, 1 / 31)
        assert all(late - early >= 1 / 31 - 1e-9 for early, late in pairwise(heights))
        assert heights[0] >= -1e-9 and heights[-1] <= 1 + 1e-9
    assert label_heights([0.1, 0.5], 0.05) == [0.1, 0.5]
