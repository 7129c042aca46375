"""Compute the numbers of a league's table from its runs: ratios, scores, tie groups, arms that are the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.reports.method_facts import MethodFacts
from sfpo_bench.reports.summary import Accuracy, ArmSummary, CurvePoint, RatioRow, Summary
from sfpo_bench.statistics import holm_adjusted
from sfpo_bench.statistics.tie_groups import DifferenceOfArms, Pair, letters, paired_differences, tie_groups

# The cost axes of the table. Seconds depend on the machine and on interruptions; the comparison's own report has them.
COUNTED = tuple(axis for axis in CostAxis if not axis.is_time)
# Curves count as the same if no evaluation of any seed differs by more than this share of its responses: 1 of 768.
SAME_WITHIN = 0.0025
_RATE = "learner.learning_rate"

Weights = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The arm that another arm is the same as.

    `bits`: the final weights of every seed are equal. Otherwise no evaluation differs by more than the share `apart` of
    its responses.
    """

    arm: str
    bits: bool
    apart: float = 0.0


@dataclass(frozen=True, slots=True)
class LeagueRow:
    """The row of one arm.

    `ratios` are to the baseline, on the counted axes at every target. `group` has the letters of its tie groups; an arm
    that is the `same` as another has the other's letters. `difference` is its score minus the baseline's.
    """

    arm: str
    label: str
    rate: float | None
    ratios: tuple[RatioRow, ...]
    final: Accuracy | None
    group: str
    same: Duplicate | None
    difference: DifferenceOfArms | None
    facts: MethodFacts

    def ratio(self, target: float, axis: CostAxis) -> RatioRow | None:
        """Return the ratio at a target on an axis; None for the baseline and for an arm that is the same as another."""
        return next((row for row in self.ratios if (row.target, row.axis) == (target, axis.value)), None)


@dataclass(frozen=True, slots=True)
class League:
    """The rows of the table, sorted by tie group, and every pair that was tested."""

    baseline: str
    targets: tuple[float, ...]
    seeds: int
    responses: int
    rows: tuple[LeagueRow, ...]
    groups: tuple[tuple[str, ...], ...]
    pairs: tuple[DifferenceOfArms, ...]

    def row(self, arm: str) -> LeagueRow:
        return next(row for row in self.rows if row.arm == arm)

    @property
    def compared(self) -> tuple[LeagueRow, ...]:
        """The rows of arms that are not the same as another."""
        return tuple(row for row in self.rows if row.same is None)


def standings(summary: Summary, facts: Mapping[str, MethodFacts], weights: Weights) -> League:
    """Return the league of a comparison. `weights` has the sha256 of the last weights of each arm and seed.

    Scores are not compared if runs stopped at a target, because their budgets then differ.
    """
    duplicates = same_arms(summary, weights)
    ranked = [arm for arm in summary.arms if arm.name not in duplicates]
    cut = any(curve.planned_share < 1 for arm in summary.arms for curve in arm.curves)
    scores = {arm.name: {} if cut else _scores(arm) for arm in ranked}
    pairs = paired_differences({arm: own for arm, own in scores.items() if own})
    separated = {Pair((one.first, one.second)) for one in pairs if one.separated}
    means = {arm: fmean(own.values()) for arm, own in scores.items() if own}
    groups = tie_groups(sorted(means, key=lambda arm: -means[arm]), separated)
    ratios = _ratios(summary, [arm.name for arm in ranked])
    rows = [
        LeagueRow(
            arm.name, arm.label, _rate(arm), ratios.get(arm.name, ()), arm.final,
            _letters(groups, duplicates[arm.name].arm if arm.name in duplicates else arm.name),
            duplicates.get(arm.name),
            _to_baseline(pairs, arm.name, summary.baseline), facts[arm.name],
        )
        for arm in summary.arms
    ]  # fmt: skip
    return League(
        summary.baseline,
        summary.targets,
        max((arm.seeds_finished for arm in summary.arms), default=0),
        max((point.n for arm in summary.arms for point in _ends(arm).values()), default=0),
        tuple(sorted(rows, key=lambda row: _place(groups, row))),
        tuple(groups),
        tuple(pairs),
    )


def same_arms(summary: Summary, weights: Weights) -> dict[str, Duplicate]:
    """Return the arms that are the same as an earlier one, by name; the baseline counts as the first.

    The other arm is never itself a duplicate. Only arms with equal learning rate and equal finished seeds are compared.
    """
    found: dict[str, Duplicate] = {}
    arms = sorted(summary.arms, key=lambda arm: arm.name != summary.baseline)
    for place, arm in enumerate(arms):
        for other in arms[:place]:
            duplicate = None if other.name in found else _duplicate(other, arm, weights)
            if duplicate is not None:
                found[arm.name] = duplicate
                break
    return found


def _duplicate(other: ArmSummary, arm: ArmSummary, weights: Weights) -> Duplicate | None:
    seeds = _ends(arm).keys()
    if not seeds or seeds != _ends(other).keys() or _rate(arm) != _rate(other):
        return None
    ours, theirs = (weights.get(one.name, {}) for one in (arm, other))
    if all(ours.get(seed, "") and ours.get(seed) == theirs.get(seed) for seed in seeds):
        return Duplicate(other.name, bits=True)
    apart = [_apart(_curve(arm, seed), _curve(other, seed)) for seed in seeds]
    if any(one is None or one > SAME_WITHIN for one in apart):
        return None
    return Duplicate(other.name, bits=False, apart=max(one for one in apart if one is not None))


def _apart(first: Sequence[CurvePoint], second: Sequence[CurvePoint]) -> float | None:
    """Return the largest difference in accuracy of two curves, or None if they do not have the same steps."""
    if [(point.step, point.n) for point in first] != [(point.step, point.n) for point in second]:
        return None
    return max(round(abs(a.accuracy - b.accuracy), 9) for a, b in zip(first, second, strict=True))


def _ratios(summary: Summary, arms: Collection[str]) -> dict[str, tuple[RatioRow, ...]]:
    """Return the ratios of every arm except the baseline, adjusted by Holm as one family."""
    keys = {axis.value for axis in COUNTED}
    family = [row for row in summary.absolute.ratios if row.axis in keys and row.arm in arms]
    adjusted = holm_adjusted([1.0 if row.p_value is None else row.p_value for row in family])
    judged = [replace(row, family=len(family), adjusted_p=p) for row, p in zip(family, adjusted, strict=True)]
    return {arm: tuple(row for row in judged if row.arm == arm) for arm in arms}


def _letters(groups: Sequence[tuple[str, ...]], arm: str) -> str:
    return letters(groups, arm) if any(arm in group for group in groups) else ""


def _ends(arm: ArmSummary) -> dict[int, CurvePoint]:
    """Return the last evaluation of every finished seed."""
    finished = (curve for curve in arm.evaluated() if curve.status is SeedStatus.finished)
    return {curve.seed: curve.points[-1] for curve in finished}


def _scores(arm: ArmSummary) -> dict[int, float]:
    return {seed: point.accuracy for seed, point in _ends(arm).items()}


def _curve(arm: ArmSummary, seed: int) -> tuple[CurvePoint, ...]:
    return next(curve.points for curve in arm.curves if curve.seed == seed)


def _rate(arm: ArmSummary) -> float | None:
    value = arm.settings.get(_RATE)
    return float(value) if isinstance(value, (int, float)) else None


def _to_baseline(pairs: Sequence[DifferenceOfArms], arm: str, baseline: str) -> DifferenceOfArms | None:
    """Return the arm's score minus the baseline's."""
    for one in pairs:
        if (one.first, one.second) == (arm, baseline):
            return one
        if (one.first, one.second) == (baseline, arm):
            return turned(one)
    return None


def turned(one: DifferenceOfArms) -> DifferenceOfArms:
    """Return the difference with its arms swapped."""
    low, high = (None if end is None else 0.0 - end for end in (one.high, one.low))
    return replace(one, first=one.second, second=one.first, point=0.0 - one.point, low=low, high=high)


def _place(groups: Sequence[Sequence[str]], row: LeagueRow) -> tuple[int, int]:
    """Return the sort key of a row: the first and the last of its groups. Rows with equal keys keep their order."""
    arm = row.same.arm if row.same is not None else row.arm
    own = [number for number, group in enumerate(groups) if arm in group]
    return (own[0], own[-1]) if own else (len(groups), len(groups))
