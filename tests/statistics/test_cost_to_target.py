"""Truths about costs to a target: crossings by hand, what censoring allows to say, invariances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.calibration import is_right
from benchmarks.cost_shapes import SHAPES, said_of_costs
from sfpo_bench.statistics import (
    Claim,
    Outcome,
    SeedCost,
    cost_ratio,
    cost_to_target,
    count_reached,
    geometric_mean_interval,
    ratio_of_geometric_means,
    typical_cost,
    unseen_share,
)
from sfpo_bench.statistics.cost_to_target import LATE, TWO_KINDS
from sfpo_bench.statistics.kinds import two_kinds

RESPONSES = (0.0, 256.0, 512.0, 768.0)


def reached(*costs: float) -> list[SeedCost]:
    return [SeedCost(Outcome.reached, cost) for cost in costs]


def missed(*budgets: float) -> list[SeedCost]:
    return [SeedCost(Outcome.not_reached, budget) for budget in budgets]


def test_crossing_is_interpolated_between_the_evaluations_around_it() -> None:
    assert cost_to_target(RESPONSES, (0.1, 0.3, 0.7, 0.8), 0.5) == SeedCost(Outcome.reached, 384.0, RESPONSES[-1])


def test_target_met_exactly_costs_what_that_evaluation_cost() -> None:
    assert cost_to_target(RESPONSES, (0.1, 0.3, 0.5, 0.8), 0.5) == SeedCost(Outcome.reached, 512.0, RESPONSES[-1])


def test_a_target_met_exactly_at_the_last_evaluation_is_reached() -> None:
    assert cost_to_target(RESPONSES, (0.1, 0.2, 0.3, 0.5), 0.5) == SeedCost(Outcome.reached, 768.0, 768.0)


def test_only_the_first_crossing_counts() -> None:
    assert cost_to_target(RESPONSES, (0.0, 0.6, 0.2, 0.9), 0.3).cost == 128.0


def test_crossing_matches_a_fine_scan_of_the_interpolated_curve() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        costs, accuracies = np.cumsum(random.uniform(1, 9, 8)), random.uniform(0, 1, 8)
        grid = np.linspace(costs[0], costs[-1], 200_001)
        hits = np.flatnonzero(np.interp(grid, costs, accuracies) >= 0.5)
        found = cost_to_target(costs.tolist(), accuracies.tolist(), 0.5)
        assert (found.outcome is Outcome.not_reached) == (len(hits) == 0)
        if len(hits):
            assert found.cost == pytest.approx(grid[hits[0]], abs=1e-3)


def test_a_seed_that_never_reaches_has_its_budget_as_lower_bound() -> None:
    seed = cost_to_target(RESPONSES, (0.1, 0.3, 0.4, 0.45), 0.5)
    assert (seed.outcome, seed.lower, seed.upper) == (Outcome.not_reached, 768.0, math.inf)


def test_a_seed_there_at_the_start_has_an_upper_bound_only() -> None:
    seed = cost_to_target((100.0, 200.0), (0.6, 0.7), 0.5)
    assert (seed.outcome, seed.lower, seed.upper) == (Outcome.at_first, 0.0, 100.0)


def test_a_crossing_that_cost_nothing_counts_as_there_at_the_start() -> None:
    # Optimizer steps can stand still: a step without any signal is skipped.
    assert cost_to_target((0.0, 0.0, 4.0), (0.4, 0.6, 0.7), 0.5) == SeedCost(Outcome.at_first, 0.0, 4.0)


@pytest.mark.parametrize(
    ("costs", "accuracies"),
    [
        ((), ()),
        ((0.0,), (0.1, 0.2)),
        ((0.0, 2.0, 1.0), (0.1, 0.2, 0.3)),
        ((0.0, 1.0), (0.1, math.nan)),
        ((-1.0,), (0.1,)),
    ],
)
def test_what_is_not_a_curve_is_refused(costs: tuple[float, ...], accuracies: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected|leave"):
        cost_to_target(costs, accuracies, 0.5)


def test_all_reached_gives_the_geometric_means_and_their_ratio() -> None:
    arm, baseline = (900.0, 1100.0, 1000.0), (2100.0, 2600.0, 1900.0)
    cost, ratio = typical_cost(reached(*arm)), cost_ratio(reached(*baseline), reached(*arm))
    direct, direct_ratio = geometric_mean_interval(arm), ratio_of_geometric_means(baseline, arm)
    assert direct.interval is not None and direct_ratio.interval is not None
    assert (cost.claim, ratio.claim) == (Claim.estimate, Claim.estimate)
    assert cost.point == direct.point and cost.low == pytest.approx(direct.interval.low)
    assert (ratio.point, ratio.low) == (direct_ratio.point, direct_ratio.interval.low)
    assert ratio.point is not None and ratio.point > 1  # the arm is cheaper


def test_an_arm_that_misses_bounds_the_ratio_from_above() -> None:
    baseline, arm = reached(2000.0, 2200.0, 2100.0), [*reached(1000.0, 1100.0), *missed(15360.0)]
    statement = cost_ratio(baseline, arm)
    imputed = ratio_of_geometric_means([2000.0, 2200.0, 2100.0], [1000.0, 1100.0, 15360.0])
    assert imputed.interval is not None
    assert (statement.claim, statement.low) == (Claim.at_most, None)
    assert (statement.point, statement.high) == (imputed.point, imputed.interval.high)


def test_a_baseline_that_misses_bounds_the_ratio_from_below() -> None:
    statement = cost_ratio(missed(15360.0, 15360.0), reached(5000.0, 5500.0))
    assert (statement.claim, statement.high) == (Claim.at_least, None)
    assert statement.point == pytest.approx(15360.0 / math.sqrt(5000.0 * 5500.0))
    assert statement.low is not None and statement.point is not None and statement.low < statement.point


def test_when_both_miss_nothing_is_said() -> None:
    statement = cost_ratio([*reached(1.0), *missed(9.0)], [*reached(1.0), *missed(9.0)])
    assert (statement.claim, statement.point, statement.low, statement.high) == (Claim.none, None, None, None)
    assert "both arms" in statement.reason


def test_a_run_there_at_the_start_without_cost_makes_arms_incomparable() -> None:
    start = [SeedCost(Outcome.at_first, 0.0)]
    assert "already there" in cost_ratio(start, reached(5.0)).reason
    assert "already there" in cost_ratio(reached(5.0), start).reason
    assert typical_cost(start).claim is Claim.none


def test_a_run_there_at_a_first_evaluation_that_cost_something_bounds_both_ways() -> None:
    start = [SeedCost(Outcome.at_first, 100.0), *reached(200.0)]
    assert cost_ratio(start, reached(50.0, 60.0)).claim is Claim.at_most
    assert cost_ratio(reached(50.0, 60.0), start).claim is Claim.at_least
    assert typical_cost(start).claim is Claim.at_most


def test_a_run_that_spent_nothing_yet_says_nothing() -> None:
    assert "spent nothing" in typical_cost(missed(0.0)).reason
    assert "spent nothing" in cost_ratio(reached(1.0, 2.0), missed(0.0)).reason


def test_without_runs_nothing_is_said() -> None:
    assert typical_cost([]).claim is Claim.none
    assert cost_ratio([], reached(1.0)).claim is Claim.none


def test_one_seed_gives_a_point_without_limits() -> None:
    assert typical_cost(reached(5.0)).low is None
    assert cost_ratio(reached(6.0), reached(3.0, 4.0)).high is None
    assert cost_ratio(missed(6.0), reached(3.0)).low is None


def test_a_missed_target_costs_at_least_the_budget() -> None:
    statement = typical_cost(missed(15360.0, 15360.0))
    assert statement.claim is Claim.at_least
    assert statement.point == pytest.approx(15360.0)
    assert (statement.low, statement.high) == (None, None)
    assert statement.reason == "too few runs for a limit"


def test_the_limit_of_a_missed_target_is_that_of_the_runs_that_reached_it() -> None:
    known = geometric_mean_interval((9000.0, 11000.0, 12000.0)).interval
    statement = typical_cost([*reached(9000.0, 11000.0, 12000.0), *missed(15360.0)])
    assert known is not None and statement.low == known.low
    assert statement.point is not None and statement.point > 11000
    assert typical_cost([*reached(9000.0), *missed(15360.0, 15360.0)]).low is None


def test_runs_that_stopped_at_one_budget_borrow_the_other_arms_spread() -> None:
    arm = (5000.0, 5500.0, 6100.0)
    statement, logs = cost_ratio(missed(15360.0, 15360.0, 15360.0), reached(*arm)), np.log(arm)
    half = 4.302653 * logs.std(ddof=1) * math.sqrt(2 / 3)  # t with 2 degrees of freedom
    assert statement.low == pytest.approx(15360 * math.exp(-logs.mean() - half))
    wide = [*reached(1000.0), *missed(15360.0, 15360.0)]  # shows more spread than the arm: nothing to borrow
    own = ratio_of_geometric_means([1000.0, 15360.0, 15360.0], arm).interval
    assert own is not None and cost_ratio(wide, reached(*arm)).low == own.low


def test_the_borrowed_spread_has_the_degrees_of_freedom_of_the_arm_that_lends_it() -> None:
    arm, logs = (5000.0, 5500.0, 6100.0), np.log((5000.0, 5500.0, 6100.0))
    half = 4.302653 * logs.std(ddof=1) * math.sqrt(1 / 3 + 1 / 5)  # two degrees of freedom, though five runs stopped
    gap = math.log(15360) - logs.mean()
    assert cost_ratio(missed(*[15360.0] * 5), reached(*arm)).low == pytest.approx(math.exp(gap - half))
    assert cost_ratio(reached(*arm), missed(*[15360.0] * 5)).high == pytest.approx(math.exp(half - gap))


def test_p_values_agree_with_the_interval_or_the_limit() -> None:
    baseline, arm = (2100.0, 2600.0, 1900.0), (900.0, 1100.0, 1000.0)
    estimate = cost_ratio(reached(*baseline), reached(*arm))
    assert estimate.p_value is not None
    at_its_level = cost_ratio(reached(*baseline), reached(*arm), 1 - estimate.p_value)
    assert at_its_level.low == pytest.approx(1.0)  # the interval at confidence 1 - p just touches 1
    bound = cost_ratio(missed(9000.0, 9000.0), reached(*arm))
    assert bound.p_value is not None and bound.p_value < 0.05
    assert cost_ratio(missed(90.0, 90.0), reached(*arm)).p_value == 1.0  # at least a ratio below 1: nothing against 1
    assert cost_ratio(reached(1.0), reached(2.0, 3.0)).p_value is None


def test_the_share_of_seeds_that_n_successes_leave_unseen() -> None:
    # (1 - share)^n = 0.05: so many successes in a row happen once in twenty.
    assert (1 - unseen_share(10)) ** 10 == pytest.approx(0.05)
    assert unseen_share(0) == 1.0


def test_swapping_arms_inverts_bounds_too() -> None:
    some, all_of_them = [*reached(1000.0), *missed(9000.0)], reached(2000.0, 2500.0)
    forward, backward = cost_ratio(some, all_of_them), cost_ratio(all_of_them, some)
    assert (forward.claim, backward.claim) == (Claim.at_least, Claim.at_most)
    assert forward.low is not None and backward.high is not None
    assert forward.low == pytest.approx(1 / backward.high)


def test_a_lower_bound_lies_below_what_the_full_costs_give() -> None:
    # Whatever the hidden cost of the run that stopped at 9000: the bound's point is below the true ratio.
    for hidden in (9000.0, 20_000.0, 1e6):
        truth = cost_ratio(reached(1000.0, hidden), reached(500.0, 600.0))
        bound = cost_ratio([*reached(1000.0), *missed(9000.0)], reached(500.0, 600.0))
        assert truth.point is not None and bound.point is not None
        assert bound.point <= truth.point


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_limit_of_a_bound_holds_at_its_level(seeds: int) -> None:
    # True ratio 1; the arm's budget ends at about the 84th percentile of its costs, so some seeds are cut off.
    random, budget = np.random.default_rng(seeds), math.exp(0.3)
    draws = random.lognormal(0.0, 0.3, (1500, 2, seeds)).tolist()
    arms = [[SeedCost(Outcome.reached, x) if x < budget else missed(budget)[0] for x in arm] for _, arm in draws]
    statements = [cost_ratio(reached(*baseline), arm) for (baseline, _), arm in zip(draws, arms, strict=True)]
    limits = [statement.high for statement in statements if statement.claim is Claim.at_most]
    assert len(limits) > 400
    assert np.mean([limit is not None and limit >= 1 for limit in limits]) >= 0.95


def test_reached_seeds_are_counted() -> None:
    assert count_reached([*reached(1.0, 2.0), *missed(9.0), SeedCost(Outcome.at_first, 0.0)]) == 3


def late_runs(costs: Sequence[float], budget: float) -> list[SeedCost]:
    return [SeedCost(Outcome.reached, cost, budget) for cost in costs]


def test_the_upper_end_of_a_cost_is_always_farther_and_a_late_run_moves_the_lower_one() -> None:
    """On logs, in units of Student's half width: n = 3 gives 1 + 4/3 above, 1 below, or 1 + 1/3 where one came late;
    the point does not move."""
    costs = (700.0, 800.0, 1000.0)
    plain, late = typical_cost(late_runs(costs, 1e9)), typical_cost(late_runs(costs, 1000 / LATE - 1))
    assert typical_cost(late_runs(costs, 1000 / LATE)) == plain == typical_cost(reached(*costs))
    logs = np.log(costs)
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)  # t with 2 degrees of freedom
    for said, down in ((plain, 1.0), (late, 4 / 3)):
        assert said.point and said.low and said.high and said.point == pytest.approx(math.exp(logs.mean()))
        assert math.log(said.point / said.low) == pytest.approx(down * half)
        assert math.log(said.high / said.point) == pytest.approx(7 / 3 * half)
    assert plain.point == late.point


@pytest.mark.parametrize("seeds", [2, 5, 40])
def test_the_upper_end_nears_students_with_more_seeds_and_costs_without_spread_have_none(seeds: int) -> None:
    costs = np.exp(np.linspace(0, 0.5, seeds)).tolist()
    said, student = typical_cost(reached(*costs)), geometric_mean_interval(costs)
    assert student.interval is not None and said.high and said.point
    above = math.log(said.high / said.point) / math.log(student.interval.high / student.point)
    assert above == pytest.approx(1 + 4 / seeds)
    even = typical_cost(reached(*[7.0] * seeds))
    assert even.low == even.point == even.high == pytest.approx(7.0)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("shape", ["Pareto, 10: exponential logs, 0.1", "cost 1 + 0.2 lognormal, 1", "lognormal, 0.3"])
def test_what_is_said_of_a_cost_with_a_slow_tail_is_right(shape: str, seeds: int) -> None:
    """Student's interval covers 87 to 90 % of the first two. 20,000 draws at once, which say what each alone does."""
    random = np.random.default_rng(seeds)
    logs, truth = SHAPES[shape](random, (20_000, seeds)), float(SHAPES[shape](random, (200_000,)).mean())
    said = said_of_costs(logs, truth)
    each = [typical_cost(reached(*costs)) for costs in np.exp(logs[:100]).tolist()]
    assert [is_right(one, truth) for one in each] == said.right[:100].tolist()
    assert [one.claim is not Claim.estimate for one in each] == said.bound[:100].tolist()
    assert said.right.mean() >= 0.935


def test_late_is_after_six_tenths_of_the_budget_and_of_one_run_is_enough() -> None:
    """The share of docs/protocol.md, whose calibration holds for it and no other."""
    costs = (480.0, 530.0, 590.0)
    plain = typical_cost(reached(*costs))
    assert typical_cost(late_runs(costs, 1000.0)) == plain != typical_cost(late_runs((*costs[:2], 610.0), 1000.0))
    later = typical_cost(late_runs((*costs[:2], 610.0), 1000.0))
    alone = typical_cost(reached(*costs[:2], 610.0))
    assert later.low and alone.low and later.high and alone.high
    assert later.low < alone.low and later.high == alone.high


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_costs_that_a_budget_cuts_off_covers(seeds: int) -> None:
    # Six in ten seeds arrive within the budget; all that were seen did. The truth is that of seeds that arrive.
    random, budget = np.random.default_rng(seeds), math.exp(0.14 * 0.25)
    logs = 0.14 * random.standard_normal((60_000, seeds))
    truth = float(logs[logs <= math.log(budget)].mean())
    rows = np.exp(logs[(logs <= math.log(budget)).all(axis=1)][:2500]).tolist()
    said = [typical_cost(late_runs(row, budget)) for row in rows]
    covered = [one.low is not None and one.high is not None and one.low <= math.exp(truth) <= one.high for one in said]
    assert len(rows) == 2500 and 0.935 <= np.mean(covered) <= 0.98


FAST_AND_SLOW = (95.0, 100.0, 105.0, 102.0, 300.0)


def test_costs_of_two_kinds_give_a_bound_from_the_larger_kind() -> None:
    said, turned = (typical_cost(reached(*costs)) for costs in (FAST_AND_SLOW, [1e4 / cost for cost in FAST_AND_SLOW]))
    limits = geometric_mean_interval(FAST_AND_SLOW[:4]).interval
    assert limits is not None and (said.claim, said.low, said.high) == (Claim.at_least, limits.low, None)
    assert said.reason == TWO_KINDS
    assert turned.claim is Claim.at_most and turned.high == pytest.approx(1e4 / limits.low)


def test_two_kinds_do_not_depend_on_unit_or_order_and_need_a_gap_of_both_sizes() -> None:
    found = two_kinds(FAST_AND_SLOW)
    assert found is not None and found.slow == (300.0,)
    scaled = two_kinds([7 * cost for cost in reversed(FAST_AND_SLOW)])
    assert scaled is not None and scaled.fast == pytest.approx([7 * cost for cost in found.fast])
    assert two_kinds([100.0, 101.0, 102.0, 160.0]) is None  # less than a factor 1.7
    assert two_kinds([10.0, 20.0, 40.0, 80.0]) is None  # apart, but no more than all are
    assert two_kinds([100.0, 300.0]) is None  # nothing to tell a kind from a spread
    few = two_kinds([100.0, 101.0, 300.0])
    assert few is not None and few.larger == (100.0, 101.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gap_is_two_standard_deviations_inside_the_two_groups(sign: int) -> None:
    """Logs 0, a, a + g: inside the groups is a^2 / 2 at one degree of freedom, so g must be sqrt(2) a or more."""
    costs = [[math.exp(sign * log) for log in (0.0, a, a + 0.6)] for a in (0.41, 0.44)]
    assert [two_kinds(one) is not None for one in costs] == [True, False]


def test_of_two_kinds_alike_in_number_the_fast_one_is_the_larger() -> None:
    found = two_kinds([300.0, 100.0, 301.0, 101.0])
    assert found is not None and found.mostly_fast and found.larger == (100.0, 101.0)


def test_a_ratio_with_two_kinds_on_one_side_is_a_bound_and_swapping_inverts_it() -> None:
    even = reached(48.0, 50.0, 52.0, 51.0)
    said, turned = cost_ratio(reached(*FAST_AND_SLOW), even), cost_ratio(even, reached(*FAST_AND_SLOW))
    assert (said.claim, turned.claim) == (Claim.at_least, Claim.at_most)
    assert said.low is not None and turned.high == pytest.approx(1 / said.low)
    assert said.p_value == pytest.approx(turned.p_value)
    assert cost_ratio(reached(*FAST_AND_SLOW), reached(*FAST_AND_SLOW)).claim is Claim.estimate
    direct = ratio_of_geometric_means(FAST_AND_SLOW[:4], (48.0, 50.0, 52.0, 51.0)).interval
    assert direct is not None and said.low == pytest.approx(direct.low)


def test_an_arm_whose_seeds_are_mostly_slow_bounds_the_ratio_from_the_slow_ones() -> None:
    """The few fast ones cost less, so that the arm is at least as cheap beside an even baseline."""
    even, slow = (98.0, 100.0, 102.0, 101.0), (295.0, 300.0, 305.0, 302.0)
    said, turned = cost_ratio(reached(*even), reached(*slow, 100.0)), cost_ratio(reached(*slow, 100.0), reached(*even))
    direct = ratio_of_geometric_means(even, slow).interval
    assert direct is not None and (said.claim, turned.claim) == (Claim.at_least, Claim.at_most)
    assert said.low == pytest.approx(direct.low) and turned.high == pytest.approx(1 / direct.low)


@pytest.mark.parametrize(
    "seeds",
    [reached(95.0, 100.0, 106.0), reached(*FAST_AND_SLOW), [*reached(95.0, 100.0, 106.0), *missed(300.0)]],
    ids=["all", "two kinds", "some missed"],
)
def test_every_limit_is_at_the_level_that_is_asked_for(seeds: list[SeedCost]) -> None:
    even = reached(48.0, 50.0, 53.0)
    for said in (typical_cost, lambda own, level: cost_ratio(own, even, level)):
        lows = [said(seeds, level).low for level in (0.5, 0.8, 0.95, 0.99)]
        assert all(low is not None for low in lows) and lows == sorted(lows, key=lambda low: -(low or 0.0))
        assert len(set(lows)) == 4


@pytest.mark.parametrize(("seeds", "repetitions"), [(5, 400), (10, 400)])
def test_where_a_fifth_of_the_seeds_is_three_times_slower_what_is_said_is_right(seeds: int, repetitions: int) -> None:
    """A bound is right of all seeds; an interval, of runs that showed no second kind, of the kind that they showed."""
    random, right = np.random.default_rng(seeds), {Claim.estimate: list[bool](), Claim.at_least: list[bool]()}
    truth = 100 * 3**0.2
    for _ in range(repetitions):
        slow = random.random(seeds) < 0.2
        costs = 100 * np.exp(0.14 * random.standard_normal(seeds)) * np.where(slow, 3.0, 1.0)
        said = typical_cost(reached(*costs.tolist()))
        if said.claim is Claim.at_least:
            right[said.claim].append(said.low is not None and said.low <= truth)
        elif said.claim is Claim.estimate and not slow.any():
            right[said.claim].append(said.low is not None and said.high is not None and said.low <= 100 <= said.high)
    assert np.mean(right[Claim.at_least]) >= 0.975 and len(right[Claim.at_least]) > 200
    assert np.mean(right[Claim.estimate]) >= 0.87  # 0.95 less two standard errors of 40 cases
