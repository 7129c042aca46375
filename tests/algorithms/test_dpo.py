"""DPO's pairs, loss and slopes against a slow loop over pairs; the order in which the rule verifier puts responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.advantages.rule_verifier import RuleVerifier
from sfpo_bench.algorithms.objectives.dpo import Dpo, pairs
from sfpo_bench.algorithms.phases import InOrder, MethodSchedule, PhaseSettings
from sfpo_bench.algorithms.protocols import LossInputs, Rewarded
from sfpo_bench.algorithms.update_rules import OnePass, Repeat, SlowFast
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Trajectory
from tests.algorithms.test_objectives import LIMIT, inputs
from tests.algorithms.test_phases import own
from tests.training.test_learner import SGD, largest_difference, learn, same_bits

GROUPS = [0, 0, 0, 1, 1, 2, 2]  # the last one's advantages are equal: no pair


def grouped(seed: int = 0) -> LossInputs:
    rows = len(GROUPS)
    batch = inputs(seed, rows)
    advantages = batch.advantages_BT.clone()
    advantages[5:] = 0.3
    return replace(
        batch, advantages_BT=advantages, groups_B=torch.tensor(GROUPS), rows_B=torch.arange(rows) + 4 * (seed % 2)
    )


def whole(objective: Dpo, batch: LossInputs) -> Tensor:
    """The loss of a mini-batch as the learner takes it."""
    with torch.no_grad():
        found = objective.statistics(batch)
    return objective.loss(replace(batch, statistics=found)).value


def slow(beta: float, batch: LossInputs) -> Tensor:
    """The definition, pair by pair and token by token, with a gradient."""
    assert batch.reference_log_probs_BT is not None
    losses = []
    for group in sorted(set(GROUPS)):
        rows = [row for row, of in enumerate(GROUPS) if of == group]
        order = sorted(rows, key=lambda row: float(batch.advantages_BT[row]))
        worst, best = order[0], order[-1]
        if float(batch.advantages_BT[best]) == float(batch.advantages_BT[worst]):
            continue
        gap = torch.zeros((), dtype=torch.float64)
        for sign, row in ((1, best), (-1, worst)):
            for t in range(int(batch.mask_BT[row].sum())):
                gap = gap + sign * (batch.log_probs_BT[row, t] - batch.reference_log_probs_BT[row, t])
        losses.append((1 + (-beta * gap).exp()).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("beta", [0.1, 1.5])
def test_value_and_gradient_are_those_of_a_slow_loop_over_pairs(beta: float) -> None:
    for seed in range(4):
        ours, theirs = grouped(seed), grouped(seed)
        found, expected = whole(Dpo(beta=beta), ours), slow(beta, theirs)
        found.backward()
        expected.backward()
        assert found.item() == pytest.approx(expected.item(), abs=1e-12)
        assert ours.log_probs_BT.grad is not None and theirs.log_probs_BT.grad is not None
        assert torch.allclose(ours.log_probs_BT.grad, theirs.log_probs_BT.grad, atol=1e-14)
        assert not ours.log_probs_BT.grad[5:].any() and not ours.log_probs_BT.grad[~ours.mask_BT].any()


def test_the_gradient_is_the_finite_difference() -> None:
    batch, objective = grouped(1), Dpo(beta=0.7)
    whole(objective, batch).backward()
    assert batch.log_probs_BT.grad is not None
    for row, t in product(range(len(GROUPS)), range(LIMIT)):
        values = []
        for shift in (1e-6, -1e-6):
            moved = batch.log_probs_BT.detach().clone()
            moved[row, t] += shift
            values.append(float(whole(objective, replace(batch, log_probs_BT=moved))))
        assert float(batch.log_probs_BT.grad[row, t]) == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-8)


def test_at_the_reference_the_loss_is_log_2() -> None:
    batch = grouped(2)
    assert batch.reference_log_probs_BT is not None
    at_start = replace(batch, log_probs_BT=batch.reference_log_probs_BT.clone().requires_grad_(True))
    assert whole(Dpo(), at_start).item() == pytest.approx(math.log(2), abs=1e-15)


def test_without_a_pair_there_is_neither_loss_nor_gradient() -> None:
    batch = grouped(3)
    equal = replace(batch, advantages_BT=torch.ones_like(batch.advantages_BT))
    found = whole(Dpo(), equal)
    found.backward()
    assert found.item() == 0 and equal.log_probs_BT.grad is not None and not equal.log_probs_BT.grad.any()


def test_shares_of_a_mini_batch_in_any_order_add_up() -> None:
    batch, objective = grouped(1), Dpo()
    found = objective.statistics(batch)
    shares = []
    for rows in ([6, 2], [0, 4, 5], [3, 1]):  # both rows of a pair are in different parts
        parts: dict[str, Any] = {
            name: getattr(batch, name)[rows]
            for name in ("log_probs_BT", "mask_BT", "advantages_BT", "reference_log_probs_BT", "groups_B", "rows_B")
        }
        shares.append(objective.loss(replace(batch, **parts, statistics=found)).value)
    assert torch.stack(shares).sum().item() == pytest.approx(slow(0.1, batch).item(), abs=1e-13)


def test_a_pair_is_the_first_best_and_the_first_worst_of_a_group_and_none_of_equals() -> None:
    assert pairs([1, 0, 1, 0, 2, 2, 5], [0, 0, 0, 0, 7, 7, 9]) == [(0, 1)]
    assert pairs([3.0, 1.0, 2.0], [4, 4, 4]) == [(0, 1)]


def test_micro_batches_do_not_change_what_pairs_teach() -> None:
    layout: dict[str, Any] = {**SGD, "learning_rate": 0.1, "mini_batches": 2}
    large, small = (
        learn(Repeat(passes=2), objective=Dpo(beta=0.5), steps=2, **layout, micro_batch_tokens=tokens)
        for tokens in (16384, 24)
    )
    assert largest_difference(large[0], small[0]) < 1e-10
    # Of the silent group no pair comes, and the first pass of the first step meets the reference.
    assert large[1][0][0].loss != pytest.approx(math.log(2), abs=1e-3), "its second mini-batch has moved already"


def test_sfpo_runs_over_pairs_and_without_a_fast_stage_it_is_one_pass_bit_for_bit() -> None:
    def ends(rule: OnePass | SlowFast) -> dict[str, Tensor]:
        return learn(rule, objective=Dpo(), steps=2, **{**SGD, "learning_rate": 0.1})[0]

    assert same_bits(ends(SlowFast(alpha=0.0)), ends(OnePass()))
    assert not same_bits(ends(SlowFast(alpha=0.5)), ends(OnePass()))


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="a pair is two responses"):
        Dpo().check("algorithm.objective", 1)


def judged(*responses: tuple[GradeStatus, FinishReason, int], group: int) -> Rewarded:
    trajectories = [
        Trajectory(
            Problem("p", "", ""),
            Completion("p", n, (1,), (2,) * length, (0.0,) * length, "", end),
            Grade(status, float(status is GradeStatus.correct), None),
            n // group,
        )
        for n, (status, end, length) in enumerate(responses)
    ]
    lengths = torch.tensor([length for *_, length in responses]).view(-1, group)
    return Rewarded(torch.zeros(lengths.shape, dtype=torch.float64), lengths, trajectories, max_response_tokens=9)


STOPPED, CUT = FinishReason.stopped, FinishReason.truncated
RIGHT, WRONG, NONE = GradeStatus.correct, GradeStatus.wrong, GradeStatus.no_answer


def order(found_PG: Tensor) -> Sequence[Sequence[int]]:
    return found_PG.argsort(dim=1, descending=True, stable=True).tolist()


def test_the_verifier_puts_right_before_wrong_finished_before_cut_and_longer_before_shorter() -> None:
    group = judged(
        *((NONE, STOPPED, 3), (RIGHT, CUT, 9), (WRONG, STOPPED, 4), (RIGHT, STOPPED, 2), (RIGHT, STOPPED, 5)),
        (WRONG, CUT, 9),
        group=6,
    )
    assert order(RuleVerifier().advantages(group)) == [[4, 3, 1, 2, 5, 0]]
    assert order(RuleVerifier(prefer_longer=False).advantages(group)) == [[3, 4, 1, 2, 0, 5]]
    assert float(RuleVerifier().advantages(group).sum()) == pytest.approx(0, abs=1e-12)


def test_a_group_without_a_right_response_has_no_order_and_one_of_equals_has_none_either() -> None:
    groups = judged((WRONG, STOPPED, 2), (NONE, CUT, 9), (RIGHT, STOPPED, 4), (RIGHT, STOPPED, 4), group=2)
    assert not RuleVerifier().advantages(groups).any()


def test_without_dpo_steps_the_rounds_are_grpo_in_stages() -> None:
    def used(**dpo: PhaseSettings) -> list[tuple[int, float]]:
        grpo, last = PhaseSettings(1, 2), PhaseSettings(3, 0, learning_rate_factor=0.5)
        phases = InOrder(named={"grpo": grpo, **dpo, "last": last}, round_steps=4)
        phases.check("algorithm.phases", 10)
        method = own()
        schedule = MethodSchedule(method, phases, 10)
        assert all(schedule.at(step).objective is method.objective for step in range(1, 11))
        return [(step, schedule.at(step).rate_factor) for step in range(1, 11)]

    assert used(dpo=PhaseSettings(3, 2, objective=Dpo())) == used()
    assert [rate for _, rate in used()] == [1, 1, 0.5, 0.5, 1, 1, 0.5, 0.5, 1, 1]


def test_a_round_is_made_up_of_its_phases_whatever_the_run_is() -> None:
    phases = InOrder(named={"a": PhaseSettings(1, 2), "b": PhaseSettings(3, 9)}, round_steps=4)
    with pytest.raises(ConfigError, match=r"b has steps 3 to 9, but algorithm.phases.round_steps = 4"):
        phases.check("algorithm.phases", 40)
    InOrder(named={"a": PhaseSettings(1, 2), "b": PhaseSettings(3, 0)}, round_steps=4).check("algorithm.phases", 3)
