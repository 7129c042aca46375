"""M-GRPO's pieces: majorities and their ties, the quartile filter, advantages without what is left out."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest
import torch

from sfpo_bench.algorithms.advantages.group import GroupAdvantage, group_advantages
from sfpo_bench.algorithms.collectors.m_grpo import MGrpo, majority, outliers
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.core.errors import ConfigError


def test_the_majority_is_the_most_frequent_answer_and_of_equals_the_first() -> None:
    assert majority(["3", "7", "7", None]) == ("7", 0.5)
    assert majority(["3", "7", "7", "3", "1"]) == ("3", 0.4)
    assert majority(["7", "3", "3", "7", "1"]) == ("7", 0.4)
    assert majority([None, None]) == (None, 0.0)
    for answers in itertools.product(["1", "2", "3", None], repeat=5):
        given = [answer for answer in answers if answer is not None]
        most = max(map(given.count, given), default=0)
        first = next((answer for answer in given if given.count(answer) == most), None)
        assert majority(answers) == (first, most / 5)


def test_low_outliers_are_those_of_numpys_quartiles() -> None:
    draws = np.random.default_rng(0)
    found = 0
    for size in (4, 5, 8, 13, 32):
        for _ in range(30):
            values = draws.lognormal(sigma=1.0, size=size) - draws.pareto(2.0, size=size)
            first, third = np.quantile(values, [0.25, 0.75])
            low = outliers(values.tolist(), 0.75)
            assert low == [bool(value < first - 0.75 * (third - first)) for value in values]
            assert sum(low) <= size / 4, "three quarters stay"
            found += sum(low)
    assert found > 30


@pytest.mark.parametrize("value", [0.0, 0.1 + 0.2, 0.7, 1 / 3, 1e-300])
def test_equal_entropies_drop_nothing(value: float) -> None:
    for size in range(2, 40):
        assert not any(outliers([value] * size, 0.0)) and not any(outliers([value] * size, 0.75))
    assert outliers([value] * 8 + [value - 1], 0.75) == [False] * 8 + [True]


def test_a_larger_factor_drops_no_more() -> None:
    values = [0.1, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 5.0]
    dropped = [sum(outliers(values, factor)) for factor in (0.0, 0.75, 1.5, 3.0)]
    assert dropped == sorted(dropped, reverse=True) and dropped[0] > dropped[-1] == 0


def test_advantages_are_those_of_the_kept_responses_alone() -> None:
    rewards_PG = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]]).double()
    kept_PG = torch.tensor([[True, True, True, False], [False, True, True, True], [False, False, True, False]])
    rows = Rewarded(rewards_PG, torch.ones(3, 4).long(), kept_PG=kept_PG)
    found = GroupAdvantage().advantages(rows)
    mean, spread = 1 / 3, statistics.stdev([1.0, 0.0, 0.0])
    assert found[0, :3].tolist() == pytest.approx([(r - mean) / (spread + 1e-6) for r in (1.0, 0.0, 0.0)])
    assert not found[1:].any(), "kept responses that are all alike, or one alone, carry no signal"
    assert found[0, 3] == 0
    everything = Rewarded(rewards_PG, rows.lengths_PG, kept_PG=torch.ones(3, 4, dtype=torch.bool))
    assert torch.equal(GroupAdvantage().advantages(everything), group_advantages(rewards_PG))


def test_a_quarter_of_the_group_is_the_momentum_policys_and_at_least_one() -> None:
    assert [MGrpo().momentum_samples(group) for group in (3, 4, 7, 8, 32, 256)] == [1, 1, 1, 2, 8, 64]
    assert [MGrpo(momentum_share=0.0).momentum_samples(group) for group in (3, 32)] == [0, 0]
    assert MGrpo(momentum_share=0.0).follower is None
    assert [MGrpo().trained(group) for group in (3, 8, 32)] == [2, 6, 24]
    for momentum in (0.0, 0.99, 1.0):
        follower = MGrpo(momentum=momentum).follower
        assert follower is not None and [follower.follow(step) for step in (1, 2)] == [1 - momentum] * 2


def test_a_group_without_two_responses_of_the_policy_is_refused() -> None:
    MGrpo().check("algorithm.collector", 3)
    with pytest.raises(ConfigError, match=r"rollout\.group = 2 with algorithm\.collector\.momentum_share = 0\.25"):
        MGrpo().check("algorithm.collector", 2)
