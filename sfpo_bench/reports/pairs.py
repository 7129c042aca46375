"""Pairwise comparisons: which arms the runs distinguish, and the smallest difference they could have detected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.clocks import clock_problem
from sfpo_bench.reports.summary import ACCURACY, ArmSummary, PairRow
from sfpo_bench.statistics import (
    CONFIDENCE,
    FEWEST_SEEDS,
    Claim,
    Statement,
    cost_ratio,
    detectable_ratio,
    detectable_shift,
    difference_of_means,
    holm_adjusted,
    reached_costs,
    seeds_for_shift,
    seeds_needed,
)

Values = Sequence[float]
Pair = tuple[ArmSummary, ArmSummary]
Detect = Callable[[Values, Values, float], float | None]
Needed = Callable[[Values, Values, float], int | None]


def pair_rows(
    arms: Sequence[ArmSummary], baseline: str, targets: Sequence[float], axes: Sequence[CostAxis]
) -> tuple[PairRow, ...]:
    """Return the rows of every pair: final accuracy, then the cost to each target on each axis.

    Each measure is one family, adjusted by Holm; a pair without a p-value counts with p = 1."""
    # The baseline comes first, so that ratios to it have the usual direction.
    ordered = sorted(arms, key=lambda arm: arm.name != baseline)
    pairs = list(combinations(ordered, 2))
    cut = any(curve.planned_share < 1 for arm in arms for curve in arm.curves)
    found = _judged([_accuracy_row(pair, len(pairs), cut) for pair in pairs])
    problem, family = clock_problem(arms), len(pairs) * len(targets)
    for axis in axes:
        withheld = problem if axis.is_time else None
        found += _judged([_cost_row(pair, axis, goal, family, withheld) for pair in pairs for goal in targets])
    return tuple(found)


def _judged(rows: Sequence[PairRow]) -> list[PairRow]:
    adjusted = holm_adjusted([1.0 if row.p_value is None else row.p_value for row in rows])
    return [
        replace(row, adjusted_p=p, separated=p <= 1 - CONFIDENCE and _fewest(row) >= FEWEST_SEEDS)
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _fewest(row: PairRow) -> int:
    return min(row.first_seeds, row.second_seeds)


def _accuracy_row(pair: Pair, family: int, cut: bool) -> PairRow:
    first, second = (arm.final_accuracies() for arm in pair)
    row = PairRow(pair[0].name, pair[1].name, ACCURACY, None, None, len(first), len(second), family)
    if cut:
        return replace(row, reason="runs ended at their target, after budgets that differ")
    if not first or not second:
        return replace(row, reason="an arm has no run that has finished")
    found = difference_of_means(second, first)
    row = replace(row, seen=found.point, p_value=found.p_value)
    return _with_power(row, first, second, detectable_shift, seeds_for_shift)


def _cost_row(pair: Pair, axis: CostAxis, target: float, family: int, withheld: str | None) -> PairRow:
    first, second = (arm.seed_costs(target, axis.value) for arm in pair)
    row = PairRow(pair[0].name, pair[1].name, axis.value, target, None, len(first), len(second), family)
    found = Statement(Claim.none, reason=withheld) if withheld else cost_ratio(first, second)
    row = replace(row, p_value=found.p_value)
    if found.claim is Claim.none:
        return replace(row, reason=found.reason)
    if found.claim is not Claim.estimate:
        return replace(row, reason="the ratio has a bound alone, whose spread is not known")
    costs = reached_costs(first), reached_costs(second)
    return _with_power(replace(row, seen=found.point), *costs, detectable_ratio, seeds_needed)


def _with_power(row: PairRow, first: Values, second: Values, detect: Detect, needed: Needed) -> PairRow:
    """Return the row with its power at the level of the family's smallest p-value, if both variances are known."""
    if _fewest(row) < 2:
        return replace(row, reason="one seed of an arm has no variance to estimate power from")
    if all(len(set(values)) == 1 for values in (first, second)):
        return replace(row, reason="no seed differs from another, so that there is no variance to estimate power from")
    level = 1 - (1 - CONFIDENCE) / row.family
    return replace(row, detectable=detect(first, second, level), seeds_needed=needed(first, second, level))
