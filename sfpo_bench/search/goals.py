"""Goals of a sweep: numbers computed from a trial's learning curve, also while the trial is running.

A curve is sampled accuracy against cost, one point per evaluation. With c the cost and B the budget:

    area       (1 / B) * integral of accuracy from 0 to B, by trapezoids     mean accuracy over the budget; maximized
    accuracy   accuracy at B, interpolated between evaluations               maximized
    cost       cost at which the curve first reaches `target`                minimized

A run that did not reach the target within B has no cost. It is scored B * (2 - best / target), with `best` its best
accuracy: worse than every run that reached the target, and better the closer it came. This score only ranks trials;
reports call it a score.

The budget is divided into rungs. A trial reports the goal at each rung that its curve has passed, for the budget up to
that rung, so that trials with different batch sizes or passes are compared at equal cost.
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
    """Accuracies at increasing costs; `ended` is True once the run has ended."""

    costs: tuple[float, ...]
    accuracies: tuple[float, ...]
    ended: bool = False

    def up_to(self, cost: float) -> Curve:
        """Return the curve up to `cost`, ending in an interpolated point; beyond its end the last accuracy is kept."""
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
    """A goal with its resolved budget."""

    name: str
    measure: Measure
    axis: CostAxis
    budget: float
    target: float

    @property
    def minimise(self) -> bool:
        return self.measure is Measure.cost

    def curve(self, records: Iterable[JournalRecord], split: Split, *, ended: bool) -> Curve:
        """Return the curve of a run's journal: its sampled evaluations of `split`, one per cost."""
        points: dict[float, float] = {}
        for record in records:
            if isinstance(record, EvaluationRecord) and record.split is split and record.mode == "sampled":
                points.setdefault(record.costs.on(self.axis), record.accuracy)
        costs = sorted(points)
        return Curve(tuple(costs), tuple(points[cost] for cost in costs), ended)

    def value(self, curve: Curve, share: float = 1.0) -> float:
        """Return the goal for `share` of the budget, or NaN for a curve without points."""
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
        """Return True if the goal is a cost and the curve never reached its target."""
        cut = curve.up_to(self.budget)
        return self.measure is Measure.cost and max(cut.accuracies, default=0.0) < self.target

    def passed(self, curve: Curve, rungs: int) -> int:
        """Return how many of `rungs` equal parts of the budget the curve has passed; all of them once it has ended."""
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
    """Return the goal with its budget: the configured one, or else what all training steps of a run spend.

    Raises `ConfigError` if that cost is not known in advance.
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
    """Return the training steps that spend the largest budget, or `steps` if the cost of a step is unknown."""
    per_step = {CostAxis.prompts: prompts, CostAxis.responses: prompts * group}
    if any(goal.axis not in per_step for goal in goals):
        return steps
    return max(1, *(math.ceil(goal.budget / per_step[goal.axis] - 1e-9) for goal in goals))


def budgets_set_steps(goals: Mapping[str, object]) -> bool:
    """Return True if every goal has a budget on an axis of known cost per step; `training.steps` is then ignored."""
    known = (CostAxis.prompts, CostAxis.responses)
    return bool(goals) and all(
        isinstance(goal, Mapping) and goal.get("budget") and str(goal.get("axis") or CostAxis.responses.value) in known
        for goal in goals.values()
    )
