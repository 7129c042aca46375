"""Every surrogate over every ratio against a slow loop of its definition, its finite differences, and its limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.cfpo import Cfpo
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.ctpo import Ctpo
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization, PolicyGradient
from sfpo_bench.algorithms.objectives.prefix_minimum import PrefixMinimum
from sfpo_bench.algorithms.objectives.product_ratios import PrefixProduct, ProductRatio
from sfpo_bench.algorithms.objectives.ratios import Ratio, SequenceRatio
from sfpo_bench.algorithms.objectives.sapo import Sapo
from sfpo_bench.algorithms.objectives.topr import Topr
from sfpo_bench.algorithms.objectives.vespo import Vespo
from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs
from tests.algorithms.test_objectives import inputs

RATIOS = [Ratio(), Ratio(largest_log_ratio=0.2), SequenceRatio(), ProductRatio(), PrefixProduct(), PrefixMinimum()]
SURROGATES: list[PolicyGradient] = [
    Clipped(clip_high=0.28),
    Cispo(smallest_weight=0.8, largest_weight=1.28),
    Sapo(),
    Topr(smallest_weight=0.5, largest_weight=1.1),
    Vespo(),
    Cfpo(),
    Ctpo(clip_low=0.1, clip_high=0.2, clip_dual=0.3),
]
CROSSINGS = [replace(surrogate, ratio=replace(ratio)) for surrogate, ratio in product(SURROGATES, RATIOS)]


@dataclass(frozen=True, slots=True)
class Row:
    """The real tokens of one response. What a definition detaches is read from `frozen`, the log-probs that the
    gradient is taken at; `now` is moved by a finite difference."""

    now: list[float]
    frozen: list[float]
    old: list[float]
    advantage: float


def slow_log_ratio(ratio: Ratio, row: Row, t: int, now: list[float]) -> float:
    """log r_t of the definition, `now` in the places that have a gradient."""

    def token(log_probs: list[float], k: int) -> float:
        found = log_probs[k] - row.old[k]
        return max(-bound, min(bound, found)) if (bound := ratio.largest_log_ratio) else found

    own = now[t] - row.frozen[t]
    every = [token(row.frozen, k) for k in range(len(now))]
    match ratio:
        case SequenceRatio():
            return sum(every) / len(every) + own
        case ProductRatio():
            return sum(every) + own
        case PrefixProduct():
            return sum(every[: t + 1]) + own
        case PrefixMinimum():
            return (min(every[:t]) if t else 0.0) + token(now, t)
    return token(now, t)


def slow_token(objective: Any, row: Row, t: int) -> float:
    """The loss of one token, as its paper has it."""
    a, log_prob = row.advantage, row.now[t]
    r = math.exp(slow_log_ratio(objective.ratio, row, t, row.now))
    frozen = math.exp(slow_log_ratio(objective.ratio, row, t, row.frozen))
    match objective:
        case Clipped():
            return -min(r * a, min(max(r, 1 - objective.clip_low), 1 + objective.clip_high) * a)
        case Cispo():
            return -min(max(frozen, objective.smallest_weight), objective.largest_weight) * a * log_prob
        case Sapo():
            tau = objective.positive_temperature if a > 0 else objective.negative_temperature
            return -4 / tau / (1 + math.exp(-tau * (r - 1))) * a
        case Topr():
            tapered = min(max(frozen, objective.smallest_weight), objective.largest_weight)
            return -(1.0 if a >= 0 else tapered) * a * log_prob
        case Vespo():
            k, rate = (2.0, 3.0) if a >= 0 else (3.0, 2.0)
            return -math.exp(rate) * math.pow(frozen, k) * math.exp(-rate * frozen) * a * log_prob
        case Cfpo():
            return -(r * a - abs(a) * (r - 1) ** 2 / (2 * objective.epsilon))
    assert isinstance(objective, Ctpo)
    width = math.pow(t + 1, objective.power)
    low, high = math.exp(-objective.clip_low * width), math.exp(objective.clip_high * width)
    loss = max(-a * r, -a * min(max(r, low), high))
    return min(loss, -a * math.exp(objective.clip_dual * width)) if a < 0 else loss


def slow_loss(objective: PolicyGradient, batch: LossInputs, log_probs_BT: Tensor) -> float:
    """The mean over responses of the mean over tokens."""
    total = 0.0
    for place, mask in enumerate(batch.mask_BT):
        now, frozen, old = (x[place][mask].tolist() for x in (log_probs_BT, batch.log_probs_BT, batch.old_log_probs_BT))
        row = Row(now, frozen, old, float(batch.advantages_BT[place, 0]))
        total += sum(slow_token(objective, row, t) for t in range(len(now))) / len(now)
    return total / len(batch.mask_BT)


def gradient_of(objective: PolicyGradient, batch: LossInputs) -> Tensor:
    log_probs = batch.log_probs_BT.detach().clone().requires_grad_(True)
    objective.loss(replace(batch, log_probs_BT=log_probs)).value.backward()
    assert log_probs.grad is not None
    return log_probs.grad


@pytest.mark.parametrize("objective", CROSSINGS, ids=str)
def test_the_loss_and_its_gradient_are_those_of_the_slow_loop(objective: PolicyGradient) -> None:
    batch, width = inputs(11), 1e-6
    here = batch.log_probs_BT.detach()
    assert objective.loss(batch).value.item() == pytest.approx(slow_loss(objective, batch, here), abs=1e-12)
    gradient = gradient_of(objective, batch)
    assert not gradient[~batch.mask_BT].any()
    for row, t in batch.mask_BT.nonzero().tolist():
        step = torch.zeros_like(here)
        step[row, t] = width
        difference = slow_loss(objective, batch, here + step) - slow_loss(objective, batch, here - step)
        assert float(gradient[row, t]) == pytest.approx(difference / (2 * width), abs=1e-7)


def one(ratios: list[float], advantage: float, old: float = -1.0) -> LossInputs:
    """One response whose tokens have these ratios."""
    ratios_BT = torch.tensor([ratios], dtype=torch.float64)
    return LossInputs(
        log_probs_BT=(old + ratios_BT.log()).requires_grad_(True),
        old_log_probs_BT=torch.full_like(ratios_BT, old),
        advantages_BT=torch.tensor([[advantage]], dtype=torch.float64),
        mask_BT=torch.ones_like(ratios_BT, dtype=torch.bool),
        counts=BatchCounts(1, len(ratios), len(ratios)),
    )


def slope(objective: PolicyGradient, ratio: float, advantage: float) -> float:
    """Of the loss of a response of one token in the ratio itself: d loss / d r = (d loss / d log r) / r."""
    return float(gradient_of(objective, one([ratio], advantage))) / ratio


@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_the_gate_of_sapo_has_slope_one_at_one_and_less_on_both_sides(advantage: float) -> None:
    assert slope(Sapo(), 1.0, advantage) == pytest.approx(-advantage, abs=1e-14)
    for ratio in (0.3, 0.9, 1.1, 2.0):
        assert 0 < slope(Sapo(), ratio, advantage) / -advantage < 1
    gate = Sapo(positive_temperature=1e-6, negative_temperature=1e-6)
    assert slope(gate, 3.0, advantage) == pytest.approx(-advantage, abs=1e-6), "tau -> 0 is r A and a constant"
    change = gate.loss(one([3.0], advantage)).value - gate.loss(one([0.5], advantage)).value
    assert change.item() == pytest.approx(-advantage * (3.0 - 0.5), abs=1e-5)


def test_a_harder_temperature_of_sapo_is_for_advantages_that_are_not_positive() -> None:
    assert Sapo().positive_temperature == 1.0 and Sapo().negative_temperature == 1.05
    gate = Sapo(positive_temperature=1.0, negative_temperature=9.0)
    assert abs(slope(gate, 1.5, -1.0)) < abs(slope(gate, 1.5, 1.0))


@pytest.mark.parametrize("advantage", [1.5, -1.5])
@pytest.mark.parametrize("epsilon", [0.2, 0.05])
def test_cfpo_is_best_where_a_clip_would_begin_and_pulls_back_beyond(advantage: float, epsilon: float) -> None:
    objective, best = Cfpo(epsilon=epsilon), 1 + math.copysign(epsilon, advantage)
    assert slope(objective, best, advantage) == pytest.approx(0.0, abs=1e-12)
    value = -objective.loss(one([best], advantage)).value.item()
    assert value == pytest.approx(advantage + abs(advantage) * epsilon / 2, abs=1e-12)
    assert slope(objective, 1.0, advantage) == pytest.approx(-advantage, abs=1e-14)
    beyond = 1 + math.copysign(2 * epsilon, advantage)
    assert slope(objective, beyond, advantage) == pytest.approx(advantage, rel=1e-9), "back, as hard as it pushed at 1"


def test_cfpo_of_a_wide_epsilon_is_the_plain_ratio_and_without_advantage_nothing() -> None:
    batch = inputs(12)
    plain = -(batch.log_probs_BT - batch.old_log_probs_BT).exp() * batch.advantages_BT
    means = (plain * batch.mask_BT).sum(dim=1) / batch.mask_BT.sum(dim=1)
    assert Cfpo(epsilon=1e12).loss(batch).value.item() == pytest.approx(means.mean().item(), abs=1e-10)
    silent = replace(batch, advantages_BT=torch.zeros_like(batch.advantages_BT))
    assert Cfpo().loss(silent).value.item() == 0.0 and not gradient_of(Cfpo(), silent).any()


def test_ratios_beyond_the_bound_of_their_logs_have_no_gradient_and_a_finite_loss() -> None:
    objective = Cfpo(ratio=Ratio(largest_log_ratio=20.0))
    far = replace(one([1.0, 1.0], 1.0), log_probs_BT=torch.tensor([[99.0, -0.5]], dtype=torch.float64))
    gradient = gradient_of(objective, far)
    assert float(gradient[0, 0]) == 0.0 and float(gradient[0, 1]) != 0.0
    same = replace(far, log_probs_BT=torch.tensor([[19.0, -0.5]], dtype=torch.float64))
    assert objective.loss(far).value.item() == objective.loss(same).value.item()


def test_topr_of_positive_advantages_is_reinforce_and_of_negative_ones_never_more() -> None:
    batch = inputs(13)
    plain = -batch.advantages_BT / batch.mask_BT.sum(dim=1)[:, None] / len(batch.mask_BT) * batch.mask_BT
    for sign in (1, -1):
        signed = replace(batch, advantages_BT=sign * batch.advantages_BT.abs())
        expected = (plain * batch.advantages_BT).abs() / batch.advantages_BT.abs() * -sign
        found = gradient_of(Topr(), signed)
        if sign > 0:
            assert torch.allclose(found, expected, atol=1e-14)
            continue
        products = ((batch.log_probs_BT - batch.old_log_probs_BT) * batch.mask_BT).sum(dim=1).exp()
        assert torch.allclose(found, expected * products.clamp(max=1.0)[:, None], atol=1e-14)
        assert bool((products > 1).any()) and bool((products < 1).any())
    fallen = one([0.3, 0.5], -1.0)
    assert gradient_of(Topr(), fallen)[0].tolist() == pytest.approx([0.15 / 2] * 2)
    assert gradient_of(Topr(smallest_weight=0.4), fallen)[0].tolist() == pytest.approx([0.4 / 2] * 2)


def test_the_weight_of_vespo_is_one_at_one_and_largest_at_k_over_lambda() -> None:
    for advantage, place, height in ((1.0, 2 / 3, 1.21), (-1.0, 3 / 2, 1.24)):

        def weight(ratio: float, advantage: float = advantage) -> float:
            return abs(float(gradient_of(Vespo(), one([ratio], advantage))))

        assert weight(1.0) == pytest.approx(1.0, abs=1e-14)
        assert weight(place) == pytest.approx(height, abs=0.005)
        assert weight(place) > max(weight(0.99 * place), weight(1.01 * place))
        assert weight(1e-9) < 1e-12 and weight(1e9) == 0.0


def test_the_weight_of_vespo_is_finite_where_the_ratio_overflows() -> None:
    far = replace(one([1.0] * 40, 1.0), log_probs_BT=torch.full((1, 40), 50.0, dtype=torch.float64))
    assert not gradient_of(Vespo(), far).any()


def test_the_bounds_of_ctpo_widen_with_the_root_of_the_position() -> None:
    """Every token's log ratio is 0.021: the sum grows with t, the bound 0.05 sqrt(t) with its root, and is passed where
    0.021 t > 0.05 sqrt(t), which is t > 5.67."""
    batch = one([math.exp(0.021)] * 12, 1.0)
    kept = [bool(x) for x in gradient_of(Ctpo(), batch)[0]]
    assert kept == [t <= 5 for t in range(1, 13)]
    assert int(Ctpo().loss(batch).clipped_tokens) == 7
    uniform = gradient_of(Ctpo(power=0.0), batch)[0]
    assert [bool(x) for x in uniform] == [0.021 * t <= 0.05 for t in range(1, 13)]
    # The same ratios with a negative advantage meet the dual clip; the low bound is on the other side.
    assert torch.equal(gradient_of(Ctpo(), one([math.exp(0.021)] * 12, -1.0))[0] != 0, torch.tensor(kept))
    fallen = gradient_of(Ctpo(), one([math.exp(-0.021)] * 12, -1.0))[0]
    assert [bool(x) for x in fallen] == [0.021 * t <= 0.025 * math.sqrt(t) for t in range(1, 13)]


def test_the_minimum_is_of_earlier_tokens_whatever_their_order_and_scales_what_follows() -> None:
    ratios = [0.9, 1.1, 0.7, 1.2, 1.05]
    found = PrefixMinimum().log_ratios(one(ratios, 1.0))[0].exp().tolist()
    assert found == pytest.approx([0.9, 0.9 * 1.1, 0.9 * 0.7, 0.7 * 1.2, 0.7 * 1.05])
    shuffled = PrefixMinimum().log_ratios(one([0.7, 0.9, 1.1, *ratios[3:]], 1.0))[0].exp().tolist()
    assert shuffled[3:] == pytest.approx(found[3:])
    for place in range(4):
        row = [1.0] * 4
        row[place] = 0.6
        weights = PrefixMinimum().log_ratios(one([*row, 1.0], 1.0))[0].exp().tolist()
        assert weights[place + 1 :] == pytest.approx([0.6] * (4 - place))
    alone = PrefixMinimum().log_ratios(one([1.5, 1.0], 1.0))[0].exp().tolist()
    assert alone == pytest.approx([1.5, 1.5]), "not capped at 1"


def test_the_minimum_skips_masked_tokens() -> None:
    batch = one([0.9, 0.1, 1.1, 1.0], 1.0)
    holes = replace(batch, mask_BT=torch.tensor([[True, False, True, True]]))
    assert PrefixMinimum().log_ratios(holes)[0].exp()[[0, 2, 3]].tolist() == pytest.approx([0.9, 0.99, 0.9])


@pytest.mark.parametrize("surrogate", [Cispo(), Clipped(clip_high=0.28)], ids=str)
@pytest.mark.parametrize("ratio", [PrefixMinimum(), PrefixProduct(), ProductRatio()], ids=str)
def test_of_responses_of_one_token_every_ratio_is_the_tokens_own(surrogate: PolicyGradient, ratio: Ratio) -> None:
    batch = inputs(14)
    short = replace(batch, mask_BT=torch.arange(batch.mask_BT.shape[1]).expand_as(batch.mask_BT) < 1)
    found, own = (replace(surrogate, ratio=kind).loss(short).value.item() for kind in (ratio, Ratio()))
    assert found == pytest.approx(own, abs=1e-15)


def test_the_hard_form_cuts_tokens_off_and_the_soft_form_none() -> None:
    batch = inputs(15)
    hard = Clipped(clip_high=0.28, ratio=PrefixMinimum(largest_log_ratio=20.0)).loss(batch)
    gradient = gradient_of(Clipped(clip_high=0.28, ratio=PrefixMinimum()), batch)
    assert int(hard.clipped_tokens) == int(((gradient == 0) & batch.mask_BT).sum()) > 0
    soft = Cispo(largest_weight=1.28, ratio=PrefixMinimum(), normalization=Normalization.token_mean)
    assert bool((gradient_of(soft, batch)[batch.mask_BT] != 0).all())
