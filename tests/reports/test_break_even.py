"""When saving steps saves time: closed forms of the time ratio, and the share of a pass from a run's own seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.core.costs import Costs
from sfpo_bench.reports import load_comparison
from sfpo_bench.reports.break_even import LEAST_SHARE, MOST_SHARE, break_even
from sfpo_bench.reports.break_even_figure import break_even_bytes, break_even_figure
from sfpo_bench.reports.break_even_text import break_even_blocks, break_even_frame
from sfpo_bench.reports.load import Comparison
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import ArmSummary, BreakEven, Summary
from sfpo_bench.reports.write import write_report
from sfpo_bench.statistics import cost_ratio, cost_to_target
from tests.reports.comparison_folder import Folder, Run

SLOW = ((0.1, 0.2, 0.3, 0.42, 0.6), (0.1, 0.2, 0.35, 0.45, 0.55), (0.1, 0.15, 0.3, 0.4, 0.55))
FAST = ((0.1, 0.4, 0.6, 0.6, 0.6), (0.1, 0.3, 0.55, 0.6, 0.65), (0.1, 0.35, 0.55, 0.6, 0.6))
# A pass takes 0.2 s of a step of 0.5 s: four passes make it one of 1.1 s.
ONE = {"step_seconds": 0.5, "slow_seconds": 0.2}
FOUR = {"step_seconds": 1.1, "fast_seconds": 0.6, "slow_seconds": 0.2}


def arm(curves: tuple[tuple[float, ...], ...], steps: int, metrics: dict[str, float]) -> dict[int, Run]:
    return {seed: Run(curve, optimizer_steps=steps, metrics=metrics) for seed, curve in enumerate(curves)}


def folder(**more: dict[int, Run]) -> Folder:
    arms = {"grpo": arm(SLOW, 2, ONE), "sfpo": arm(FAST, 8, FOUR), **more}
    return Folder(arms, seeds=[0, 1, 2], targets=(0.5,))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return load_comparison(folder(same=arm(SLOW, 2, {})).write(tmp_path_factory.mktemp("even")))


@pytest.fixture(scope="module")
def summary(comparison: Comparison) -> Summary:
    return build_summary(comparison)


def found_in(summary: Summary) -> BreakEven:
    assert summary.break_even is not None
    return summary.break_even


def test_with_four_passes_time_is_the_steps_saved_over_one_and_three_shares(summary: Summary) -> None:
    steps = summary.absolute.ratio("sfpo", 0.5, "responses")
    assert steps.point is not None and steps.low is not None and steps.high is not None
    [row] = [row for row in found_in(summary).rows if row.arm == "sfpo"]
    assert row.passes == pytest.approx(4.0)
    for one in (*row.curve, row.at(0.0437), row.at(0.5)):
        assert one.ratio == pytest.approx(steps.point / (1 + 3 * one.share))
        assert (one.low, one.high) == pytest.approx((steps.low / (1 + 3 * one.share), steps.high / (1 + 3 * one.share)))
    assert row.even == pytest.approx((steps.point - 1) / 3)
    assert row.even_low == pytest.approx((steps.low - 1) / 3) and row.even_high == pytest.approx((steps.high - 1) / 3)
    assert row.curve[-1].ratio == pytest.approx(summary.absolute.ratio("sfpo", 0.5, "optimizer_steps").point)
    assert [row.curve[1].share, row.curve[-2].share] == pytest.approx([LEAST_SHARE, MOST_SHARE])


def test_the_share_of_a_pass_is_that_of_the_baselines_step_in_whichever_arm_it_is_measured(summary: Summary) -> None:
    for name, passes in (("grpo", 1.0), ("sfpo", 4.0)):
        own = found_in(summary).share_of(name)
        assert own is not None and own.passes == pytest.approx(passes) and own.runs == 3
        assert (own.share, own.low, own.high) == pytest.approx((0.4, 0.4, 0.4))
    assert found_in(summary).share_of("same") is None, "its runs recorded no seconds"
    measured, said = 1.1 / 0.5, 1 + 3 * 0.4
    assert measured == pytest.approx(said)


def test_passes_are_those_that_runs_took_on_their_way_whatever_stopped_them(comparison: Comparison) -> None:
    """Passes that end after some steps: at every share as if the cost had been one axis all along."""
    summary = build_summary(comparison)
    arms = [stopping(arm) if arm.name == "sfpo" else arm for arm in summary.arms]
    found = break_even(comparison, arms)
    assert found is not None
    [row] = [row for row in found.rows if row.arm == "sfpo"]
    assert row.passes is not None and 1 < row.passes < 4
    for one in row.curve:
        costs = [
            [
                cost_to_target(
                    [
                        (1 - one.share) * p.costs.responses / 32 + one.share * p.costs.optimizer_steps / 2
                        for p in c.points
                    ],
                    c.accuracies(),
                    0.5,
                )
                for c in side.curves
            ]
            for side in arms[:2]
        ]
        expected = cost_ratio(costs[0], costs[1])
        assert (one.ratio, one.low, one.high) == pytest.approx((expected.point, expected.low, expected.high))


def stopping(arm: ArmSummary) -> ArmSummary:
    """The arm with four passes up to its second step, and one from there."""

    def costs(of: Costs, step: int) -> Costs:
        return replace(of, optimizer_steps=8 * min(step, 2) + 2 * max(0, step - 2))

    curves = [
        replace(curve, points=tuple(replace(p, costs=costs(p.costs, p.step)) for p in curve.points))
        for curve in arm.curves
    ]
    return replace(arm, curves=tuple(curves))


def test_there_is_nothing_to_say_where_passes_are_alike_or_not_known(tmp_path: Path, comparison: Comparison) -> None:
    alike = build_summary(
        load_comparison(replace(folder(), runs={"grpo": arm(SLOW, 2, ONE), "sfpo": arm(FAST, 2, ONE)}).write(tmp_path))
    )
    assert alike.break_even is None and break_even_blocks(alike, "x.png") == [] and break_even_bytes(alike) == {}
    with pytest.raises(ValueError, match="nothing to draw"):
        break_even_figure(alike)
    axes = tuple(axis for axis in comparison.plan.axes if axis != "optimizer_steps")
    lacking = replace(comparison, plan=replace(comparison.plan, axes=axes))
    assert build_summary(lacking).break_even is None


def test_the_section_says_where_times_are_equal_and_what_it_cannot_say(summary: Summary, tmp_path: Path) -> None:
    text = markdown(break_even_blocks(summary, "x.png"))
    [row] = [row for row in found_in(summary).rows if row.arm == "sfpo"]
    assert row.even is not None and f"below {100 * row.even:.1f} % (" in text
    assert "| 0.50 | SAME | 1.00 | 1.00 (" in text and "| as steps at any share |" in text
    assert "u in the runs of GRPO here, 40.0 % (40.0 to 40.0; 3 runs)" in text
    for said in ("What this cannot say", "1 DeepSeek-R1-Distill-Qwen-7B 5.9 %", "arXiv:2506.02177", "15.4 %"):
        assert said in text
    never = build_summary(load_comparison(folder(never=arm(((0.1, 0.2, 0.3),) * 3, 8, FOUR)).write(tmp_path)))
    [cut] = [row for row in found_in(never).rows if row.arm == "never"]
    assert cut.curve == () and cut.even is None and cut.reason
    assert "cannot tell (a)" in markdown(break_even_blocks(never, "x.png"))
    assert set(break_even_frame(never)["arm"]) == {"sfpo"}


@pytest.mark.slow
def test_the_figure_is_in_the_report_and_goes_with_what_it_was_about(tmp_path: Path) -> None:
    place = folder(same=arm(SLOW, 8, FOUR)).write(tmp_path)
    files = write_report(place)
    first = files.break_even_figure["png"].read_bytes()
    assert "![Time ratio" in files.report.read_text(encoding="utf-8") and first.startswith(b"\x89PNG")
    assert files.page.read_text(encoding="utf-8").count("<figure") == 3
    assert write_report(place).break_even_figure["png"].read_bytes() == first
    (place / "runs" / "grpo").rename(place / "runs" / "gone")
    with_one = write_report(place, baseline="same")
    assert not any(path.exists() for path in with_one.break_even_figure.values())
