"""When does saving steps save time? The time ratio to a target as a function of the share u of one update pass.

u is the share of a baseline's step that one pass takes: the optimizer steps of that step. The rest of the step is
proportional to the responses. Let a step of the baseline have r responses and o optimizer steps. A run with R responses
and O optimizer steps then costs as much as C(u) steps of the baseline:

    C(u) = (1 - u) R / r + u O / o

A step of SFPO, of the same size, costs 1 + K u. C(0) counts steps and C(1) counts optimizer steps. At u = 0 the ratio
of C to a target is that of the steps saved. It falls with u if an arm takes more passes. R and O are the runs' own
counts up to the target, whatever rule, trigger or stop determined the number of passes.

The share u of these runs follows from the seconds of their steps: P seconds in passes, T in total, with m times the
baseline's optimizer steps per step:

    u = (P / m) / (T - P + P / m)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import fsum

import numpy as np

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.load import Comparison, SeedRun, SeedStatus
from sfpo_bench.reports.summary import ArmSummary, BreakEven, BreakEvenRow, PassShare, TimeRatio
from sfpo_bench.statistics import Claim, SeedCost, Statement, cost_ratio, count_reached, mean_interval

LEAST_SHARE, MOST_SHARE = 0.02, 0.95
SHARES = (0.0, *np.geomspace(LEAST_SHARE, MOST_SHARE, 14).tolist(), 1.0)
PASS_SECONDS = ("fast_seconds", "slow_seconds")
NEEDED = (CostAxis.responses, CostAxis.optimizer_steps)


def break_even(comparison: Comparison, arms: Sequence[ArmSummary]) -> BreakEven | None:
    """Return the shares and time ratios of a comparison.

    None if nothing is compared, if all arms take as many passes as the baseline, or if a log lacks their number.
    """
    plan = comparison.plan
    base = next(arm for arm in arms if arm.name == plan.baseline)
    step = _step(base)
    if step is None or not plan.targets or any(axis.value not in plan.axes for axis in NEEDED):
        return None
    rivals = [arm for arm in arms if arm.name != plan.baseline]
    if all(_passes(arm, base) in (None, 1.0) for arm in rivals):
        return None
    shares = [_share(arm, comparison.of_arm(arm.name), _passes(arm, base)) for arm in arms]
    rows = [_row(arm, base, target, step) for arm in rivals for target in plan.targets]
    return BreakEven(tuple(share for share in shares if share is not None), tuple(rows))


def _step(arm: ArmSummary) -> tuple[float, float] | None:
    """Return the mean responses and optimizer steps per step over all steps of the runs, or None before the first."""
    ends = [curve.points[-1] for curve in arm.counted()]
    steps = sum(point.step for point in ends)
    if steps == 0 or any(point.cost(axis) <= 0 for point in ends for axis in NEEDED if point.step):
        return None
    responses, updates = (fsum(point.cost(axis) for point in ends) / steps for axis in NEEDED)
    return responses, updates


def _passes(arm: ArmSummary, base: ArmSummary) -> float | None:
    own, reference = _step(arm), _step(base)
    return None if own is None or reference is None else own[1] / reference[1]


def _share(arm: ArmSummary, runs: Sequence[SeedRun], passes: float | None) -> PassShare | None:
    finished = [run for run in runs if run.status is SeedStatus.finished] or runs
    found = [share for run in finished if passes and (share := _run_share(run, passes)) is not None]
    if not found or passes is None:
        return None
    said = mean_interval(found)
    low, high = (None, None) if said.interval is None else (max(0.0, said.interval.low), min(1.0, said.interval.high))
    return PassShare(arm.name, passes, said.point, low, high, said.n)


def _run_share(run: SeedRun, passes: float) -> float | None:
    """Return the share from the seconds of one run, or None if it recorded none."""
    if "step_seconds" not in run.metrics or "slow_seconds" not in run.metrics:
        return None
    in_all = float(np.nansum(run.metrics["step_seconds"].values))
    updates = fsum(float(np.nansum(run.metrics[key].values)) for key in PASS_SECONDS if key in run.metrics)
    one = updates / passes
    return one / (in_all - updates + one) if 0 < updates <= in_all else None


def _row(arm: ArmSummary, base: ArmSummary, target: float, step: tuple[float, float]) -> BreakEvenRow:
    sides = _ends(base, target, step), _ends(arm, target, step)
    said = {share: cost_ratio(_mixed(sides[0], share), _mixed(sides[1], share)) for share in SHARES}
    reason = next((_reason(one) for one in said.values() if one.claim is not Claim.estimate), "")
    curve = () if reason else tuple(_point(share, one) for share, one in said.items())
    passes = curve[0].ratio / curve[-1].ratio if curve else None
    counts = count_reached(_mixed(sides[1], 0.0)), count_reached(_mixed(sides[0], 0.0))
    ends = (
        _even([(one.share, one.ratio) for one in curve]),
        _even([(one.share, one.low) for one in curve if one.low is not None]),
        _even([(one.share, one.high) for one in curve if one.high is not None]),
    )
    return BreakEvenRow(arm.name, target, *counts, passes, curve, *ends, reason)


def _reason(said: Statement) -> str:
    return said.reason or "the ratio of steps has a bound alone"


def _point(share: float, said: Statement) -> TimeRatio:
    assert said.point is not None
    return TimeRatio(share, said.point, said.low, said.high)


def _ends(arm: ArmSummary, target: float, step: tuple[float, float]) -> list[tuple[SeedCost, SeedCost]]:
    """Return each run's cost to the target at shares 0 and 1, in steps of the baseline."""
    found = [arm.seed_costs(target, axis.value) for axis in NEEDED]
    return [(_scaled(zero, step[0]), _scaled(one, step[1])) for zero, one in zip(*found, strict=True)]


def _scaled(cost: SeedCost, by: float) -> SeedCost:
    return replace(cost, cost=cost.cost / by, budget=cost.budget / by)


def _mixed(ends: Sequence[tuple[SeedCost, SeedCost]], share: float) -> list[SeedCost]:
    """Return the costs at a share: interpolated, because a curve reaches its target at one point on every axis."""
    return [
        replace(
            zero,
            cost=(1 - share) * zero.cost + share * one.cost,
            budget=(1 - share) * zero.budget + share * one.budget,
        )
        for zero, one in ends
    ]


def _even(curve: Sequence[tuple[float, float]]) -> float | None:
    """Return the share at which the ratio is 1. The inverse ratio is linear in it for a constant number of passes."""
    for (before, first), (after, second) in pairwise(curve):
        if (first - 1) * (second - 1) <= 0 and first != second:
            return before + (after - before) * (1 / first - 1) / (1 / first - 1 / second)
    return None
