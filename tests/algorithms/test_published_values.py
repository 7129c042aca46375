"""Losses and gradients that the test suites of other trainers state, by their inputs and numbers alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization, PolicyGradient
from sfpo_bench.algorithms.objectives.ratios import SequenceRatio
from sfpo_bench.algorithms.objectives.topr import Topr
from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs

TOKENS, RESPONSES, LENGTH = Normalization.token_mean, Normalization.response_mean, Normalization.fixed_length


def rows(now: list[list[float]], old: list[list[float]], advantages: list[list[float]], limit: int = 0) -> LossInputs:
    """Responses as long as their lists of log-probs."""
    longest = max(map(len, now))

    def padded(lists: list[list[float]]) -> Tensor:
        return torch.tensor([[*row, *[0.0] * (longest - len(row))] for row in lists], dtype=torch.float64)

    mask = torch.tensor([[t < len(row) for t in range(longest)] for row in now])
    return LossInputs(
        log_probs_BT=padded(now).requires_grad_(True),
        old_log_probs_BT=padded(old),
        advantages_BT=padded(advantages),
        mask_BT=mask,
        counts=BatchCounts(len(now), int(mask.sum()), limit or longest),
    )


def weighted(batch: LossInputs, weights: list[list[float]]) -> LossInputs:
    return replace(batch, weights_BT=rows(weights, weights, weights).old_log_probs_BT)


def result(objective: PolicyGradient, batch: LossInputs) -> tuple[float, Tensor]:
    value = objective.loss(batch).value
    [gradient] = torch.autograd.grad(value, [batch.log_probs_BT])
    return value.item(), gradient


# NVIDIA-NeMo/RL, tests/unit/algorithms/test_loss_functions.py: ratios 0.5, 1 and 1.5, calculated by hand there.
HAND = rows([[-1.69315, -1.0, -0.59453]], [[-1.0] * 3], [[1.0, -1.0, 2.0]])
OFF_POLICY = [[0.6065, 1.6487, 0.8187]]  # exp(old - rollout) of its rollout log-probs -0.5, -1.5, -0.8


@pytest.mark.parametrize(
    ("objective", "batch", "expected"),
    [
        (Clipped(), HAND, -0.6333),
        (Clipped(), weighted(HAND, OFF_POLICY), -0.2065),
        (Clipped(), weighted(HAND, [[0.6065, 0.8, 0.8]]), -0.4744),
        (Clipped(ratio=SequenceRatio()), weighted(HAND, [[0.8] * 3]), -0.4846),
        (Cispo(smallest_weight=0.8, largest_weight=1.2), HAND, (0.8 * 1.69315 - 1.0 + 2 * 1.2 * 0.59453) / 3),
        (Cispo(smallest_weight=1.0, largest_weight=1.0), rows([[-0.5, -1.0, -1.5]], [[0.0] * 3], [[1.0, -1.0, 2.0]]),
         0.8333),
        (Clipped(kl_coefficient=0.1), replace(rows([[0.0, -1.0, -2.0]], [[0.0] * 3], [[0.0] * 3]),
                                              reference_log_probs_BT=torch.full((1, 3), -1.0)), 0.0362),
    ],
    ids=["clipped", "weighted", "truncated", "gspo", "cispo", "reinforce", "kl"],
)  # fmt: skip
def test_values_calculated_by_hand(objective: PolicyGradient, batch: LossInputs, expected: float) -> None:
    assert objective.loss(batch).value.item() == pytest.approx(expected, rel=2e-3)


# NVIDIA-NeMo/RL, tests/unit/algorithms/data/clipped_pg_loss_goldens.json: its inputs of real tokens, its results in
# float64. Its denominators carry a further 1e-8.
GOLDEN = rows([[-1.6, -0.8, -1.1], [-0.7, -1.4]], [[-1.0, -1.1, -0.8], [-0.9, -1.0]], [[1.2, -0.7, 0.4], [-1.1, 0.6]])
ROLLOUT = rows([[-1.2, -1.5, -0.7], [-1.4, -0.7]], [[-1.2, -1.5, -0.7], [-1.4, -0.7]], [[0.0] * 3, [0.0] * 2])
TOKEN_WEIGHTS = (GOLDEN.old_log_probs_BT - ROLLOUT.old_log_probs_BT).exp()


@pytest.mark.parametrize(
    ("objective", "weights", "value", "gradient"),
    [
        (Clipped(normalization=TOKENS), None, 0.18627018364195694,
         [-0.13171479239913675, 0.18898023268267997, -0.05926545753600652, 0.26870860625782017, -0.08043840536339991]),
        (Cispo(smallest_weight=0.8, largest_weight=1.2, normalization=TOKENS), TOKEN_WEIGHTS, 0.03329652014119518,
         [-0.23450932909773395, 0.2506265487024803, -0.057909594638482234, 0.435262414594309, -0.07111854904320782]),
    ],
    ids=["clipped", "cispo"],
)  # fmt: skip
def test_golden_values_and_gradients(
    objective: PolicyGradient, weights: Tensor | None, value: float, gradient: list[float]
) -> None:
    found, slope = result(objective, replace(GOLDEN, weights_BT=weights))
    assert found == pytest.approx(value, rel=1e-8)
    assert slope[GOLDEN.mask_BT].tolist() == pytest.approx(gradient, rel=1e-8)


def test_golden_value_of_gspo_with_a_weight_for_each_response() -> None:
    """Its gradient goes through the mean, so that the tokens of a response have the mean of ours; here their advantages
    differ."""
    logs = ((GOLDEN.old_log_probs_BT - ROLLOUT.old_log_probs_BT) * GOLDEN.mask_BT).sum(dim=1, keepdim=True)
    batch = replace(GOLDEN, weights_BT=logs.exp().expand_as(GOLDEN.mask_BT))
    found, slope = result(Clipped(ratio=SequenceRatio()), batch)
    assert found == pytest.approx(-0.06433245613699731, rel=1e-8)
    assert slope.sum(dim=1).tolist() == pytest.approx([3 * -0.06749293963637779, 2 * 0.06907318137816686], rel=2e-8)


# verl-project/verl, tests/trainer/ppo/test_loss_aggregation_on_cpu.py: token losses 1 to 12 in three rows of 2, 3 and 1
# real tokens, and 1 to 12 in four rows, one of them with a hole.
THREE = [[1.0, 2.0], [5.0, 6.0, 7.0], [9.0]]
MEAN_ONE = Cispo(smallest_weight=1.0, largest_weight=1.0)  # -A log pi: with A = -1 a token's loss is its number


@pytest.mark.parametrize(
    ("normalization", "limit", "expected"),
    [(LENGTH, 4, 2.5), (LENGTH, 10, 1.0), (TOKENS, 4, 5.0), (RESPONSES, 4, (1.5 + 6.0 + 9.0) / 3)],
)
def test_aggregations(normalization: Normalization, limit: int, expected: float) -> None:
    batch = rows(THREE, THREE, [[-1.0] * len(row) for row in THREE], limit)
    assert result(replace(MEAN_ONE, normalization=normalization), batch)[0] == pytest.approx(expected, rel=1e-15)
    if normalization is LENGTH:
        slope = result(replace(MEAN_ONE, normalization=LENGTH), batch)[1]
        assert torch.equal(slope, batch.mask_BT.double() / (3 * limit))


def test_aggregation_with_a_hole_and_with_an_empty_row() -> None:
    numbers = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(4, 3)
    hole = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 1]]).bool()
    empty = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0]]).bool()
    for mask, limit, expected in ((hole, 6, 53 / 24), (empty, 3, 10 / 9)):
        here = numbers[: len(mask)]
        batch = LossInputs(here, here, -torch.ones_like(here), mask, BatchCounts(len(mask), int(mask.sum()), limit))
        found = replace(MEAN_ONE, normalization=LENGTH).loss(batch).value.item()
        assert found == pytest.approx(expected, rel=1e-15)


# verl-project/verl, tests/trainer/ppo/test_topr_policy_loss_on_cpu.py: log ratios of every token, weights of responses.
@pytest.mark.parametrize(
    ("log_ratio", "largest", "weight"), [(-1.0, 1.0, 0.36787944), (2.0, 1.0, 1.0), (0.5, 2.0, 1.64872127)]
)
def test_the_weight_of_a_negative_response_in_topr(log_ratio: float, largest: float, weight: float) -> None:
    old = [[-0.6, -1.4, -0.9, -1.2]]
    batch = rows([[x + log_ratio for x in old[0]]], old, [[-1.0] * 4])
    _, slope = result(Topr(ratio=SequenceRatio(), largest_weight=largest), batch)
    assert slope[0].tolist() == pytest.approx([weight / 4] * 4, rel=1e-7)
