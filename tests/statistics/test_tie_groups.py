"""Tie groups hold exactly the arms that no test told apart, and paired tests are Student's."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_rel

from sfpo_bench.statistics import holm_adjusted
from sfpo_bench.statistics.tie_groups import (
    DifferenceOfArms,
    Pair,
    detectable_difference,
    letters,
    paired_differences,
    tie_groups,
)

ARMS = ("p", "q", "r", "s", "t", "u")


def test_a_chain_in_which_only_the_ends_differ_is_two_groups_that_share_the_middle() -> None:
    groups = tie_groups(("a", "b", "c"), {Pair(("a", "c"))})
    assert groups == [("a", "b"), ("b", "c")]
    assert [letters(groups, arm) for arm in "abc"] == ["a", "ab", "b"]


def test_without_a_separated_pair_all_are_one_group_and_with_every_pair_each_is_its_own() -> None:
    assert tie_groups(ARMS, set()) == [ARMS]
    assert tie_groups(ARMS, {Pair(pair) for pair in combinations(ARMS, 2)}) == [(arm,) for arm in ARMS]


def test_groups_are_neighbours_without_a_separated_pair_and_none_could_be_longer() -> None:
    random = np.random.default_rng(3)
    for _ in range(60):
        pairs = [Pair(pair) for pair in combinations(ARMS, 2)]
        separated = {pair for pair in pairs if random.random() < 0.3}
        runs = [ARMS[first:last] for first in range(len(ARMS)) for last in range(first + 1, len(ARMS) + 1)]
        whole = [run for run in runs if not any(Pair(pair) in separated for pair in combinations(run, 2))]
        longest = [run for run in whole if not any(set(run) < set(other) for other in whole)]
        assert tie_groups(ARMS, separated) == longest
    assert tie_groups((), set()) == []


def test_letters_are_shortened_and_go_on_behind_z() -> None:
    groups = [("x", f"{number}", "y") if number < 3 else (f"{number}",) for number in range(28)]
    assert [letters(groups, str(number)) for number in (0, 25, 26, 27)] == ["a", "z", "aa", "ab"]
    assert letters(groups, "x") == "a-c" and letters(groups[1:3], "x") == "ab"


def test_paired_tests_are_students_and_adjusted_over_all_pairs() -> None:
    random = np.random.default_rng(1)
    scores = {arm: dict(enumerate(random.normal(0.5 + 0.02 * place, 0.02, 6))) for place, arm in enumerate("abcd")}
    found = paired_differences(scores)
    expected = [
        ttest_rel(list(scores[a].values()), list(scores[b].values())).pvalue for a, b in combinations("abcd", 2)
    ]
    assert [one.p_value for one in found] == pytest.approx(expected)
    assert [one.adjusted_p for one in found] == pytest.approx(holm_adjusted(expected))
    assert [(one.first, one.second) for one in found] == list(combinations("abcd", 2))


def test_what_a_pair_would_detect_is_at_the_level_of_the_smallest_p_of_its_family() -> None:
    random = np.random.default_rng(4)
    scores = {arm: dict(enumerate(random.normal(0.5, 0.02, 6))) for arm in "abc"}
    first = paired_differences(scores)[0]
    values = [scores["a"][seed] - scores["b"][seed] for seed in range(6)]
    assert first.detectable == pytest.approx(detectable_difference(values, 0.05 / 3))
    assert not first.separated and first.adjusted_p > 0.05


def test_what_a_seed_has_alike_leaves_the_difference() -> None:
    random = np.random.default_rng(2)
    own, seeds = random.normal(0, 0.01, (2, 8)), 10 * random.normal(size=8)
    alone = paired_differences({name: dict(enumerate(row)) for name, row in zip("ab", own, strict=True)})
    beside = paired_differences({name: dict(enumerate(row + seeds)) for name, row in zip("ab", own, strict=True)})
    assert beside[0].p_value == pytest.approx(alone[0].p_value, rel=1e-6)


def test_only_common_seeds_count_and_too_few_of_them_tell_nothing() -> None:
    [one] = paired_differences({"a": {0: 1.0, 1: 0.9, 2: 0.8}, "b": {1: 0.1, 2: 0.2, 3: 0.0}})
    assert (one.n, one.p_value, one.adjusted_p, one.separated) == (2, None, 1.0, False)
    assert one.point == pytest.approx(0.7)
    assert paired_differences({"a": {0: 1.0}, "b": {1: 1.0}}) == []


@pytest.mark.parametrize(("adjusted", "separated"), [(0.049, True), (0.051, False), (0.3, False), (0.951, False)])
def test_only_an_adjusted_p_of_a_twentieth_or_less_tells_arms_apart(adjusted: float, separated: bool) -> None:
    one = DifferenceOfArms("a", "b", 0.1, 0.0, 0.2, 6, 0.01, adjusted_p=adjusted)
    assert one.separated is separated


def test_arms_whose_scores_are_the_same_are_not_told_apart() -> None:
    [one] = paired_differences({"a": dict.fromkeys(range(5), 0.25), "b": dict.fromkeys(range(5), 0.25)})
    assert (one.p_value, one.detectable, one.separated) == (1.0, 0.0, False)


def test_a_difference_that_is_said_to_be_detectable_is_found_in_four_of_five_draws() -> None:
    random, n, level = np.random.default_rng(0), 10, 0.05 / 12
    unit = np.array([-1.0, 1.0] * (n // 2)) * np.sqrt((n - 1) / n)  # standard deviation 1
    effect = detectable_difference(list(unit), level)
    assert effect is not None
    draws = random.normal(effect, 1.0, (4000, n))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(n))
    share = float(np.mean(np.abs(t) > student.ppf(1 - level / 2, n - 1)))
    assert share == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 4000))
