"""GRPO-Guard's ratio for text: its slow loop, what it takes away, and where it changes nothing."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
import torch

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.objectives.position_standardized import PositionStandardized
from sfpo_bench.algorithms.protocols import Loss, LossInputs
from tests.algorithms.test_objectives import inputs

GUARD = Clipped(ratio=PositionStandardized())


def loss(objective: PolicyGradient, batch: LossInputs, of: LossInputs | None = None) -> Loss:
    """With the statistics of a mini-batch, `batch` itself where no other is given."""
    with torch.no_grad():
        found = objective.statistics(batch if of is None else of)
    return objective.loss(replace(batch, statistics=found))


def slow_logs(batch: LossInputs, floor: float) -> list[list[float]]:
    """z of every token, one position after another."""
    logs = [
        (new - old)[mask].tolist()
        for new, old, mask in zip(batch.log_probs_BT, batch.old_log_probs_BT, batch.mask_BT, strict=True)
    ]
    longest = max(map(len, logs))
    columns = [[row[t] for row in logs if len(row) > t] for t in range(longest)]
    pooled = math.sqrt(
        sum(statistics.variance(column) * (len(column) - 1) for column in columns if len(column) > 1)
        / sum(len(column) - 1 for column in columns)
    )
    deviations = [statistics.stdev(column) if len(column) > 1 else pooled for column in columns]
    return [
        [(x - statistics.fmean(columns[t])) * max(pooled, floor) / max(deviations[t], floor) for t, x in enumerate(row)]
        for row in logs
    ]


@pytest.mark.parametrize("floor", [0.01, 0.25, 9.0])
def test_the_logs_and_their_gradient_are_those_of_the_slow_loop(floor: float) -> None:
    batch, ratio = inputs(21), PositionStandardized(floor=floor)
    batch.mask_BT[0] = True  # the last positions are of one response alone
    alone_T = batch.mask_BT.sum(dim=0) == 1
    assert alone_T.any() and bool((ratio.statistics(batch)["scale_T"][alone_T] == 1).all())
    found = ratio.log_ratios(replace(batch, statistics=ratio.statistics(batch)))
    expected = slow_logs(batch, floor)
    for row, mask, z in zip(found, batch.mask_BT, expected, strict=True):
        assert row[mask].tolist() == pytest.approx(z, abs=1e-12)
    # Mean and scale are detached: the gradient is the scale of the position alone.
    [slope] = torch.autograd.grad(found[batch.mask_BT].sum(), [batch.log_probs_BT])
    assert torch.allclose(slope, ratio.statistics(batch)["scale_T"] * batch.mask_BT, atol=1e-14)


def test_a_constant_added_at_each_position_changes_nothing() -> None:
    batch = inputs(22)
    shift = torch.linspace(-2.0, 3.0, batch.mask_BT.shape[1], dtype=torch.float64)
    moved = replace(batch, old_log_probs_BT=batch.old_log_probs_BT + shift)
    assert loss(GUARD, moved).value.item() == pytest.approx(loss(GUARD, batch).value.item(), abs=1e-12)
    assert loss(Clipped(), moved).value.item() != pytest.approx(loss(Clipped(), batch).value.item(), abs=0.1)


def test_positions_of_one_deviation_and_no_mean_are_grpo() -> None:
    batch = inputs(23, rows=4)
    ratios = torch.tensor([0.3, -0.3, 0.1, -0.1], dtype=torch.float64)
    logs = torch.stack([ratios, ratios.flip(0), -ratios, ratios.roll(1), ratios.roll(2), ratios], dim=1)
    full = torch.ones_like(batch.mask_BT)
    even = replace(batch, log_probs_BT=batch.old_log_probs_BT + logs, mask_BT=full)
    assert loss(GUARD, even).value.item() == pytest.approx(Clipped().loss(even).value.item(), abs=1e-14)


def test_at_ratio_one_nothing_is_divided_by_zero_and_the_gradient_is_the_plain_one() -> None:
    batch = inputs(24)
    log_probs = batch.old_log_probs_BT.clone().requires_grad_(True)
    loss(GUARD, replace(batch, log_probs_BT=log_probs)).value.backward()
    lengths = batch.mask_BT.sum(dim=1)
    expected = -batch.advantages_BT / lengths[:, None] / len(lengths) * batch.mask_BT
    assert log_probs.grad is not None and torch.allclose(log_probs.grad, expected, atol=1e-14)


def test_the_spread_of_every_position_becomes_the_pooled_one() -> None:
    batch = inputs(25, rows=12)
    ratio = PositionStandardized(floor=1e-9)
    z = ratio.log_ratios(replace(batch, statistics=ratio.statistics(batch))).detach()
    columns = [z[:, t][batch.mask_BT[:, t]] for t in range(z.shape[1]) if batch.mask_BT[:, t].sum() > 1]
    spreads = [float(column.std()) for column in columns]
    assert spreads == pytest.approx([spreads[0]] * len(spreads)) and len(spreads) > 3
    assert all(abs(float(column.mean())) < 1e-12 for column in columns)


def test_rows_at_hand_use_the_mini_batchs_statistics_and_may_be_shorter() -> None:
    batch = inputs(26)
    whole = loss(GUARD, batch).value.item()
    shares = 0.0
    for place, mask in enumerate(batch.mask_BT):
        here = (slice(place, place + 1), slice(0, int(mask.sum())))
        row = replace(
            batch,
            log_probs_BT=batch.log_probs_BT[here],
            old_log_probs_BT=batch.old_log_probs_BT[here],
            advantages_BT=batch.advantages_BT[place : place + 1],
            mask_BT=batch.mask_BT[here],
        )
        shares += loss(GUARD, row, of=batch).value.item()
    assert shares == pytest.approx(whole, abs=1e-14)
