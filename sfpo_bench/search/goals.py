"""What a trial is judged by: a number of its curve, also while the curve is still growing.

A curve is sampled accuracy against cost, one point per evaluation. With c the cost and B the budget:

    area       (1 / B) * integral of accuracy from 0 to B, by trapezoids     the mean accuracy over the budget; large
    accuracy   accuracy at B, between two evaluations by interpolation       large
    cost       cost at which the curve first reaches `target`                small

A run that did not reach the target within B has no cost. It counts as B * (2 - best / target), with `best` its best
accuracy: worse than any run that did reach it, and the nearer the better. That number orders trials; it is no cost, and
tables show such trials as censored.

The budget is cut into rungs. A trial is reported at each rung that its curve has passed, with the goal's value for the
budget up to there, so that trials of unlike batches or passes are compared at equal cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import EvaluationRecord, JournalRecord, Split
from sfpo_bench.settings.search import GoalSettings, Measure
from sfpo_bench.statistics.cost_to_target import Outcome, cost_to_target


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracies at rising costs; `ended` once the run will add nothing."""

    costs: tuple[float, ...]
    accuracies: tuple[float, ...]
    ended: bool = False

    def up_to(self, cost: float) -> Curve:
        """The curve cut at `cost`, with the interpolated accuracy there; beyond its end the last accuracy holds."""
        inside = [(c, a) for c, a in zip(self.costs, self.accuracies, strict=True) if c <= cost]
        if inside and inside[-1][0] < cost:
            inside.append((cost, self._at(cost)))
        return Curve(tuple(c for c, _ in inside), tuple(a for _, a in inside), self.ended)

    def _at(self, cost: float) -> float:
        after = next((index for index, c in enumerate(self.costs) if c >= cost), None)
        if after is None:
            return self.accuracies[-1]
        if after == 0:
            return self.accuracies[0]
        (c0, c1), (a0, a1) = self.costs[after - 1 : after + 1], self.accuracies[after - 1 : after + 1]
        return a0 + (a1 - a0) * (cost - c0) / (c1 - c0)


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal with its budget settled."""

    name: str
    measure: Measure
    axis: CostAxis
    budget: float
    target: float

    @property
    def minimise(self) -> bool:
        return self.measure is Measure.cost

    def curve(self, records: Iterable[JournalRecord], split: Split, *, ended: bool) -> Curve:
        """The curve of a run's journal: its sampled evaluations of `split`, each cost once."""
        points: dict[float, float] = {}
        for record in records:
            if isinstance(record, EvaluationRecord) and record.split is split and record.mode == "sampled":
                points.setdefault(record.costs.on(self.axis), record.accuracy)
        costs = sorted(points)
        return Curve(tuple(costs), tuple(points[cost] for cost in costs), ended)

    def value(self, curve: Curve, share: float = 1.0) -> float:
        """The goal for `share` of the budget; NaN for a curve without a point."""
        budget = share * self.budget
        cut = curve.up_to(budget)
        if not cut.costs:
            return math.nan
        if self.measure is Measure.accuracy:
            return cut.accuracies[-1]
        if self.measure is Measure.area:
            return _mean_over_cost(cut)
        return self._cost(cut)

    def is_censored(self, curve: Curve) -> bool:
        """True when the goal is a cost and the curve never reached its target."""
        cut = curve.up_to(self.budget)
        return self.measure is Measure.cost and max(cut.accuracies, default=0.0) < self.target

    def passed(self, curve: Curve, rungs: int) -> int:
        """How many of `rungs` equal parts of the budget the curve has behind it; all of them once it has ended."""
        if curve.ended:
            return rungs
        spent = curve.costs[-1] if curve.costs else 0.0
        return min(rungs, math.floor(rungs * spent / self.budget + 1e-9))

    def _cost(self, cut: Curve) -> float:
        reached = cost_to_target(cut.costs, cut.accuracies, self.target)
        if reached.outcome is Outcome.not_reached:
            return self.budget * (2 - max(cut.accuracies) / self.target)
        return reached.cost


def _mean_over_cost(curve: Curve) -> float:
    costs, accuracies = curve.costs, curve.accuracies
    if len(costs) == 1:
        return accuracies[0]
    pieces = zip(pairwise(costs), pairwise(accuracies), strict=True)
    area = sum((c1 - c0) * (a0 + a1) / 2 for (c0, c1), (a0, a1) in pieces)
    return area / (costs[-1] - costs[0])


def settled(name: str, goal: GoalSettings, responses: int, prompts: int) -> Goal:
    """The goal with its budget: as set, or what all training steps of a run spend.

    Raises `ConfigError` when that is unknown beforehand.
    """
    planned = {CostAxis.responses: responses, CostAxis.prompts: prompts}
    budget = goal.budget or float(planned.get(goal.axis, 0))
    if not budget:
        raise ConfigError(
            f"sweep.goals.{name}.budget = 0 with axis = {goal.axis.value}: what a run spends is not known beforehand; "
            f"set sweep.goals.{name}.budget, or an axis of {' and '.join(axis.value for axis in planned)}"
        )
    return Goal(name, goal.measure, goal.axis, budget, goal.target)


def steps_within(goals: Sequence[Goal], steps: int, prompts: int, group: int) -> int:
    """Training steps of a run: those that spend the largest budget, where what a step costs is known; else `steps`."""
    per_step = {CostAxis.prompts: prompts, CostAxis.responses: prompts * group}
    if any(goal.axis not in per_step for goal in goals):
        return steps
    return max(1, *(math.ceil(goal.budget / per_step[goal.axis] - 1e-9) for goal in goals))


def budgets_set_steps(goals: Mapping[str, object]) -> bool:
    """True when every goal has a budget of its own on an axis of known cost per step: `training.steps` does not
    count."""
    known = (CostAxis.prompts, CostAxis.responses)
    return bool(goals) and all(
        isinstance(goal, Mapping) and goal.get("budget") and str(goal.get("axis") or CostAxis.responses.value) in known
        for goal in goals.values()
    )
