"""Computes the `Summary` of a comparison from its runs: all arithmetic of the report happens here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import fsum

from sfpo_bench.core.costs import MAIN_AXES, CostAxis
from sfpo_bench.core.errors import BenchError
from sfpo_bench.core.types import EvaluationRecord
from sfpo_bench.reports.axes import known_axes
from sfpo_bench.reports.break_even import break_even
from sfpo_bench.reports.clocks import clock_problem
from sfpo_bench.reports.load import Comparison, SeedRun, SeedStatus
from sfpo_bench.reports.one_run import one_run_interval
from sfpo_bench.reports.pairs import pair_rows
from sfpo_bench.reports.summary import (
    SCHEMA_VERSION,
    Accuracy,
    ArmSummary,
    CostRow,
    CurvePoint,
    IntervalKind,
    RatioRow,
    SeedCurve,
    Summary,
    TargetBlock,
)
from sfpo_bench.statistics import (
    CONFIDENCE,
    Claim,
    SeedCost,
    Statement,
    cost_ratio,
    count_reached,
    detectable_ratio,
    holm_adjusted,
    mean_interval,
    reached_costs,
    seeds_needed,
    typical_cost,
    verdict,
)

ABSOLUTE_NOTE = "accuracies fixed before the run"


def build_summary(comparison: Comparison) -> Summary:
    """Return the summary of a comparison; raises `BenchError` if no run has an evaluation."""
    plan = comparison.plan
    if not any(run.curve for run in comparison.runs):
        raise BenchError(_nothing_to_report(comparison))
    cut = any(run.planned_share < 1 for run in comparison.runs)
    arms = tuple(_arm(comparison, name, cut=cut) for name in plan.arms)
    axes = known_axes(plan.axes)
    return Summary(
        schema_version=SCHEMA_VERSION,
        name=plan.name,
        baseline=plan.baseline,
        experiment=plan.experiment,
        axes_note=plan.axes_note,
        split=plan.split,
        mode=plan.mode,
        temperature=plan.temperature,
        steps=plan.steps,
        code_version=plan.code_version,
        confidence=CONFIDENCE,
        targets=plan.targets,
        arms=arms,
        absolute=judged(target_block(arms, plan.baseline, plan.targets, ABSOLUTE_NOTE, axes), arms, plan.baseline),
        paper=None if cut else _paper_block(arms, plan.baseline, axes),
        axes=tuple(axis.value for axis in axes),
        break_even=break_even(comparison, arms),
        origin=plan.origin,
        stop_at=plan.stop_at,
        pairs=pair_rows(arms, plan.baseline, plan.targets, known_axes(plan.axes, MAIN_AXES)),
    )


def _nothing_to_report(comparison: Comparison) -> str:
    plan = comparison.plan
    states = [run.status for run in comparison.runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "no run at all"
    return (
        f"comparison {plan.name!r} has nothing to report: found {counts}, and no evaluation of split {plan.split}, "
        f"mode {plan.mode} in any of them; let at least one run reach its first evaluation"
    )


def _arm(comparison: Comparison, name: str, *, cut: bool) -> ArmSummary:
    """Return the summary of an arm.

    If runs of the comparison were `cut` at their target, it has no final accuracies: they would be at different
    budgets, and selected for being high."""
    arm, runs = comparison.plan.arms[name], comparison.of_arm(name)
    curves = tuple(_seed_curve(run) for run in runs)
    finished = [curve for curve in curves if curve.status is SeedStatus.finished]
    ends = [] if cut else finished
    return ArmSummary(
        name=name,
        label=arm.label,
        note=arm.note,
        overrides=arm.overrides,
        settings=arm.settings,
        seeds_planned=len(runs),
        seeds_finished=len(finished),
        curves=curves,
        final=final_accuracy(
            [(c.points[-1].accuracy, c.points[-1].n, c.points[-1].problems) for c in ends if c.points]
        ),
        final_greedy=final_accuracy([(c.greedy_accuracy, c.greedy_n, c.greedy_problems) for c in ends]),
        cpu_per_wall=_cpu_per_wall(curves),
    )


def _seed_curve(run: SeedRun) -> SeedCurve:
    return SeedCurve(
        seed=run.seed,
        status=run.status,
        step=run.step,
        cause=run.cause,
        device=run.device,
        trigger_step=run.trigger_step,
        greedy_accuracy=None if run.greedy is None else run.greedy.accuracy,
        greedy_n=None if run.greedy is None else run.greedy.n,
        points=tuple(_point(evaluation) for evaluation in run.curve),
        greedy_problems=0 if run.greedy is None else run.greedy.problems,
        processes=run.processes,
        planned_share=run.planned_share,
    )


def _point(one: EvaluationRecord) -> CurvePoint:
    return CurvePoint(step=one.step, costs=one.costs, accuracy=one.accuracy, n=one.n, problems=one.problems)


def final_accuracy(scores: Sequence[tuple[float | None, int | None, int]]) -> Accuracy | None:
    """Return the mean accuracy of (accuracy, responses, problems) over seeds with a t interval, cut to [0, 1], or None.

    A single seed gets the interval of its evaluation instead (`one_run_interval`), marked by its kind.
    """
    known = [(accuracy, n, problems) for accuracy, n, problems in scores if accuracy is not None and n is not None]
    if not known:
        return None
    sizes = tuple(sorted({n for _, n, _ in known})), tuple(sorted({problems for _, _, problems in known}))
    if len(known) == 1:
        [(accuracy, n, problems)] = known
        interval, kind = one_run_interval(accuracy, n, problems)
        return Accuracy(accuracy, interval.low, interval.high, kind, 1, *sizes)
    estimate = mean_interval([accuracy for accuracy, _, _ in known])
    assert estimate.interval is not None  # two or more values
    low, high = max(0.0, estimate.interval.low), min(1.0, estimate.interval.high)
    return Accuracy(estimate.point, low, high, IntervalKind.seeds, len(known), *sizes)


def _cpu_per_wall(curves: Sequence[SeedCurve]) -> float | None:
    last = [(curve.points[-1], curve.processes) for curve in curves if curve.points]
    shares = [
        point.costs.cpu_seconds / point.costs.train_seconds / processes
        for point, processes in last
        if point.costs.train_seconds > 0 < point.costs.cpu_seconds
    ]
    return fsum(shares) / len(shares) if shares else None


def target_block(
    arms: Sequence[ArmSummary],
    baseline: str,
    targets: Sequence[float],
    note: str,
    axes: Sequence[CostAxis] = tuple(CostAxis),
) -> TargetBlock:
    """Return costs and ratios at `targets` on each axis, from the points of the arms' evaluated runs.

    An unfinished or failed run counts up to its last evaluation, as reached or not reached within its cost so far.
    Ratios on time axes are withheld if `clock_problem` finds one.
    """
    costs, ratios, problem = [], [], clock_problem(arms)
    reference = next(arm for arm in arms if arm.name == baseline)
    for target in targets:
        for axis in axes:
            base = reference.seed_costs(target, axis.value)
            for arm in arms:
                own = arm.seed_costs(target, axis.value)
                costs.append(_cost_row(arm.name, target, axis.value, own))
                if arm.name != baseline:
                    ratios.append(_ratio_row(arm.name, target, axis, base, own, problem if axis.is_time else None))
    return TargetBlock(tuple(targets), note, tuple(costs), tuple(ratios))


def _cost_row(arm: str, target: float, axis: str, own: Sequence[SeedCost]) -> CostRow:
    said = typical_cost(own)
    counts = (count_reached(own), len(own))
    return CostRow(arm, target, axis, said.claim, said.point, said.low, said.high, said.reason, *counts)


def _ratio_row(
    arm: str, target: float, axis: CostAxis, base: Sequence[SeedCost], own: Sequence[SeedCost], withheld: str | None
) -> RatioRow:
    said = cost_ratio(base, own) if withheld is None else Statement(Claim.none, reason=withheld)
    counts = (count_reached(own), len(own), count_reached(base), len(base))
    row = RatioRow(arm, target, axis.value, said.claim, said.point, said.low, said.high, said.reason, *counts)
    if said.claim is not Claim.estimate:
        return replace(row, p_value=said.p_value)
    return replace(row, p_value=said.p_value, detectable=detectable_ratio(reached_costs(base), reached_costs(own)))


def judged(block: TargetBlock, arms: Sequence[ArmSummary], baseline: str) -> TargetBlock:
    """Return the block with verdicts on the ratios of the main axes; each axis is one family for Holm.

    A family contains every arm and target: a ratio without a p-value counts with p = 1. Ratios that are withheld on one
    axis do not affect another axis.
    """
    for axis in MAIN_AXES:
        block = _judged_axis(block, axis.value, arms, baseline)
    return block


def _judged_axis(block: TargetBlock, axis: str, arms: Sequence[ArmSummary], baseline: str) -> TargetBlock:
    family = [row for row in block.ratios if row.axis == axis]
    adjusted = holm_adjusted([1.0 if row.p_value is None else row.p_value for row in family])
    by_name = {arm.name: arm for arm in arms}
    verdicts = {
        (row.arm, row.target, row.axis): replace(
            row,
            family=len(family),
            adjusted_p=p_value,
            verdict=verdict(
                Statement(row.claim, row.point, row.low, row.high), p_value, min(row.arm_seeds, row.baseline_seeds)
            ),
            seeds_needed=_seeds_needed(row, by_name[baseline], by_name[row.arm], len(family)),
        )
        for row, p_value in zip(family, adjusted, strict=True)
    }
    ratios = tuple(verdicts.get((row.arm, row.target, row.axis), row) for row in block.ratios)
    return replace(block, ratios=ratios)


def _seeds_needed(row: RatioRow, baseline: ArmSummary, arm: ArmSummary, family: int) -> int | None:
    """Return the seeds per arm that would detect the ratio at the level of the family's smallest p-value."""
    if row.claim is not Claim.estimate:
        return None
    base, own = (reached_costs(side.seed_costs(row.target, row.axis)) for side in (baseline, arm))
    return seeds_needed(base, own, 1 - (1 - CONFIDENCE) / family)


def _paper_block(arms: Sequence[ArmSummary], baseline: str, axes: Sequence[CostAxis]) -> TargetBlock | None:
    reference = next(arm for arm in arms if arm.name == baseline)
    best = best_mean_accuracy(reference.counted())
    if best is None:
        return None
    step, accuracy = best
    note = (
        f"the best mean accuracy of {reference.label} over its {len(reference.counted())} seeds, at step {step}: "
        "the largest of several noisy means, so it is biased upwards and was not known before the run"
    )
    return target_block(arms, baseline, (accuracy,), note, axes)


def best_mean_accuracy(curves: Sequence[SeedCurve]) -> tuple[int, float] | None:
    """Return (step, mean) of the largest mean accuracy over the steps at which all of `curves` were evaluated."""
    if not curves:
        return None
    scores = [{point.step: point.accuracy for point in curve.points} for curve in curves]
    common = sorted(set.intersection(*(set(score) for score in scores)))
    means = [(step, fsum(score[step] for score in scores) / len(scores)) for step in common]
    return max(means, key=lambda mean: mean[1], default=None)
