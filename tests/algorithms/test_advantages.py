"""Group advantages: closed forms and what must not matter."""

import pytest
import torch

from sfpo_bench.algorithms.advantages import AdvantageScale, group_advantages


def test_two_responses_one_right_give_plus_and_minus_one_over_sqrt_two() -> None:
    # mean 1/2, sample standard deviation sqrt(1/2): (1 - 1/2) / sqrt(1/2) = 1 / sqrt(2)
    advantages = group_advantages(torch.tensor([[1.0, 0.0]], dtype=torch.float64), eps=0.0)
    assert torch.allclose(advantages, torch.tensor([[0.5**0.5, -(0.5**0.5)]], dtype=torch.float64), atol=1e-12)


def test_a_millionth_is_added_to_the_deviation_unless_another_number_is_asked_for() -> None:
    advantages = group_advantages(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    assert float(advantages[0, 0]) == pytest.approx(0.5 / (0.5**0.5 + 1e-6), rel=1e-12)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 0.7])
@pytest.mark.parametrize("scale", list(AdvantageScale))
def test_a_group_of_equal_rewards_carries_exactly_no_signal(reward: float, scale: AdvantageScale) -> None:
    assert torch.equal(group_advantages(torch.full((3, 7), reward), scale), torch.zeros(3, 7))


def test_groups_do_not_see_each_other() -> None:
    rewards_PG = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    together = group_advantages(rewards_PG)
    assert torch.equal(together, torch.cat([group_advantages(row[None]) for row in rewards_PG]))


def test_order_within_a_group_does_not_matter() -> None:
    rewards_PG = torch.rand(1, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(group_advantages(rewards_PG)[:, order], group_advantages(rewards_PG[:, order]), atol=1e-14)


def test_advantages_are_centred_and_std_scaling_removes_the_scale_of_rewards() -> None:
    rewards_PG = torch.rand(5, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    advantages = group_advantages(rewards_PG, eps=0.0)
    assert torch.allclose(advantages.sum(dim=1), torch.zeros(5, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(advantages.std(dim=1), torch.ones(5, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(group_advantages(7 * rewards_PG + 2, eps=0.0), advantages, atol=1e-12)


def test_without_scaling_an_advantage_is_the_reward_minus_its_group_mean() -> None:
    advantages = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), AdvantageScale.none)
    assert torch.equal(advantages, torch.tensor([[0.75, -0.25, -0.25, -0.25]]))


def test_a_group_of_one_has_no_signal() -> None:
    assert torch.equal(group_advantages(torch.tensor([[1.0], [0.0]])), torch.zeros(2, 1))
