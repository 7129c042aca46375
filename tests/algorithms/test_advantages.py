"""Group advantages: closed forms and what must not matter."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sfpo_bench.algorithms.advantages.gae import GeneralizedAdvantage
from sfpo_bench.algorithms.advantages.group import AdvantageScale, GroupAdvantage, group_advantages
from sfpo_bench.algorithms.advantages.group_overlong import GroupOverlong
from sfpo_bench.algorithms.advantages.leave_one_out import LeaveOneOut
from sfpo_bench.algorithms.advantages.whitened_returns import WhitenedReturns
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.core.errors import ConfigError


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


def rewarded(seed: int = 0, prompts: int = 3, group: int = 4) -> Rewarded:
    source = torch.Generator().manual_seed(seed)
    rewards_PG = torch.randn(prompts, group, generator=source, dtype=torch.float64)
    return Rewarded(rewards_PG, torch.randint(1, 9, (prompts, group), generator=source))


def test_leaving_one_out_is_the_reward_minus_the_mean_of_the_others_and_dr_grpo_times_g_over_g_minus_1() -> None:
    seen = rewarded()
    found = LeaveOneOut().advantages(seen)
    for place, reward in enumerate(seen.rewards_PG[0]):
        others = [float(other) for index, other in enumerate(seen.rewards_PG[0]) if index != place]
        assert float(found[0, place]) == pytest.approx(float(reward) - sum(others) / len(others), rel=1e-12)
    centred = GroupAdvantage(scale=AdvantageScale.none).advantages(seen)
    assert torch.allclose(found, centred * 4 / 3, atol=1e-15)
    assert not LeaveOneOut().advantages(Rewarded(torch.full((2, 3), 0.1), torch.ones(2, 3).long())).any()


@pytest.mark.parametrize("settings", [{}, {"group_baseline": True}, {"gamma": 0.9}], ids=str)
def test_whitened_returns_have_mean_0_and_variance_1_over_the_tokens_and_are_0_on_padding(
    settings: dict[str, Any],
) -> None:
    seen = rewarded()
    found = WhitenedReturns(**settings).advantages(seen)
    tokens_N = found[seen.mask_BT]
    assert found.shape == seen.mask_BT.shape and len(tokens_N) == int(seen.lengths_PG.sum())
    assert float(tokens_N.mean()) == pytest.approx(0, abs=1e-14) and float(tokens_N.var()) == pytest.approx(1, abs=1e-7)
    assert not found[~seen.mask_BT].any()


def test_returns_to_go_are_discounted_from_the_last_token() -> None:
    seen = Rewarded(torch.tensor([[2.0, 0.0]], dtype=torch.float64), torch.tensor([[3, 1]]))
    found = WhitenedReturns(gamma=0.5).advantages(seen)
    returns = torch.tensor([0.5, 1.0, 2.0, 0.0], dtype=torch.float64)  # three tokens of the first, one of the other
    expected = (returns - returns.mean()) / (returns.var() + 1e-8).sqrt()
    assert torch.allclose(torch.cat([found[0], found[1, :1]]), expected, atol=1e-15)


def test_a_response_weighs_as_many_times_as_it_has_tokens_and_scale_and_shift_of_rewards_do_not_matter() -> None:
    seen = rewarded(1)
    found = WhitenedReturns().advantages(seen)
    rewards_N = seen.rewards_PG.reshape(-1).repeat_interleave(seen.lengths_PG.reshape(-1))
    expected_N = (rewards_N - rewards_N.mean()) / (rewards_N.var() + 1e-8).sqrt()
    assert torch.allclose(found[seen.mask_BT], expected_N, atol=1e-13)
    moved = replace(seen, rewards_PG=3 + 7 * seen.rewards_PG)
    assert torch.allclose(WhitenedReturns().advantages(moved), found, atol=1e-7)


@pytest.mark.parametrize("settings", [{}, {"group_baseline": True}], ids=str)
def test_equal_rewards_give_whitened_returns_of_exactly_zero(settings: dict[str, Any]) -> None:
    seen = replace(rewarded(), rewards_PG=torch.full((3, 4), 0.1, dtype=torch.float64))
    assert not WhitenedReturns(**settings).advantages(seen).any()


@pytest.mark.parametrize("advantage", [GroupAdvantage(), LeaveOneOut(), WhitenedReturns(group_baseline=True)], ids=str)
def test_what_compares_within_a_group_refuses_groups_of_one(advantage: Any) -> None:
    advantage.check("algorithm.advantage", 2)
    with pytest.raises(ConfigError, match=r"set rollout\.group to at least 2"):
        advantage.check("algorithm.advantage", 1)
    WhitenedReturns().check("algorithm.advantage", 1)


def overlong(lengths: list[int], rewards: list[float], penalty: float = 0.5) -> torch.Tensor:
    rewarded = Rewarded(torch.tensor([rewards], dtype=torch.float64), torch.tensor([lengths]), max_response_tokens=20)
    return GroupOverlong(penalty=penalty).advantages(rewarded)


def test_a_response_that_stays_clear_of_the_limit_is_grpos_bit_for_bit() -> None:
    rewards = [1.0, 0.0, 0.0, 1.0]
    expected = group_advantages(torch.tensor([rewards], dtype=torch.float64))
    assert torch.equal(overlong([1, 16, 3, 16], rewards), expected), "a fifth of 20 tokens begins behind the 16th"
    assert torch.equal(overlong([20, 20, 19, 20], rewards, penalty=0.0), expected)


def test_the_penalty_is_dapos_line_and_half_of_it_with_rewards_of_one_and_zero() -> None:
    """Rewards of 1 and -1 with a penalty of 1 give the same advantages: they do not see the scale, but for eps."""
    lengths, rewards = [10, 17, 20, 18], [1.0, 0.0, 1.0, 1.0]
    dapos = torch.tensor([[1.0, -1.0 - 0.25, 1.0 - 1.0, 1.0 - 0.5]], dtype=torch.float64)
    assert torch.allclose(overlong(lengths, rewards), group_advantages(dapos), atol=1e-5)
    signed = [2 * reward - 1 for reward in rewards]
    assert torch.allclose(overlong(lengths, signed, penalty=1.0), group_advantages(dapos), atol=1e-14)


def valued(seed: int = 0) -> Rewarded:
    """Ragged responses with a critic's values."""
    seen = rewarded(seed)
    source = torch.Generator().manual_seed(seed + 100)
    values_BT = torch.randn(seen.mask_BT.shape, generator=source, dtype=torch.float64) * seen.mask_BT
    return replace(seen, scores={"critic": values_BT})


def slow_gae(rewards: list[float], values: list[float], gamma: float, decay: float) -> list[float]:
    """The sum of the definition, term by term."""
    steps = range(len(values))
    delta = [rewards[t] + gamma * (values[t + 1] if t + 1 < len(values) else 0.0) - values[t] for t in steps]
    return [sum((gamma * decay) ** (later - t) * delta[later] for later in range(t, len(values))) for t in steps]


@pytest.mark.parametrize(("gamma", "decay"), [(1.0, 1.0), (0.9, 0.95), (0.9, 1.0), (1.0, 0.0), (0.5, 0.3)])
def test_gae_is_the_sum_of_its_definition_on_ragged_responses_and_returns_are_advantage_plus_value(
    gamma: float, decay: float
) -> None:
    seen, advantage = valued(), GeneralizedAdvantage(gamma=gamma, gae_lambda=decay)
    found, returns, values = advantage.advantages(seen), advantage.returns(seen), seen.scores["critic"]
    assert not found[~seen.mask_BT].any() and not returns[~seen.mask_BT].any()
    lengths, rewards = seen.lengths_PG.reshape(-1).tolist(), seen.rewards_PG.reshape(-1).tolist()
    for row, (length, reward) in enumerate(zip(lengths, rewards, strict=True)):
        own = values[row, :length].tolist()
        expected = slow_gae([0.0] * (length - 1) + [reward], own, gamma, decay)
        assert found[row, :length].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-13)
        towards = [a + v for a, v in zip(expected, own, strict=True)]
        assert returns[row, :length].tolist() == pytest.approx(towards, rel=1e-12, abs=1e-13)


def test_without_values_undiscounted_gae_is_reinforce_bit_for_bit_the_reward_at_every_token() -> None:
    seen = rewarded()
    seen = replace(seen, scores={"critic": torch.zeros(seen.mask_BT.shape, dtype=torch.float64)})
    rewards_BT = seen.rewards_PG.reshape(-1, 1) * seen.mask_BT
    assert torch.equal(GeneralizedAdvantage().advantages(seen), rewards_BT)
    assert torch.equal(GeneralizedAdvantage().returns(seen), rewards_BT)
    assert torch.equal(GroupAdvantage().returns(seen), rewards_BT), (
        "what any advantage that says no other trains towards"
    )


def test_a_critic_that_knows_the_reward_leaves_no_advantage() -> None:
    seen = rewarded()
    seen = replace(seen, scores={"critic": seen.rewards_PG.reshape(-1, 1) * seen.mask_BT})
    assert not GeneralizedAdvantage(gae_lambda=0.7).advantages(seen).any()


def test_several_critics_count_by_their_mean_and_equal_ones_as_one() -> None:
    class Two(GeneralizedAdvantage):
        modules = ("first", "second")

    seen = valued()
    values, other = seen.scores["critic"], valued(1).scores["critic"][:, : seen.mask_BT.shape[1]]
    equal = replace(seen, scores={"first": values, "second": values})
    assert torch.equal(Two(gae_lambda=0.9).advantages(equal), GeneralizedAdvantage(gae_lambda=0.9).advantages(seen))
    unlike = replace(seen, scores={"first": values, "second": (2 * other - values) * seen.mask_BT})
    mean = replace(seen, scores={"critic": other * seen.mask_BT})
    assert torch.allclose(Two().advantages(unlike), GeneralizedAdvantage().advantages(mean), atol=1e-13)


def test_whitening_moves_advantages_to_mean_0_and_variance_1_and_leaves_what_the_critic_learns() -> None:
    seen, plain, whitened = valued(), GeneralizedAdvantage(), GeneralizedAdvantage(whiten=True)
    tokens_N = whitened.advantages(seen)[seen.mask_BT]
    assert float(tokens_N.mean()) == pytest.approx(0, abs=1e-14) and float(tokens_N.var()) == pytest.approx(1, abs=1e-7)
    assert torch.equal(whitened.returns(seen), plain.returns(seen))
