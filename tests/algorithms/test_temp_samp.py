"""TempSamp-R1's advantages: the shaping's closed forms, the two other treatments against slow loops, their limits."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.advantages.group import GroupAdvantage, group_advantages
from sfpo_bench.algorithms.advantages.temp_samp import TempSampAdvantage, Treatment, shaped
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Trajectory

GRADED = torch.tensor([[0.1, 0.9, 0.4, 1.0], [0.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.2]], dtype=torch.float64)
TREATMENTS = [TempSampAdvantage(treatment=treatment) for treatment in Treatment]


def of(rewards: float, tau: float = 0.8, a1: float = 0.01, a2: float = 1.0) -> float:
    return float(shaped(torch.tensor(rewards, dtype=torch.float64), tau, a1, a2))


def rewarded(rewards_PG: Tensor, *, solution: int | None = None) -> Rewarded:
    """Groups whose response at place `solution` was written by somebody else."""
    rows = []
    for group, rewards in enumerate(rewards_PG.tolist()):
        for place, reward in enumerate(rewards):
            log_probs = () if place == solution else (-0.5,)
            done = Completion(str(group), place, (1,), (2,), log_probs, "", FinishReason.stopped)
            rows.append(Trajectory(Problem(str(group), "", ""), done, Grade(GradeStatus.wrong, reward, None), group))
    return Rewarded(rewards_PG, torch.ones_like(rewards_PG, dtype=torch.long), rows, 8)


def test_the_shaping_has_its_closed_form() -> None:
    assert of(0.0) == pytest.approx(0.0868, abs=5e-5) and of(1.0) == pytest.approx(0.8018, abs=5e-5)
    for reward in (0.0, 0.3, 0.7, 0.79):
        assert of(reward) == pytest.approx(0.8 - (math.exp(0.8 - reward) - 1) / (math.e - 1), abs=1e-15)
    for reward in (0.8, 0.9, 1.0):
        assert of(reward) == pytest.approx(0.8 + 0.01 * math.log(reward - 0.8 + 1), abs=1e-15)
    assert of(0.2, tau=0.5, a1=0.3, a2=2.0) == pytest.approx(0.5 - math.expm1(0.6) / math.expm1(2.0), abs=1e-15)


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.8, 1.0])
def test_it_is_tau_at_tau_from_both_sides_and_rises(tau: float) -> None:
    assert of(tau, tau) == tau
    assert of(tau - 1e-9, tau) == pytest.approx(tau, abs=1e-8) and of(tau + 1e-9, tau) == pytest.approx(tau, abs=1e-8)
    assert all(a < b for a, b in pairwise(of(reward / 50, tau) for reward in range(51)))


def test_rewards_of_0_and_1_alone_get_the_advantages_of_grpo() -> None:
    """A fixed affine map: nothing but eps, added to a smaller spread, is left of it."""
    rewards_PG = (torch.rand(20, 8, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    plain, small = (TempSampAdvantage(eps=eps).advantages(rewarded(rewards_PG)) for eps in (1e-6, 1e-12))
    expected = GroupAdvantage().advantages(rewarded(rewards_PG))
    assert (plain - expected).abs().max() < 1e-4
    assert (small - GroupAdvantage(eps=1e-12).advantages(rewarded(rewards_PG))).abs().max() < 1e-9


def test_without_a_solution_it_is_grpo_on_shaped_rewards_or_grpo() -> None:
    of_shaped = group_advantages(shaped(GRADED, 0.8, 0.01, 1.0))
    for rule, expected in zip(TREATMENTS, (of_shaped, group_advantages(GRADED), group_advantages(GRADED)), strict=True):
        assert torch.equal(rule.advantages(rewarded(GRADED)), expected)
        assert torch.equal(rule.advantages(Rewarded(GRADED, torch.ones(3, 4).long())), expected)


@pytest.mark.parametrize("solution", [0, 3])
def test_the_shaping_and_its_statistics_are_over_all_of_the_group(solution: int) -> None:
    found = TempSampAdvantage().advantages(rewarded(GRADED, solution=solution))
    assert torch.equal(found, group_advantages(shaped(GRADED, 0.8, 0.01, 1.0)))


@pytest.mark.parametrize("solution", [0, 3])
def test_the_cap_is_a_part_of_the_largest_reward_and_on_the_solution_alone(solution: int) -> None:
    capped = GRADED.clone()
    for row in capped:
        row[solution] = min(float(row[solution]), 0.8 * max(row.tolist()))
    assert torch.equal(
        TempSampAdvantage(treatment=Treatment.cap).advantages(rewarded(GRADED, solution=solution)),
        group_advantages(capped),
    )


@pytest.mark.parametrize("solution", [0, 3])
def test_the_anchor_is_out_of_the_statistics_and_above_the_largest_advantage(solution: int) -> None:
    rule = TempSampAdvantage(treatment=Treatment.anchor)
    found = rule.advantages(rewarded(GRADED, solution=solution))
    for row, rewards in zip(found.tolist(), GRADED.tolist(), strict=True):
        own = [reward for place, reward in enumerate(rewards) if place != solution]
        mean = sum(own) / 3
        spread = math.sqrt(sum((reward - mean) ** 2 for reward in own) / 2)
        expected = [(reward - mean) / (spread + 1e-6) for reward in own]
        expected.insert(solution, 1.2 * max(expected))
        assert row == pytest.approx(expected, abs=1e-9)
    other = GRADED.clone()
    other[:, solution] = 0.37
    assert torch.equal(rule.advantages(rewarded(other, solution=solution)), found)
    silent = rule.advantages(rewarded(torch.tensor([[0.0, 0.0, 0.0, 1.0]]).double(), solution=3))
    assert not silent.any(), "samples that are all alike leave nothing to be a multiple of"


@pytest.mark.parametrize("rule", TREATMENTS, ids=lambda rule: rule.treatment.value)
def test_what_a_collector_left_out_has_no_part(rule: TempSampAdvantage) -> None:
    rows = rewarded(GRADED, solution=3)
    kept_PG = torch.tensor([[True, False, True, True]] * 3)
    found = rule.advantages(replace(rows, kept_PG=kept_PG))
    alone = rule.advantages(rewarded(GRADED[:, [0, 2, 3]], solution=2))
    assert (found[:, [0, 2, 3]] - alone).abs().max() < 1e-12 and not found[:, 1].any()


def test_an_anchor_needs_two_samples() -> None:
    TempSampAdvantage().check("algorithm.advantage", 2)
    with pytest.raises(ConfigError, match=r"rollout\.group = 2 with algorithm\.advantage\.treatment = anchor"):
        TempSampAdvantage(treatment=Treatment.anchor).check("algorithm.advantage", 2)
