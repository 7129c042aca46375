"""GSPO's ratio and CISPO's surrogate: their definitions one response at a time, their limits; what every crossing of an
objective and a ratio has in common."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from sfpo_bench.algorithms.kinds import OBJECTIVES, RATIOS
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization, PolicyGradient
from sfpo_bench.algorithms.objectives.ratios import Ratio, SequenceRatio
from sfpo_bench.algorithms.protocols import LossInputs
from tests.algorithms.test_objectives import LIMIT, inputs

# Every registered objective over every registered ratio.
CROSSINGS: list[PolicyGradient] = [
    surrogate(ratio=ratio())
    for surrogate, ratio in product(OBJECTIVES.values(), RATIOS.values())
    if issubclass(surrogate, PolicyGradient)
]


def told(objective: PolicyGradient, batch: LossInputs) -> LossInputs:
    """With what the objective must know of the mini-batch."""
    with torch.no_grad():
        return replace(batch, statistics=objective.statistics(batch))


@pytest.mark.parametrize("objective", CROSSINGS, ids=str)
def test_at_ratio_one_every_crossing_has_the_plain_policy_gradient(objective: PolicyGradient) -> None:
    batch = inputs(2)
    log_probs = batch.old_log_probs_BT.clone().requires_grad_(True)
    found = objective.loss(told(objective, replace(batch, log_probs_BT=log_probs)))
    found.value.backward()
    lengths = batch.mask_BT.sum(dim=1)
    expected = -batch.advantages_BT / lengths[:, None] / len(lengths) * batch.mask_BT
    assert log_probs.grad is not None and int(found.clipped_tokens) == 0
    assert torch.allclose(log_probs.grad, expected, atol=1e-14)


@pytest.mark.parametrize("objective", CROSSINGS, ids=str)
@pytest.mark.parametrize("normalization", [Normalization.response_mean, Normalization.token_mean])
def test_the_shares_of_single_rows_add_up(objective: PolicyGradient, normalization: Normalization) -> None:
    objective = replace(objective, normalization=normalization)
    batch = told(objective, inputs(3))

    def row(place: int) -> LossInputs:
        part = slice(place, place + 1)
        return replace(
            batch,
            log_probs_BT=batch.log_probs_BT[part],
            old_log_probs_BT=batch.old_log_probs_BT[part],
            advantages_BT=batch.advantages_BT[part],
            mask_BT=batch.mask_BT[part],
        )

    rows = [objective.loss(row(place)).value for place in range(len(batch.mask_BT))]
    assert torch.allclose(torch.stack(rows).sum(), objective.loss(batch).value, atol=1e-14)


def gspo(batch: LossInputs, low: float, high: float) -> torch.Tensor:
    """The sequence form of the paper, Eq. 5 to 7: one ratio a response, its length's root of the product."""
    losses = []
    for log_probs, old, advantage, mask in zip(
        batch.log_probs_BT, batch.old_log_probs_BT, batch.advantages_BT[:, 0], batch.mask_BT, strict=True
    ):
        s = ((log_probs - old)[mask].sum() / mask.sum()).exp()
        losses.append(-torch.minimum(s * advantage, s.clamp(1 - low, 1 + high) * advantage))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("bounds", [(0.05, 0.1), (0.5, 0.5)], ids=str)
def test_gspo_has_the_value_and_the_gradient_of_its_sequence_form(bounds: tuple[float, float]) -> None:
    low, high = bounds
    ours, theirs = inputs(4), inputs(4)
    found = Clipped(ratio=SequenceRatio(), clip_low=low, clip_high=high).loss(ours)
    found.value.backward()
    expected = gspo(theirs, low, high)
    expected.backward()
    assert found.value.item() == pytest.approx(expected.item(), abs=1e-14)
    assert ours.log_probs_BT.grad is not None and theirs.log_probs_BT.grad is not None
    assert torch.allclose(ours.log_probs_BT.grad, theirs.log_probs_BT.grad, atol=1e-14)
    cut = (ours.log_probs_BT.grad == 0) & ours.mask_BT
    assert int(found.clipped_tokens) == int(cut.sum()), "a response is cut off whole"


def test_of_responses_of_one_token_gspo_is_grpo() -> None:
    batch = inputs(5)
    short = replace(batch, mask_BT=torch.arange(LIMIT).expand_as(batch.mask_BT) < 1)
    found, grpo = (Clipped(ratio=ratio).loss(short).value for ratio in (SequenceRatio(), Ratio()))
    assert found.item() == pytest.approx(grpo.item(), abs=1e-15)


def test_tokens_of_a_response_in_any_order_have_one_sequence_ratio_and_padding_has_no_part_in_it() -> None:
    batch = inputs(6)
    ratios_BT = SequenceRatio().log_ratios(batch)
    poisoned = replace(batch, old_log_probs_BT=batch.old_log_probs_BT.masked_fill(~batch.mask_BT, math.nan))
    assert torch.equal(SequenceRatio().log_ratios(poisoned)[batch.mask_BT], ratios_BT[batch.mask_BT])
    for row, mask in zip(ratios_BT, batch.mask_BT, strict=True):
        assert torch.allclose(row[mask], row[0], atol=1e-15)


@pytest.mark.parametrize("bounds", [(0.0, 5.0), (0.8, 1.28), (0.0, 1.05)], ids=str)
def test_cispo_is_its_definition_and_no_token_loses_its_gradient(bounds: tuple[float, float]) -> None:
    smallest, largest = bounds
    batch = inputs(7)
    found = Cispo(smallest_weight=smallest, largest_weight=largest, normalization=Normalization.token_mean).loss(batch)
    found.value.backward()
    gradient = batch.log_probs_BT.grad
    assert gradient is not None
    total, bounded = 0.0, 0
    for row, t in batch.mask_BT.nonzero().tolist():
        log_prob, advantage = batch.log_probs_BT[row, t].item(), batch.advantages_BT[row, 0].item()
        ratio = math.exp(log_prob - float(batch.old_log_probs_BT[row, t]))
        weight = min(max(ratio, smallest), largest)
        bounded += weight != ratio
        total -= weight * advantage * log_prob
        assert float(gradient[row, t]) == pytest.approx(-weight * advantage / batch.counts.tokens, rel=1e-12)
    assert found.value.item() == pytest.approx(total / batch.counts.tokens, rel=1e-12)
    assert int(found.clipped_tokens) == bounded
    assert (bounded > 0) == (largest < 5), "the narrow bounds are at work"


def test_cispo_whose_weight_is_always_one_is_reinforce() -> None:
    batch = inputs(8)
    objective = Cispo(smallest_weight=1.0, largest_weight=1.0, normalization=Normalization.token_mean)
    plain = -(batch.advantages_BT * batch.log_probs_BT)[batch.mask_BT].sum() / batch.counts.tokens
    assert objective.loss(batch).value.item() == pytest.approx(plain.item(), rel=1e-12)
