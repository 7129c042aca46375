"""Goals of a sweep against closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfpo_bench.core.costs import CostAxis, Costs
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import EvaluationRecord, Split
from sfpo_bench.search.goals import Curve, Goal, settled, steps_within
from sfpo_bench.settings.search import GoalSettings, Measure


def goal(measure: Measure, budget: float = 100.0, target: float = 0.5) -> Goal:
    return Goal("g", measure, CostAxis.responses, budget, target)


LINE = Curve((0.0, 25.0, 50.0, 100.0), (0.0, 0.25, 0.5, 1.0))


def test_of_a_straight_line_every_goal_is_known_in_closed_form() -> None:
    assert goal(Measure.area).value(LINE) == pytest.approx(0.5)
    assert goal(Measure.area, budget=40.0).value(LINE) == pytest.approx(0.2)
    assert goal(Measure.accuracy, budget=75.0).value(LINE) == pytest.approx(0.75)
    assert goal(Measure.cost, target=0.6).value(LINE) == pytest.approx(60.0)


def test_a_target_that_was_not_reached_counts_as_more_than_the_budget_and_less_the_nearer() -> None:
    cost = goal(Measure.cost, budget=50.0, target=0.8)
    far, near = Curve((0.0, 60.0), (0.0, 0.3)), Curve((0.0, 60.0), (0.0, 0.6))
    assert cost.value(far) > cost.value(near) > 50.0 and cost.value(Curve((0.0, 50.0), (0.0, 0.8))) == 50.0
    assert cost.is_censored(near) and not cost.is_censored(Curve((0.0, 40.0), (0.0, 0.9)))
    assert not goal(Measure.area).is_censored(far)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(1, 10))
def test_what_lies_behind_a_rung_changes_nothing_at_it(accuracies: list[float], rung: int) -> None:
    costs = tuple(100.0 * index / (len(accuracies) - 1) for index in range(len(accuracies)))
    curve = Curve(costs, tuple(accuracies))
    for measure in (Measure.area, Measure.accuracy):
        one = goal(measure)
        seen = sum(cost < 10.0 * rung for cost in costs) + 1  # the evaluation at or behind the rung is used
        cut = Curve(costs, (*accuracies[:seen], *(0.5 for _ in accuracies[seen:])))
        assert one.value(curve, rung / 10) == pytest.approx(one.value(cut, rung / 10))
        assert min(accuracies) - 1e-9 <= one.value(curve, rung / 10) <= max(accuracies) + 1e-9


def test_rungs_are_passed_by_cost_and_all_of_them_when_the_run_has_ended() -> None:
    one = goal(Measure.area)
    assert [one.passed(Curve((0.0, cost), (0.0, 0.1)), 10) for cost in (5.0, 10.0, 99.0, 150.0)] == [0, 1, 9, 10]
    assert one.passed(Curve((0.0, 5.0), (0.0, 0.1), ended=True), 10) == 10
    assert math.isnan(one.value(Curve((), ())))


def test_behind_the_end_of_a_run_its_last_accuracy_holds() -> None:
    ended = Curve((0.0, 50.0), (0.0, 0.4), ended=True)
    assert goal(Measure.area).value(ended) == pytest.approx(0.3) and goal(Measure.accuracy).value(ended) == 0.4


def record(step: int, split: Split, accuracy: float, mode: str = "sampled") -> EvaluationRecord:
    costs = Costs(responses=10 * step, tokens=70 * step)
    return EvaluationRecord(step, 0.0, costs, split, mode, 1.0, accuracy, 8, 8, {}, 0, 0.0)


def test_a_curve_is_the_sampled_accuracy_of_its_split_over_its_axis() -> None:
    records = [record(1, Split.select, 0.1), record(1, Split.report, 0.9), record(2, Split.select, 0.2)]
    greedy = record(2, Split.select, 0.7, mode="greedy")
    one = Goal("g", Measure.area, CostAxis.tokens, 100.0, 0.5)
    assert one.curve([*records, greedy], Split.select, ended=False) == Curve((70.0, 140.0), (0.1, 0.2))


def test_a_budget_in_responses_settles_how_long_a_run_is_whatever_its_batch() -> None:
    assert settled("g", GoalSettings(), responses=15360, prompts=1920).budget == 15360
    assert steps_within([goal(Measure.area, budget=15360)], 60, prompts=32, group=8) == 60
    assert steps_within([goal(Measure.area, budget=15360)], 60, prompts=16, group=8) == 120
    assert steps_within([goal(Measure.area, budget=15361)], 60, prompts=32, group=8) == 61
    tokens = Goal("g", Measure.area, CostAxis.tokens, 1e5, 0.5)
    assert steps_within([tokens], 60, prompts=32, group=8) == 60
    with pytest.raises(ConfigError, match="is not known beforehand"):
        settled("g", GoalSettings(axis=CostAxis.tokens), responses=1, prompts=1)
