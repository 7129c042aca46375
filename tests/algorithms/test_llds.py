"""LLDS's penalty: its slow loop, and when it is nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.objectives.ratios import SequenceRatio
from sfpo_bench.algorithms.penalties.llds import Divisor, Gate, Llds
from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs
from tests.algorithms.test_objectives import inputs

KINDS = [Llds(gate=gate, divisor=divisor) for gate, divisor in product(Gate, Divisor)]


def value(penalty: Llds, batch: LossInputs, of: LossInputs | None = None) -> Tensor:
    """With the statistics of a mini-batch, `batch` itself where no other is given."""
    with torch.no_grad():
        found = penalty.statistics(batch if of is None else of)
    rows_B = penalty.row_losses(replace(batch, statistics=found))
    assert rows_B is not None
    return rows_B.sum()


def with_holes(seed: int) -> LossInputs:
    """Rows of several actions: masked tokens stand between them."""
    batch = inputs(seed, rows=6)
    source = torch.Generator().manual_seed(seed)
    holes = torch.rand(batch.mask_BT.shape, generator=source) < 0.7
    holes[:, 0] |= ~holes.any(dim=1)
    return replace(batch, mask_BT=holes, counts=BatchCounts(6, int(holes.sum()), holes.shape[1]))


def slow(penalty: Llds, batch: LossInputs, log_probs_BT: Tensor) -> float:
    """The definition, one action after another; gates are those of `batch`."""
    total, preserved, gated = 0.0, 0, 0
    for place, mask in enumerate(batch.mask_BT.tolist()):
        if float(batch.advantages_BT[place, 0]) < 0:
            continue
        actions: list[list[int]] = [[]]
        for t, real in enumerate(mask):
            if real:
                actions[-1].append(t)
            elif penalty.gate is Gate.action:
                actions.append([])
        preserved += sum(map(len, actions))
        for action in actions:
            old = batch.old_log_probs_BT[place, action]
            if float((old - batch.log_probs_BT.detach()[place, action]).sum()) > 0:
                gated += len(action)
                total += float((old - log_probs_BT[place, action]).clamp(min=0).sum())
    tokens = {Divisor.preserved: preserved, Divisor.every: batch.counts.tokens, Divisor.gated: gated}
    return penalty.weight * total / max(tokens[penalty.divisor], 1)


@pytest.mark.parametrize("penalty", KINDS, ids=str)
@pytest.mark.parametrize("seed", [31, 32])
def test_the_penalty_and_its_gradient_are_those_of_the_slow_loop(penalty: Llds, seed: int) -> None:
    batch, width = with_holes(seed), 1e-6
    here = batch.log_probs_BT.detach()
    found = value(penalty, batch)
    assert found.item() == pytest.approx(slow(penalty, batch, here), abs=1e-14) and found.item() > 0
    [gradient] = torch.autograd.grad(found, [batch.log_probs_BT])
    for row, t in product(range(len(here)), range(here.shape[1])):
        step = torch.zeros_like(here)
        step[row, t] = width
        difference = slow(penalty, batch, here + step) - slow(penalty, batch, here - step)
        assert float(gradient[row, t]) == pytest.approx(difference / (2 * width), abs=1e-9)


@pytest.mark.parametrize("base", [Clipped(), Clipped(ratio=SequenceRatio(), clip_low=3e-4, clip_high=4e-4)], ids=str)
def test_without_weight_it_is_the_base_and_at_the_old_policy_it_is_nothing(base: PolicyGradient) -> None:
    batch = inputs(33)
    none = replace(base, penalty=Llds(weight=0.0))
    assert none.loss(batch).value.item() == base.loss(batch).value.item()
    assert not none.uses_statistics and not none.needs_every_row
    start = replace(batch, log_probs_BT=batch.old_log_probs_BT.clone().requires_grad_(True))
    for penalty in KINDS:
        found = value(penalty, start)
        assert found.item() == 0.0
        assert not torch.autograd.grad(found, [start.log_probs_BT])[0].any()
    # Composed, the two add up, and rows of advantage 0 are needed.
    both = replace(base, penalty=Llds(divisor=Divisor.every))
    alone = value(Llds(divisor=Divisor.every), batch).item()
    assert both.loss(batch).value.item() == pytest.approx(base.loss(batch).value.item() + alone, abs=1e-14)
    assert both.needs_every_row and not both.uses_statistics and replace(base, penalty=Llds()).uses_statistics


def row(falls: list[float], advantage: float = 1.0) -> LossInputs:
    """One response whose tokens' log-probs fell by these."""
    old = torch.full((1, len(falls)), -1.0, dtype=torch.float64)
    return LossInputs(
        log_probs_BT=(old - torch.tensor([falls])).requires_grad_(True),
        old_log_probs_BT=old,
        advantages_BT=torch.tensor([[advantage]], dtype=torch.float64),
        mask_BT=torch.ones_like(old, dtype=torch.bool),
        counts=BatchCounts(1, len(falls), len(falls)),
    )


@pytest.mark.parametrize("penalty", KINDS, ids=str)
def test_one_displaced_token_gives_its_size_over_the_length(penalty: Llds) -> None:
    assert value(penalty, row([0.0, 0.0, 0.5, 0.0])).item() == pytest.approx(0.2 * 0.5 / 4, rel=1e-7)
    assert value(penalty, row([0.0, 0.0, 0.5, 0.0], advantage=0.0)).item() > 0, "advantage 0 is preserved"
    assert value(penalty, row([0.0, 0.0, 0.5, 0.0], advantage=-1e-9)).item() == 0.0
    # Risen more elsewhere than fallen here: the gate stays shut.
    assert value(penalty, row([0.0, -0.6, 0.5, 0.0])).item() == 0.0


def test_an_action_has_a_gate_of_its_own_and_a_response_one_for_all() -> None:
    batch = row([0.5, 9.0, -0.7, 0.1])
    holes = replace(batch, mask_BT=torch.tensor([[True, False, True, True]]))
    assert value(Llds(divisor=Divisor.every), holes).item() == pytest.approx(0.2 * 0.5 / 4, rel=1e-7)
    assert value(Llds(divisor=Divisor.every, gate=Gate.response), holes).item() == 0.0


@pytest.mark.parametrize("penalty", KINDS, ids=str)
def test_shares_of_single_rows_add_up_and_a_rows_weight_multiplies_its_penalty(penalty: Llds) -> None:
    batch, objective = with_holes(34), Clipped(penalty=penalty)
    weights = torch.linspace(0.5, 3.0, len(batch.mask_BT), dtype=torch.float64)

    def rows(part: slice) -> LossInputs:
        return replace(
            batch,
            log_probs_BT=batch.log_probs_BT[part],
            old_log_probs_BT=batch.old_log_probs_BT[part],
            advantages_BT=torch.zeros_like(batch.advantages_BT[part]),
            mask_BT=batch.mask_BT[part],
            row_weights_B=weights[part],
        )

    whole = rows(slice(None))
    with torch.no_grad():
        found = objective.statistics(whole)
    shares = [
        objective.loss(replace(rows(slice(place, place + 1)), statistics=found)).value for place in range(len(weights))
    ]
    assert torch.stack(shares).sum().item() == pytest.approx(
        objective.loss(replace(whole, statistics=found)).value.item(), abs=1e-15
    )
    # Without advantages the penalty is all there is.
    alone = [value(penalty, rows(slice(place, place + 1)), of=whole).item() for place in range(len(weights))]
    assert [share.item() for share in shares] == pytest.approx(
        [w * x for w, x in zip(weights.tolist(), alone, strict=True)]
    )
