"""AsyPPO: shares of mini-critics, both masks against a slow loop over tokens, and the limits where it is PPO."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.advantages.gae import GeneralizedAdvantage
from sfpo_bench.algorithms.critic_spread import spreads, without_highest, without_lowest
from sfpo_bench.algorithms.masks.critic_spread import CriticSpread
from sfpo_bench.algorithms.modules.mini_critics import MiniCritics
from sfpo_bench.algorithms.objectives import Clipped, Normalization
from sfpo_bench.algorithms.penalties.spread_entropy import SpreadEntropy
from sfpo_bench.algorithms.protocols import LossInputs, Rewarded
from sfpo_bench.core.seeding import generator
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from tests.algorithms.test_objectives import LIMIT, inputs
from tests.training.policies import batch, policy
from tests.training.test_learner import SGD, largest_difference

COEFFICIENT = 0.05


def asyppo(lowest: float, highest: float, coefficient: float = COEFFICIENT) -> Clipped:
    return Clipped(
        mask=CriticSpread(lowest=lowest),
        penalty=SpreadEntropy(highest=highest, coefficient=coefficient),
        normalization=Normalization.token_mean,
    )


def valued(seed: int = 0, critics: int = 2) -> LossInputs:
    """A mini-batch with the values of critics and entropies with a gradient of their own."""
    found, source = inputs(seed), torch.Generator().manual_seed(seed)
    assert found.entropies_BT is not None
    values = {
        f"critic_{n}": torch.randn(found.mask_BT.shape, generator=source, dtype=torch.float64) * found.mask_BT
        for n in range(1, critics + 1)
    }
    rows_B = torch.arange(len(found.mask_BT)) + 3
    return replace(found, scores=values, rows_B=rows_B, entropies_BT=found.entropies_BT.clone().requires_grad_(True))


def loss(objective: Clipped, found: LossInputs) -> Tensor:
    statistics = objective.statistics(found) if objective.uses_statistics else {}
    return objective.loss(replace(found, statistics=statistics)).value


def slow(lowest: float, highest: float, found: LossInputs) -> float:
    """The definition, one token at a time."""
    tokens = [(row, t) for row in range(len(found.mask_BT)) for t in range(int(found.mask_BT[row].sum()))]

    def spread(place: tuple[int, int]) -> float:
        values = [float(scores[place]) for scores in found.scores.values()]
        mean = sum(values) / len(values)
        return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))

    order = sorted(tokens, key=spread)
    agreed = set(order[: math.floor(lowest * len(tokens))])
    differed = set(order[len(tokens) - math.floor(highest * len(tokens)) :])
    total = 0.0
    assert found.entropies_BT is not None
    for row, t in tokens:
        ratio = math.exp(float(found.log_probs_BT[row, t].detach() - found.old_log_probs_BT[row, t]))
        advantage = float(found.advantages_BT[row])
        if (row, t) not in agreed:
            total += min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
        if (row, t) not in differed:
            total += COEFFICIENT * float(found.entropies_BT[row, t].detach())
    return -total / len(tokens)


@pytest.mark.parametrize("shares", [(0.2, 0.2), (0.0, 0.5), (0.55, 0.0), (1.0, 1.0)], ids=str)
@pytest.mark.parametrize("critics", [2, 3])
def test_the_loss_is_a_slow_loop_over_tokens(shares: tuple[float, float], critics: int) -> None:
    for seed in range(3):
        found = valued(seed, critics)
        assert loss(asyppo(*shares), found).item() == pytest.approx(slow(*shares, found), abs=1e-12)


def test_the_gradient_is_the_finite_difference() -> None:
    found, objective = valued(1), asyppo(0.3, 0.3)
    loss(objective, found).backward()
    for name in ("log_probs_BT", "entropies_BT"):
        tensor: Tensor = getattr(found, name)
        assert tensor.grad is not None
        for row in range(len(found.mask_BT)):
            for t in range(LIMIT):
                values = []
                for shift in (1e-6, -1e-6):
                    moved = tensor.detach().clone()
                    moved[row, t] += shift
                    changed: dict[str, Any] = {name: moved}
                    values.append(loss(objective, replace(found, **changed)).item())
                assert float(tensor.grad[row, t]) == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-8)


def test_without_masks_it_is_ppo_with_an_entropy_bonus_and_without_that_ppo_bit_for_bit() -> None:
    found = valued(2)
    plain = Clipped(normalization=Normalization.token_mean)
    assert torch.equal(loss(asyppo(0.0, 0.0, 0.0), found), plain.loss(found).value)
    bonus = replace(plain, entropy_coefficient=COEFFICIENT).loss(found).value
    assert loss(asyppo(0.0, 0.0), found).item() == pytest.approx(bonus.item(), abs=1e-14)
    assert not asyppo(0.0, 0.2, 0.0).uses_entropy and not asyppo(0.0, 0.0).uses_statistics


def test_with_every_advantage_masked_only_entropy_is_left() -> None:
    found = valued(3)
    left = loss(asyppo(1.0, 0.0), found)
    left.backward()
    assert found.log_probs_BT.grad is None or not found.log_probs_BT.grad.any()
    assert found.entropies_BT is not None and found.entropies_BT.grad is not None
    expected = -COEFFICIENT * found.mask_BT.double() / found.mask_BT.sum()
    assert torch.allclose(found.entropies_BT.grad, expected, atol=1e-15)


def test_the_lowest_are_an_exact_count_and_the_highest_a_threshold_that_spares_equals() -> None:
    mask_BT = torch.tensor([[True, True, True, False], [True, True, True, True]])
    spreads_BT = torch.tensor([[1.0, 0.0, 2.0, 9.0], [2.0, 1.0, 2.0, 0.0]])
    assert without_lowest(spreads_BT, mask_BT, 3 / 7)[mask_BT].tolist() == [False, False, True, True, True, True, False]
    assert without_highest(spreads_BT, mask_BT, 3 / 7)[mask_BT].tolist() == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert without_highest(spreads_BT, mask_BT, 2 / 7)[mask_BT].all(), "three equal ones are not two"
    assert not without_highest(spreads_BT, mask_BT, 1.0)[mask_BT].any()
    assert int(without_lowest(spreads_BT * 0, mask_BT, 0.5)[mask_BT].sum()) == 4, "of equals the first ones go"
    assert without_highest(spreads_BT * 0, mask_BT, 0.5)[mask_BT].all()


def test_equal_spreads_are_equal_however_their_last_bits_fell() -> None:
    mask_BT = torch.ones(2, 3).bool()
    spreads_BT = torch.tensor([[0.7, 0.1, 0.7], [0.1, 0.7, 0.1]], dtype=torch.float64)
    for bits_BT in (
        spreads_BT * (1 + 1e-15),
        spreads_BT * (1 - torch.arange(6).double().view(2, 3) * 1e-9),
        spreads_BT,
    ):
        assert without_lowest(bits_BT, mask_BT, 1 / 3).int().tolist() == [[1, 0, 1], [0, 1, 1]], "the first ones"
        assert without_highest(bits_BT, mask_BT, 1 / 3).all(), "three equal ones are not two"


def test_the_spread_is_the_population_standard_deviation_and_none_where_critics_agree() -> None:
    found = valued(0, critics=3)
    stacked = torch.stack(list(found.scores.values()))
    assert torch.allclose(spreads(found), (stacked - stacked.mean(dim=0)).square().mean(dim=0).sqrt(), atol=1e-14)
    same = replace(found, scores={name: found.scores["critic_1"] for name in found.scores})
    assert float(spreads(same).abs().max()) < 1e-15


def rewarded(**scores: Tensor) -> Rewarded:
    rewards = torch.tensor([[1.0, 0.0, 0.5, 1.0]], dtype=torch.float64)
    return Rewarded(rewards, torch.tensor([[3, 1, 4, 2]]), scores=scores)


def test_identical_critics_are_one_critic_and_of_others_the_mean_counts() -> None:
    one, other = (torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)).double() for seed in (1, 2))
    gae = GeneralizedAdvantage(gamma=0.9, gae_lambda=0.7)
    alone = gae.advantages(rewarded(critic=one))
    assert torch.equal(gae.advantages(rewarded(critic_1=one, critic_2=one)), alone)
    both = gae.advantages(rewarded(critic_1=one, critic_2=other))
    assert torch.allclose(both, gae.advantages(rewarded(critic=(one + other) / 2)), atol=1e-14)
    assert torch.equal(gae.advantages(rewarded(critic_1=one, critic_2=one, judge=other)), alone), "no critic"


def test_critics_that_expect_nothing_are_reinforce() -> None:
    nothing = torch.zeros(4, 4, dtype=torch.float64)
    seen = rewarded(critic_1=nothing, critic_2=nothing)
    assert torch.equal(GeneralizedAdvantage().advantages(seen), seen.rewards_PG.reshape(-1, 1) * seen.mask_BT)


@pytest.mark.parametrize(("critics", "group"), [(2, 4), (2, 8), (3, 6)])
def test_each_response_trains_one_critic_and_each_critic_an_equal_share_of_every_prompt(
    critics: int, group: int
) -> None:
    modules, seen = MiniCritics(critics=critics), Rewarded(torch.zeros(9, group), torch.ones(9, group).long())

    def shares(step: int) -> Tensor:
        return torch.stack([modules.share(name, seen, generator(0, "modules", step)) for name in modules.names])

    found = shares(1)
    assert (found.sum(dim=0) == 1).all() and (found.sum(dim=2) == group // critics).all()
    assert torch.equal(found, shares(1)) and not torch.equal(found, shares(2)), "drawn anew each step"
    assert not (found[:, 0] == found[:, 1:].transpose(0, 1)).all(), "and for each prompt"


@pytest.mark.parametrize("mini_batches", [1, 2])
def test_micro_batches_do_not_change_what_is_learned(mini_batches: int) -> None:
    ends = []
    for tokens in (16384, 24):
        settings = LearnerSettings(
            **{**SGD, "learning_rate": 0.1}, mini_batches=mini_batches, micro_batch_tokens=tokens
        )
        learner, data = LocalLearner(policy(), asyppo(0.3, 0.3), settings, 1.0), batch(4)
        source = torch.Generator().manual_seed(5)
        shape = data.responses_BT.shape
        scores = {f"critic_{n}": torch.randn(shape, generator=source, dtype=torch.float64) for n in (1, 2)}
        learner.begin_step(1, replace(data, scores=scores))
        for _ in range(2):
            learner.optimize(replace(data, scores=scores), "pass")
        ends.append({name: weight.detach().clone() for name, weight in learner.masters.masters.items()})
    assert largest_difference(*ends) < 1e-10
