"""Every mask against a slow loop of its definition, the gradient that it leaves, and its limits."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.masks.binary_kl import BinaryKL, binary_kl
from sfpo_bench.algorithms.masks.cppo import BudgetRule, PrefixBudget
from sfpo_bench.algorithms.masks.opsm import OffPolicySequence
from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.masks.second_moment import SecondMoment, largest_kept
from sfpo_bench.algorithms.masks.trm import Divergence, TrustRegion
from sfpo_bench.algorithms.masks.tv import TotalVariation
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs
from tests.algorithms import test_objectives
from tests.algorithms.test_objectives import LIMIT
from tests.algorithms.test_surrogates import gradient_of

MASKS: list[Mask] = [
    TotalVariation(delta=0.03),
    BinaryKL(delta=0.01),
    PrefixBudget(delta=0.1, token_budget=0.01, largest_factor=2.0),
    PrefixBudget(delta=0.05, smallest_weight=0.2, token_budget=0.004, largest_factor=50.0),
    PrefixBudget(delta=0.1, budget=BudgetRule.fixed, token_budget=0.015),
    OffPolicySequence(threshold=0.02),
    TrustRegion(threshold=0.05),
    TrustRegion(measure=Divergence.mean, threshold=0.03),
    SecondMoment(budget=0.03),
]


def inputs(seed: int, rows: int = 5) -> LossInputs:
    """Random log-probs of which none is above 0, as masks read probabilities."""
    batch = test_objectives.inputs(seed, rows)
    return replace(batch, log_probs_BT=batch.log_probs_BT.detach().clamp(max=-0.02).requires_grad_(True))


def ninth(values: list[float]) -> float:
    """The 90 % quantile, linear between neighbours."""
    ordered, place = sorted(values), 0.9 * (len(values) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def slow_keeps(mask: Mask, batch: LossInputs) -> list[list[bool]]:
    """Of each real token, as the mask's paper has it."""
    rows = [
        (now[real].tolist(), old[real].tolist(), float(advantage))
        for now, old, advantage, real in zip(
            batch.log_probs_BT.detach(), batch.old_log_probs_BT, batch.advantages_BT[:, 0], batch.mask_BT, strict=True
        )
    ]
    if isinstance(mask, SecondMoment):
        squares = sorted((n - o) ** 2 for now, old, _ in rows for n, o in zip(now, old, strict=True))
        kept = max((k for k in range(1, len(squares) + 1) if fmean(squares[:k]) <= mask.budget), default=0)
        bound = squares[kept - 1] if kept else -1.0
        return [[(n - o) ** 2 <= bound for n, o in zip(now, old, strict=True)] for now, old, _ in rows]
    return [_slow_row(mask, *row) for row in rows]


def _slow_row(mask: Mask, now: list[float], old: list[float], a: float) -> list[bool]:
    pairs = list(zip(now, old, strict=True))
    pi, mu = [math.exp(n) for n in now], [math.exp(o) for o in old]
    match mask:
        case TotalVariation():
            return [not (p - m > mask.delta if a > 0 else p - m < -mask.delta) for p, m in zip(pi, mu, strict=True)]
        case BinaryKL():
            kls = [m * math.log(m / p) + (1 - m) * math.log((1 - m) / (1 - p)) for p, m in zip(pi, mu, strict=True)]
            ahead = [p > m if a > 0 else p < m for p, m in zip(pi, mu, strict=True)]
            return [not (forward and kl > mask.delta) for forward, kl in zip(ahead, kls, strict=True)]
        case OffPolicySequence():
            return [a >= 0 or fmean(o - n for n, o in pairs) <= mask.threshold] * len(now)
        case TrustRegion():
            kls = [math.exp(n - o) - 1 - (n - o) for n, o in pairs]
            found = max(kls) if mask.measure is Divergence.max else fmean(kls)
            return [found <= mask.threshold] * len(now)
    assert isinstance(mask, PrefixBudget)
    sizes, keeps, w_sum, s_sum = [abs(p - m) for p, m in zip(pi, mu, strict=True)], [], 0.0, 0.0
    budget = mask.token_budget
    if mask.budget is BudgetRule.quantile:
        budget = min(max(ninth(sizes), budget), mask.largest_factor * budget)
    for t, size in enumerate(sizes, start=1):
        w = mask.smallest_weight + (1 - mask.smallest_weight) * (LIMIT - t) / (LIMIT - 1)
        bound = min(mask.delta, mask.delta + budget * w_sum - s_sum)
        keeps.append(a * (pi[t - 1] / mu[t - 1] - 1) <= 0 or w * size <= bound)
        w_sum, s_sum = w_sum + w, s_sum + w * size
    return keeps


def masked(mask: Mask, batch: LossInputs, surrogate: PolicyGradient | None = None) -> tuple[PolicyGradient, LossInputs]:
    """An objective with the mask, and the batch with what it must know of the mini-batch."""
    objective = replace(surrogate or Cispo(largest_weight=20.0), mask=mask)
    return objective, replace(batch, statistics=objective.statistics(batch))


def keeps_of(mask: Mask, batch: LossInputs) -> Tensor:
    """Where a token has a gradient under the mask; ratios are unbounded, so that nothing else takes it."""
    return gradient_of(*masked(mask, batch)) != 0


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("surrogate", [Cispo(largest_weight=20.0), Clipped()], ids=["cispo", "clipped"])
def test_kept_tokens_have_the_loss_and_the_gradient_of_the_surrogate_and_others_none(
    mask: Mask, surrogate: PolicyGradient
) -> None:
    some_go, some_stay = False, False
    for seed in (21, 22, 23):
        batch = inputs(seed, rows=7)
        expected, plain = slow_keeps(mask, batch), gradient_of(surrogate, batch)
        token, clipped = surrogate.surrogate(surrogate.ratio.log_ratios(batch), batch)
        objective, seen = masked(mask, batch, surrogate)
        gradient, found, total, gone = gradient_of(objective, seen), objective.loss(seen), 0.0, 0
        for row, keeps in enumerate(expected):
            for t, kept in enumerate(keeps):
                assert float(gradient[row, t]) == pytest.approx(float(plain[row, t]) if kept else 0.0, abs=1e-15)
                total += token[row, t].item() * kept / len(keeps) / len(expected)
                gone += bool(clipped[row, t]) or not kept
        assert found.value.item() == pytest.approx(total, abs=1e-14) and int(found.clipped_tokens) == gone
        every = [kept for keeps in expected for kept in keeps]
        some_go, some_stay = some_go or not all(every), some_stay or any(every)
    assert some_go and some_stay


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_the_gradient_under_a_mask_is_that_of_finite_differences_with_the_mask_held(mask: Mask) -> None:
    batch, width = inputs(24), 1e-6
    objective, seen = masked(mask, batch, Clipped(clip_low=0.9, clip_high=9.0))
    gradient, here = gradient_of(objective, seen), batch.log_probs_BT.detach()
    keeps, lengths = slow_keeps(mask, batch), batch.mask_BT.sum(dim=1)
    for row, t in batch.mask_BT.nonzero().tolist():
        advantage, old, kept = float(batch.advantages_BT[row]), float(batch.old_log_probs_BT[row, t]), keeps[row][t]
        above, below = (math.exp(float(here[row, t]) + sign * width - old) * advantage * kept for sign in (1, -1))
        difference = -(above - below) / (2 * width) / float(lengths[row]) / len(lengths)
        assert float(gradient[row, t]) == pytest.approx(difference, abs=1e-8)


@pytest.mark.parametrize(
    "mask",
    [
        TotalVariation(delta=1.0),
        BinaryKL(delta=math.inf),
        PrefixBudget(delta=1.0, budget=BudgetRule.fixed, token_budget=1.0),
        OffPolicySequence(threshold=math.inf),
        TrustRegion(threshold=math.inf),
        TrustRegion(measure=Divergence.mean, threshold=math.inf),
        SecondMoment(budget=math.inf),
    ],
    ids=str,
)
def test_without_a_bound_the_loss_is_that_of_no_mask_bit_for_bit(mask: Mask) -> None:
    batch, plain = inputs(25), Clipped()
    objective, seen = masked(mask, batch, plain)
    assert torch.equal(objective.loss(seen).value, plain.loss(batch).value)
    assert torch.equal(gradient_of(objective, seen), gradient_of(plain, batch))
    assert int(objective.loss(seen).clipped_tokens) == int(plain.loss(batch).clipped_tokens)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_before_the_policy_has_moved_every_token_is_kept_however_tight_the_bound(mask: Mask) -> None:
    batch = inputs(26)
    still = replace(batch, log_probs_BT=batch.old_log_probs_BT.clone())
    name = next(field for field in ("delta", "threshold", "budget") if isinstance(getattr(mask, field, None), float))
    assert torch.equal(keeps_of(replace(mask, **{name: 0.0}), still), batch.mask_BT)  # type: ignore[arg-type]  # a float each


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_what_stands_on_padding_has_no_part_in_a_mask(mask: Mask) -> None:
    batch = inputs(27, rows=7)
    poisoned = replace(batch, old_log_probs_BT=batch.old_log_probs_BT.masked_fill(~batch.mask_BT, math.nan))
    clean, found = (
        objective.mask.keeps((part.log_probs_BT - part.old_log_probs_BT).detach(), seen)
        for part in (batch, poisoned)
        for objective, seen in [(replace(Cispo(), mask=mask), _with_own(mask, part))]
    )
    assert clean is not None and found is not None
    assert torch.equal(clean[batch.mask_BT], found[batch.mask_BT])


def _with_own(mask: Mask, batch: LossInputs) -> LossInputs:
    own = mask.statistics((batch.log_probs_BT - batch.old_log_probs_BT).detach(), batch)
    return replace(batch, statistics=own)


@pytest.mark.parametrize("delta", [0.02, 0.15])
def test_cppo_without_position_weights_and_with_a_boundless_budget_is_dppo_tv(delta: float) -> None:
    free = PrefixBudget(delta=delta, smallest_weight=1.0, budget=BudgetRule.fixed, token_budget=1e9)
    for seed in range(30, 40):
        batch = inputs(seed)
        assert torch.equal(keeps_of(free, batch), keeps_of(TotalVariation(delta=delta), batch))


def one(pi: list[float], mu: list[float], advantage: float, limit: int = 0) -> LossInputs:
    """A response whose tokens have these probabilities now and had those."""
    now, old = (torch.tensor([x], dtype=torch.float64).log() for x in (pi, mu))
    return LossInputs(
        log_probs_BT=now,
        old_log_probs_BT=old,
        advantages_BT=torch.tensor([[advantage]], dtype=torch.float64),
        mask_BT=torch.ones_like(now, dtype=torch.bool),
        counts=BatchCounts(1, len(pi), limit or len(pi)),
    )


def test_a_prefix_that_used_its_budget_leaves_less_for_what_follows() -> None:
    """delta 0.1, d_b 0.01, weights 1: after a move of 0.09 the second token may move 0.02 and no more."""
    mask = PrefixBudget(delta=0.1, smallest_weight=1.0, budget=BudgetRule.fixed, token_budget=0.01)
    for second, kept in ((0.019, True), (0.021, False)):
        moved = one([0.59, 0.5 + second], [0.5, 0.5], 1.0)
        assert keeps_of(mask, moved).tolist() == [[True, kept]]
        # Moving against its advantage it is kept whatever the budget says.
        assert keeps_of(mask, one([0.59, 0.5 + second], [0.5, 0.5], -1.0)).tolist() == [[True, True]]
    late = PrefixBudget(delta=0.1, smallest_weight=0.5, budget=BudgetRule.fixed, token_budget=1.0)
    row = one([0.62, 0.69], [0.5, 0.5], 1.0)
    assert keeps_of(late, row).tolist() == [[False, True]], "0.12 counts whole, 0.19 by half"
    longer = replace(row, counts=BatchCounts(1, 2, 1001))
    assert keeps_of(late, longer).tolist() == [[False, False]], "the weight falls to the limit, not to the last token"


@pytest.mark.parametrize(("factor", "kept"), [(2.0, False), (5.0, True)])
def test_the_budget_of_a_response_follows_its_own_quantile_up_to_the_factor(factor: float, kept: bool) -> None:
    # Every token moves by 0.06: d_b is 0.04 with factor 2 and 0.06 with 5, where sums of both never part.
    moved = one([0.56] * 4, [0.5] * 4, 1.0)
    mask = PrefixBudget(delta=0.1, smallest_weight=1.0, largest_factor=factor)
    assert bool(keeps_of(mask, moved)[0, -1]) == kept


def test_the_binary_divergence_is_that_of_two_outcomes_and_right_at_the_edges() -> None:
    p, q = (
        torch.tensor([0.99, 0.5, 1e-4, 1.0, 1.0, 0.5]).double(),
        torch.tensor([0.75, 0.9, 1e-2, 1.0, 0.5, 1.0]).double(),
    )
    found = binary_kl(p.log(), q.log()).tolist()
    for at in range(3):
        a, b = float(p[at]), float(q[at])
        assert found[at] == pytest.approx(a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b)), rel=1e-12)
    assert found[3] == 0.0 and found[4] == pytest.approx(math.log(2)) and found[5] == math.inf


def test_a_rare_token_may_multiply_its_probability_where_a_clip_would_stop_it() -> None:
    rare, common = one([0.01], [0.001], 1.0), one([0.9], [0.7], 1.0)
    for mask in (TotalVariation(), BinaryKL()):
        assert bool(keeps_of(mask, rare)) and not bool(keeps_of(mask, common))
    assert not gradient_of(Clipped(), rare).any()


def test_the_mean_is_of_the_response_and_the_largest_of_one_token() -> None:
    spread = one([0.5, 0.5, 0.5, 0.25], [0.5] * 4, -1.0)
    kl = 0.5 - 1 + math.log(2)
    assert bool(keeps_of(TrustRegion(threshold=kl + 1e-9), spread).all())
    assert not bool(keeps_of(TrustRegion(threshold=kl - 1e-9), spread).any())
    assert bool(keeps_of(TrustRegion(measure=Divergence.mean, threshold=kl / 4 + 1e-9), spread).all())
    assert not bool(keeps_of(TrustRegion(measure=Divergence.mean, threshold=kl / 4 - 1e-9), spread).any())
    fall = math.log(2) / 4
    assert bool(keeps_of(OffPolicySequence(threshold=fall + 1e-9), spread).all())
    assert not bool(keeps_of(OffPolicySequence(threshold=fall - 1e-9), spread).any())
    assert bool(keeps_of(OffPolicySequence(threshold=0.0), replace(spread, advantages_BT=-spread.advantages_BT)).all())


def test_the_largest_kept_value_is_the_last_whose_mean_meets_the_budget() -> None:
    values = torch.tensor([9.0, 0.0, 3.0, 1.0], dtype=torch.float64)
    for budget, kept in ((0.0, 0.0), (0.5, 1.0), (4 / 3, 3.0), (3.24, 3.0), (3.25, 9.0)):
        assert float(largest_kept(values, budget)) == kept
    assert float(largest_kept(values[:1], 1.0)) == -1.0 and float(largest_kept(values[:0], 1.0)) == -1.0
    equal = torch.tensor([1.0, 4.0, 4.0], dtype=torch.float64)
    assert float(largest_kept(equal, 2.6)) == 1.0, "equal values stay or go together"
