"""The numbers of a report: known curves give known costs, and everything follows from the stored points."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.core.costs import COST_TYPES, CostAxis
from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.reports import Summary, load_comparison
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.reports.summarise import best_mean_accuracy, build_summary
from sfpo_bench.reports.summary import IntervalKind
from sfpo_bench.results.run_folder import RunState
from sfpo_bench.statistics import Claim, Verdict, detectable_ratio, mean_interval, seeds_needed, wilson_interval
from tests.reports.comparison_folder import Folder, Run

# A step is 4 prompts, 32 responses, 320 tokens and 0.5 s; evaluations are two steps apart.
SLOW = Run((0.1, 0.2, 0.3, 0.4, 0.6), greedy=0.7)  # 0.5 at step 7
FAST = Run((0.1, 0.4, 0.6, 0.6, 0.6), greedy=0.8)  # 0.5 at step 3


def summary_of(folder: Folder, path: Path) -> Summary:
    return build_summary(load_comparison(folder.write(path)))


@pytest.fixture
def two_arms(tmp_path: Path) -> Summary:
    slower = Run((0.1, 0.2, 0.3, 0.45, 0.55), greedy=0.72)
    later = Run((0.1, 0.3, 0.55, 0.6, 0.65), greedy=0.82, trigger_step=6)
    return summary_of(Folder({"grpo": {0: SLOW, 1: slower}, "sfpo": {0: FAST, 1: later}}), tmp_path)


def test_known_curves_have_known_costs_on_every_axis(tmp_path: Path) -> None:
    summary = summary_of(Folder({"grpo": {0: SLOW}, "sfpo": {0: FAST}}, seeds=[0]), tmp_path)
    expected = {"prompts": 12.0, "responses": 96.0, "tokens": 960.0, "optimizer_steps": 3.0}
    expected |= {"train_seconds": 1.5, "total_seconds": 2.25}
    for axis, cost in expected.items():
        row, ratio = summary.absolute.cost("sfpo", 0.5, axis), summary.absolute.ratio("sfpo", 0.5, axis)
        assert (row.claim, row.reached, row.seeds) == (Claim.estimate, 1, 1)
        assert row.point == pytest.approx(cost)
        assert ratio.point == pytest.approx(7 / 3)
        assert (ratio.low, ratio.high) == (None, None)  # one seed


def test_ratios_recompute_from_the_stored_points(two_arms: Summary) -> None:
    raw = json.loads(two_arms.to_json())
    curves = {arm["name"]: [curve["points"] for curve in arm["curves"]] for arm in raw["arms"]}
    for row in [*raw["absolute"]["ratios"], *raw["paper"]["ratios"]]:
        if row["claim"] != "estimate":
            continue
        logs = {
            arm: [
                math.log(
                    first_crossing([p[row["axis"]] for p in points], [p["accuracy"] for p in points], row["target"])
                )
                for points in curves[arm]
            ]
            for arm in ("grpo", row["arm"])
        }
        assert row["point"] == pytest.approx(math.exp(np.mean(logs["grpo"]) - np.mean(logs[row["arm"]])))
        assert row["low"] < row["point"] < row["high"]
    assert len(raw["absolute"]["ratios"]) == len(CostAxis)


def test_a_statement_without_a_p_value_counts_in_the_family_as_proven_by_nothing(tmp_path: Path) -> None:
    """Holm over known and unknown ones: the smallest p-value times the size of the family; 1 where there is none."""
    arms = {
        "grpo": {0: SLOW, 1: Run((0.1, 0.2, 0.3, 0.45, 0.55)), 2: Run((0.1, 0.2, 0.35, 0.4, 0.6))},
        "sfpo": {0: FAST, 1: Run((0.1, 0.3, 0.55, 0.6, 0.65)), 2: Run((0.1, 0.35, 0.6, 0.6, 0.6))},
        "single": {0: FAST},
    }
    block = summary_of(Folder(arms, seeds=[0, 1, 2]), tmp_path).absolute
    known, missing = block.ratio("sfpo", 0.5, "responses"), block.ratio("single", 0.5, "responses")
    assert known.p_value is not None and 0 < known.p_value < 0.05 and known.family >= 2
    assert known.adjusted_p == pytest.approx(min(1.0, known.family * known.p_value))
    assert missing.p_value is None and missing.adjusted_p == 1.0


def test_the_seeds_needed_are_those_for_one_statement_of_the_family(tmp_path: Path) -> None:
    runs = {
        arm: {seed: Run((0.1, 0.2, middle + shift, 0.55, 0.6)) for seed, shift in enumerate((-0.1, 0.0, 0.12))}
        for arm, middle in (("grpo", 0.35), ("sfpo", 0.45))
    }
    summary = summary_of(Folder(runs, seeds=[0, 1, 2], targets=(0.4, 0.5)), tmp_path)
    row = summary.absolute.ratio("sfpo", 0.5, "responses")
    base, own = (
        [first_crossing(curve.costs("responses"), curve.accuracies(), 0.5) for curve in arm.curves]
        for arm in (summary.arm("grpo"), summary.arm("sfpo"))
    )
    expected, alone = seeds_needed(base, own, 1 - 0.05 / row.family), seeds_needed(base, own)
    assert row.seeds_needed == expected and expected is not None and alone is not None and expected > alone > 3
    assert row.detectable == pytest.approx(detectable_ratio(base, own), rel=1e-3)


@pytest.mark.parametrize("fewer", ["", "grpo", "sfpo"])
def test_a_verdict_is_given_where_both_arms_have_three_seeds(tmp_path: Path, fewer: str) -> None:
    """As clear a difference as there can be, of which two seeds in either arm leave nothing."""
    curves = {"grpo": (0.1, 0.2, 0.3, 0.4), "sfpo": (0.1, 0.5, 0.6, 0.6)}
    runs = {
        arm: {seed: Run((*points, 0.6 + seed / 1000)) for seed in range(2 if arm == fewer else 3)}
        for arm, points in curves.items()
    }
    row = summary_of(Folder(runs, seeds=[0, 1, 2]), tmp_path).absolute.ratio("sfpo", 0.5, "responses")
    assert row.adjusted_p is not None and row.adjusted_p < 0.01 and row.low is not None and row.low > 1
    assert row.verdict is (Verdict.unclear if fewer else Verdict.cheaper)


def first_crossing(costs: list[float], accuracies: list[float], target: float) -> float:
    """The slow reference: walk along the polyline in small steps."""
    grid = np.linspace(costs[0], costs[-1], 400_001)
    return float(grid[np.argmax(np.interp(grid, costs, accuracies) >= target - 1e-9)])


def test_summary_survives_its_file(two_arms: Summary) -> None:
    assert Summary.from_json(two_arms.to_json()) == two_arms


def test_a_point_has_its_costs_beside_its_accuracy_and_none_of_them_may_be_absent(two_arms: Summary) -> None:
    raw = json.loads(two_arms.to_json())
    point = raw["arms"][0]["curves"][0]["points"][0]
    assert list(point) == ["step", *COST_TYPES, "accuracy", "n", "problems"]
    del point["tokens"]
    with pytest.raises(ConfigError, match=r"points\[0\] lacks tokens; found step, prompts"):
        Summary.from_json(json.dumps(raw))


def test_the_file_holds_what_the_format_promises(two_arms: Summary) -> None:
    raw = json.loads(two_arms.to_json())
    assert {"schema_version", "name", "baseline", "experiment", "targets", "arms", "absolute", "paper"} <= set(raw)
    arm = raw["arms"][1]
    assert (arm["name"], arm["label"], arm["settings"]) == ("sfpo", "SFPO", {"learner.lr": 4e-4, "threads": 1})
    assert (arm["seeds_planned"], arm["seeds_finished"]) == (2, 2)
    assert [(curve["seed"], curve["status"], curve["trigger_step"]) for curve in arm["curves"]] == [
        (0, "finished", None),
        (1, "finished", 6),
    ]
    assert set(arm["curves"][0]["points"][0]) >= {"step", "accuracy", "n", *(axis.value for axis in CostAxis)}


def test_final_accuracy_is_the_mean_of_the_last_points(two_arms: Summary) -> None:
    final, greedy = two_arms.arm("sfpo").final, two_arms.arm("sfpo").final_greedy
    assert final is not None and greedy is not None
    expected = mean_interval([0.6, 0.65])
    assert expected.interval is not None
    assert (final.mean, final.low) == (expected.point, max(0.0, expected.interval.low))
    assert (final.interval, final.seeds, final.responses) == (IntervalKind.seeds, 2, (100,))
    assert greedy.mean == pytest.approx(0.81)
    assert final.high <= 1


def test_the_interval_of_a_final_accuracy_is_cut_to_what_an_accuracy_can_be(tmp_path: Path) -> None:
    runs = {"grpo": {0: Run((0.1, 0.9)), 1: Run((0.1, 1.0))}, "sfpo": {0: Run((0.1, 0.0)), 1: Run((0.1, 0.1))}}
    summary = summary_of(Folder(runs), tmp_path)
    high, low = summary.arm("grpo").final, summary.arm("sfpo").final
    assert high is not None and low is not None
    assert (high.high, low.low) == (1.0, 0.0) and 0 < high.low < 0.95 and 0.05 < low.high < 1


def test_one_seed_gets_the_interval_of_its_responses_and_says_so(tmp_path: Path) -> None:
    final = summary_of(Folder({"grpo": {0: SLOW}}, seeds=[0]), tmp_path).arm("grpo").final
    expected = wilson_interval(60, 100).interval
    assert final is not None and expected is not None
    assert (final.interval, final.seeds) == (IntervalKind.responses, 1)
    assert (final.low, final.high) == pytest.approx((expected.low, expected.high))


def test_a_failed_run_counts_in_costs_as_far_as_it_came_and_not_in_means(tmp_path: Path) -> None:
    failed = Run((0.1, 0.2, 0.3), state=RunState.failed, cause="out of luck")
    summary = summary_of(Folder({"grpo": {0: SLOW, 1: SLOW}, "sfpo": {0: FAST, 1: failed}}), tmp_path)
    arm, row = summary.arm("sfpo"), summary.absolute.cost("sfpo", 0.5, "responses")
    assert (arm.seeds_finished, arm.seeds_planned, arm.curves[1].cause) == (1, 2, "out of luck")
    assert arm.final is not None and arm.final.seeds == 1
    assert (row.claim, row.reached, row.seeds) == (Claim.at_least, 1, 2)
    assert row.point == pytest.approx(math.sqrt(96 * 128))
    assert summary.absolute.ratio("sfpo", 0.5, "responses").claim is Claim.at_most


def test_a_target_no_seed_reaches_gives_bounds_or_nothing(tmp_path: Path) -> None:
    low = Run((0.1, 0.2, 0.3, 0.3, 0.3))
    folder = Folder({"grpo": {0: low, 1: low}, "sfpo": {0: FAST, 1: FAST}, "other": {0: low, 1: low}})
    summary = summary_of(folder, tmp_path)
    cheaper, unknown = (summary.absolute.ratio(arm, 0.5, "responses") for arm in ("sfpo", "other"))
    assert (cheaper.claim, cheaper.baseline_reached, cheaper.arm_reached) == (Claim.at_least, 0, 2)
    assert cheaper.point == pytest.approx(256 / 96)
    assert (unknown.claim, unknown.point) == (Claim.none, None)
    assert summary.absolute.cost("grpo", 0.5, "responses").point == pytest.approx(256)


def test_an_absent_run_is_counted_as_planned(tmp_path: Path) -> None:
    summary = summary_of(Folder({"grpo": {0: SLOW}, "sfpo": {}}, seeds=[0, 1, 2]), tmp_path)
    arm = summary.arm("sfpo")
    assert (arm.seeds_planned, arm.seeds_finished, arm.final) == (3, 0, None)
    assert [curve.status for curve in arm.curves] == [SeedStatus.pending] * 3
    assert summary.absolute.ratio("sfpo", 0.5, "prompts").claim is Claim.none


def test_without_any_evaluation_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing to report: found 2 pending"):
        summary_of(Folder({"grpo": {}}), tmp_path)


def test_the_papers_target_is_the_baselines_best_mean(tmp_path: Path) -> None:
    first, second = replace(SLOW, accuracies=(0.1, 0.5, 0.3)), replace(SLOW, accuracies=(0.1, 0.3, 0.4))
    summary = summary_of(Folder({"grpo": {0: first, 1: second}, "sfpo": {0: FAST, 1: FAST}}), tmp_path)
    assert summary.paper is not None
    assert summary.paper.targets == (0.4,)
    assert "GRPO over its 2 seeds, at step 2" in summary.paper.note
    assert "biased upwards" in summary.paper.note


def test_best_mean_looks_only_at_steps_that_all_seeds_have(two_arms: Summary) -> None:
    whole, other = two_arms.arm("sfpo").curves
    short = replace(other, points=other.points[:2])
    best = best_mean_accuracy([whole, short])
    assert best is not None and best[0] == 2
    assert best[1] == pytest.approx(0.35)
    assert best_mean_accuracy([]) is None


def test_without_an_evaluated_baseline_there_is_no_paper_target(tmp_path: Path) -> None:
    summary = summary_of(Folder({"grpo": {}, "sfpo": {0: FAST}}), tmp_path)
    assert summary.paper is None
    assert Summary.from_json(summary.to_json()) == summary


def test_cpu_per_wall_is_the_mean_over_runs(tmp_path: Path) -> None:
    runs = {0: replace(SLOW, cpu_per_wall=0.8), 1: replace(SLOW, cpu_per_wall=1.0)}
    assert summary_of(Folder({"grpo": runs}), tmp_path).arm("grpo").cpu_per_wall == pytest.approx(0.9)


def test_settings_without_a_json_number_are_still_written(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: SLOW}}, settings={"learner.max_grad_norm": math.inf})
    assert json.loads(summary_of(folder, tmp_path).to_json())["arms"][0]["settings"] == {"learner.max_grad_norm": "inf"}


def test_a_file_of_another_version_is_refused(two_arms: Summary) -> None:
    with pytest.raises(ConfigError, match="schema version 9"):
        Summary.from_json(replace(two_arms, schema_version=9).to_json())
    with pytest.raises(ConfigError, match="is not JSON"):
        Summary.from_json("{")
    with pytest.raises(ConfigError, match=r"summary.json lacks name"):
        Summary.from_json('{"schema_version": 1}')
