"""Intervals over problems and runs: against a slow reference, in their limits, and in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmarks.score_calibration import World, covered, differences, low_p
from sfpo_bench.statistics import mean_interval
from sfpo_bench.statistics.crossed import (
    BenchmarkSpread,
    RunSpread,
    Scores,
    Spread,
    crossed_spread,
    difference_interval,
    difference_spread,
    share_interval,
)
from sfpo_bench.statistics.intervals import share_limits
from sfpo_bench.statistics.permutation import sign_flip_p

Array = NDArray[np.float64]


def reference_components(y: Array) -> tuple[float, float]:
    """Variance of the grand mean from problems and from runs, by the textbook's table of a two-way layout."""
    runs, problems = y.shape
    grand = sum(y[s, p] for s in range(runs) for p in range(problems)) / (runs * problems)
    run_mean = [sum(y[s, p] for p in range(problems)) / problems for s in range(runs)]
    problem_mean = [sum(y[s, p] for s in range(runs)) / runs for p in range(problems)]
    ms_runs = problems * sum((m - grand) ** 2 for m in run_mean) / (runs - 1)
    ms_problems = runs * sum((m - grand) ** 2 for m in problem_mean) / (problems - 1)
    rest = sum((y[s, p] - run_mean[s] - problem_mean[p] + grand) ** 2 for s in range(runs) for p in range(problems))
    ms_cells = rest / ((runs - 1) * (problems - 1))
    return ms_problems / (runs * problems), max(0.0, (ms_runs - ms_cells) / (runs * problems))


def test_components_are_those_of_the_two_way_table() -> None:
    random = np.random.default_rng(0)
    for runs in (2, 4) * 10:
        y = random.random((runs, 9)) + random.random((runs, 1))
        spread = crossed_spread([y])
        assert (spread.problems_variance, spread.runs_variance) == pytest.approx(reference_components(y))
        assert spread.mean == pytest.approx(y.mean())


def t_squared(degrees: float) -> float:
    return float(stats.t.ppf(0.975, degrees) ** 2)


Z_SQUARED = t_squared(np.inf)


def test_several_benchmarks_add_their_variances_with_satterthwaites_degrees() -> None:
    """Of a mean of two: each part a quarter of its own; of the runs the variance of their means, less what the cells
    put into it."""
    random = np.random.default_rng(10)
    small, large = random.random((3, 5)), random.random((3, 12))
    small += 2 * random.random((3, 1))
    both, parts = crossed_spread([small, large]), [reference_components(y)[0] for y in (small, large)]
    assert both.problems_variance == pytest.approx(sum(parts) / 4) and both.problems == 17
    means = (small.mean(axis=1) + large.mean(axis=1)) / 2
    runs, cells = float(means.var(ddof=1)) / 3, (cell_variance(small) + cell_variance(large)) / 4
    assert both.runs_variance == pytest.approx(runs - cells) and both.runs_variance > 0
    square = t_squared(2) * runs - Z_SQUARED * cells
    assert both.runs_square(0.975) == pytest.approx(square) and square > 0
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 4 + parts[1] ** 2 / 11)
    assert both.half_width(0.975) ** 2 == pytest.approx(t_squared(degrees) * sum(parts) / 4 + square)


def test_the_runs_of_two_arms_add_their_variances_and_the_smaller_number_is_told() -> None:
    random = np.random.default_rng(11)
    first, second = (random.random((runs, 8)) + random.random((runs, 1)) for runs in (3, 5))
    ours, theirs, both = crossed_spread([first]), crossed_spread([second]), difference_spread([first], [second])
    assert both.runs_variance == pytest.approx(ours.runs_variance + theirs.runs_variance)
    a, b = (float(y.mean(axis=1).var(ddof=1)) / len(y) for y in (first, second))
    degrees, cells = (a + b) ** 2 / (a**2 / 2 + b**2 / 4), cell_variance(first) + cell_variance(second)
    assert both.runs_square(0.975) == pytest.approx(t_squared(degrees) * (a + b) - Z_SQUARED * cells)
    assert (both.runs, ours.runs, theirs.runs) == (3, 3, 5)
    assert difference_spread([first[:1]], [second]).runs_variance == pytest.approx(theirs.runs_variance)


def cell_variance(y: Array) -> float:
    """What runs x problems and sampling put into the variance of the mean, by its definition."""
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0, keepdims=True) + y.mean()
    return float((rest**2).sum() / ((y.shape[0] - 1) * (y.shape[1] - 1)) / y.size)


def test_components_estimate_the_true_variance_without_bias() -> None:
    """(0.3^2 + 0.1^2/5) / 30 of the problems, 0.2^2 / 5 of the runs; the mean over 4000 experiments."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(4000):
        y = (
            0.2 * random.standard_normal((5, 1))
            + 0.3 * random.standard_normal((1, 30))
            + 0.1 * random.standard_normal((5, 30))
        )
        spread = crossed_spread([y])
        found.append((spread.mean, spread.problems_variance + spread.runs_variance))
    means, variances = np.array(found).T
    true = 0.2**2 / 5 + 0.3**2 / 30 + 0.1**2 / 150
    assert means.var() == pytest.approx(true, rel=0.08)
    assert variances.mean() == pytest.approx(true, rel=0.04)


def test_one_run_is_students_interval_in_the_middle_and_that_of_a_share_at_the_ends() -> None:
    random = np.random.default_rng(2)
    scores = random.random(400)
    middle, student = share_interval(crossed_spread([scores]), 4), mean_interval(scores.tolist()).interval
    assert student is not None
    assert (middle.low, middle.high) == pytest.approx((student.low, student.high), abs=0.001)
    none, all_right = (share_interval(crossed_spread([np.full(30, score)])) for score in (0.0, 1.0))
    assert none.low == 0.0 and none.high == pytest.approx(1 - (1 / 28) ** (1 / 30))  # 0.7 (1 - p)^30 = 2.5 %
    assert all_right.high == 1.0 and all_right.low == pytest.approx((1 / 28) ** (1 / 30))


def test_an_average_that_is_all_wrong_allows_for_its_smaller_benchmark() -> None:
    """Ends of independent parts add up as squares: of one benchmark its own, of two alike 1 / sqrt(2) of it."""
    small, large = np.zeros((1, 30)), np.zeros((1, 500))
    alone, twice, mixed = (share_interval(crossed_spread(parts)) for parts in ([small], [small] * 2, [small, large]))
    assert twice.high == pytest.approx(alone.high / np.sqrt(2))
    other = share_interval(crossed_spread([large])).high
    assert mixed.high == pytest.approx(np.hypot(alone.high, other) / 2)


def test_equally_hard_problems_have_the_variance_of_their_samples_and_few_of_them_a_wide_interval() -> None:
    """Share 1/2 of each of P problems: 4 samples each are 4 P trials, of which Student's t for P - 1 takes its part."""
    found = share_interval(crossed_spread([np.full((1, 30), 0.5)]), 4)
    trials = 120 * (1.959964 / 2.045230) ** 2
    assert (found.low, found.high) == pytest.approx(share_limits(0.5, trials, 0.975))
    two = share_interval(crossed_spread([np.array([[0.5, 0.5]])]), 4)
    assert two.low < 0.01 and two.high > 0.99


def test_two_runs_that_lie_close_together_by_chance_are_not_believed() -> None:
    """W_runs = V_cells: what the variance between runs is worth without bias is 0, what it may be is not."""
    spread = Spread(0.5, (BenchmarkSpread(0.5, 0.001, 100, 100),), (RunSpread(1e-4, 1e-4, 2),))
    assert spread.runs_variance == 0.0
    assert spread.runs_square(0.975) == pytest.approx((12.706205**2 - 1.959964**2) * 1e-4)
    many = Spread(0.5, spread.benchmarks, (RunSpread(1e-4, 1e-4, 1_000_001),))
    assert many.runs_square(0.975) == pytest.approx(0.0, abs=1e-8)


def test_order_of_problems_and_runs_does_not_matter_and_swapping_arms_turns_the_sign() -> None:
    random = np.random.default_rng(3)
    first, second = random.random((3, 20)), random.random((4, 20))
    order = random.permutation(20)
    spread = difference_spread([first], [second])
    moved = difference_spread([first[::-1][:, order]], [second[:, order]])
    swapped = difference_spread([second], [first])
    assert moved.mean == pytest.approx(spread.mean) and moved.half_width(0.975) == pytest.approx(
        spread.half_width(0.975)
    )
    assert swapped.mean == pytest.approx(-spread.mean)
    assert swapped.half_width(0.975) == pytest.approx(spread.half_width(0.975))


def test_averages_weigh_benchmarks_alike_whatever_their_size() -> None:
    spread = crossed_spread([np.r_[np.zeros(5), np.ones(5)][None], np.ones((1, 1000))])
    assert spread.mean == pytest.approx(0.75)
    assert spread.problems_variance == pytest.approx(0.5**2 * 10 / 9 / 10 / 4)


def test_pairing_takes_the_difficulty_of_the_problems_out() -> None:
    random = np.random.default_rng(4)
    difficulty = random.random((1, 200))
    first, second = difficulty + 0.01 * random.standard_normal((1, 200)), difficulty
    paired = difference_spread([first], [second], samples=100)
    alone = crossed_spread([first])
    assert paired.half_width(0.975) < alone.half_width(0.975) / 10


def test_a_model_against_itself_differs_by_nothing_and_two_at_zero_may_yet_differ() -> None:
    scores = np.random.default_rng(5).random((1, 50))
    spread = difference_spread([scores], [scores])
    assert spread.mean == 0.0 and difference_interval(spread).contains(0.0)
    assert sign_flip_p([(scores - scores)[0]]) == 1.0
    zero = difference_spread([np.zeros((1, 30))], [np.zeros((1, 30))])
    assert 0.03 < difference_interval(zero).high < 0.1


@pytest.mark.parametrize(("samples", "runs"), [(1, 1), (4, 1), (1, 2), (4, 3)])
def test_models_that_differ_nowhere_have_the_variance_of_the_pseudo_observations(samples: int, runs: int) -> None:
    """1 / N on the squares and 2 / N on the number of problems, N = samples x runs of the smaller arm."""
    n = samples * runs
    spread = difference_spread([np.zeros((runs, 30))], [np.zeros((runs + 1, 30))], samples)
    size = 30 + 2 / n
    assert spread.problems_variance == pytest.approx(1 / n / (size - 1) / size)


def test_an_interval_of_a_difference_ends_at_one() -> None:
    ours, theirs = np.array([[1.0, 1.0, 1.0, 0.0]]), np.zeros((1, 4))
    up, down = (
        difference_interval(difference_spread([ours], [theirs])),
        difference_interval(difference_spread([theirs], [ours])),
    )
    assert up.high == 1.0 and down.low == -1.0 and up.low == -down.high < 0.75


@pytest.mark.parametrize(
    "wrong", [[], [np.ones((2, 1))], [np.ones((2, 5)), np.ones((3, 5))], [np.full((1, 3), np.nan)]]
)
def test_what_has_no_spread_is_refused(wrong: list[Scores]) -> None:
    with pytest.raises(ValueError, match=r"expected|leave|fewer"):
        crossed_spread(wrong)


@pytest.mark.parametrize(
    "world",
    [
        World(30, 4, 1, 0.0),
        World(100, 1, 1, -5.0),  # near the floor
        World(10, 16, 1, 5.0),  # near the ceiling, few problems that seldom show the hard ones: 80 % with Wilson's
        World(100, 1, 2, 0.0, 0.5),  # two runs: 90 % where t^2 V_cells is taken out
        World(100, 4, 2, 3.0, 0.5),
        World(30, 16, 3, 5.0, 0.5),
        World(100, 4, 10, -0.5, 0.3),
        World(30, 16, 2, 3.0, 0.5, "pass", 4),
        World(30, 16, 2, 3.0, 0.5, "maj", 16),
    ],
)
def test_intervals_cover_in_simulation(world: World) -> None:
    """At least 93.5 % where 95 is meant, less two standard errors of a share in 400."""
    assert covered(world, 400, np.random.default_rng(6)) >= 0.91


@pytest.mark.parametrize("world", [World(200, 4, 1, -0.5), World(200, 4, 3, -0.5, 0.3), World(200, 4, 10, -0.5, 0.3)])
def test_equal_arms_are_told_apart_in_one_of_twenty_and_a_detectable_difference_is_found(world: World) -> None:
    """Percentages: held, excluded, p at 0.05; three to four standard errors of a share in 400, and of one in 60."""
    _, held, excluded, detectable = differences(world, 0.0, 400, np.random.default_rng(8))
    assert held >= 91 and excluded <= 9
    assert low_p(world, 0.0, 60, np.random.default_rng(7)) <= 14
    slope = 100 * (world.truth(0.05) - world.truth(-0.05)) / 0.1  # points of score per unit of ability
    _, held, excluded, _ = differences(world, detectable / slope, 400, np.random.default_rng(9))
    assert held >= 91 and 62 <= excluded <= 93
