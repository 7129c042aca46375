"""M2PO and BAPO: bounds by a slow search, hand-calculated ones, gradients, and limits."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sfpo_bench.algorithms.objectives.bapo import Balance, Bapo, BoundOrder
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.m2po import M2po, cap_of
from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.errors import ConfigError
from tests.algorithms.test_objectives import inputs
from tests.algorithms.test_surrogates import gradient_of, one

CODE = Bapo(
    measure=Balance.ratio,
    target=0.5,
    order=BoundOrder.low_first,
    weight_by_prob=False,
    low_start=0.8,
    low_top=0.95,
    low_step=0.05,
    high_top=2.0,
    high_step=0.1,
    dual_clip=3.0,
)


def with_statistics(objective: PolicyGradient, batch: LossInputs) -> LossInputs:
    return replace(batch, statistics=objective.statistics(batch))


def tokens(batch: LossInputs) -> list[tuple[float, float, float]]:
    """Ratio, advantage and old probability of every real token."""
    return [
        (
            math.exp(batch.log_probs_BT[row, t].item() - float(batch.old_log_probs_BT[row, t])),
            float(batch.advantages_BT[row, 0]),
            math.exp(float(batch.old_log_probs_BT[row, t])),
        )
        for row, t in batch.mask_BT.nonzero().tolist()
    ]


def slow_bounds(objective: Bapo, batch: LossInputs) -> tuple[float, float]:
    """One step at a time, as the papers's loop has it."""
    low, high = objective.low_start, objective.high_start
    first = objective.order is BoundOrder.high_first
    while True:
        good = bad = 0.0
        for ratio, a, prob in tokens(batch):
            weight = abs(a) * (prob if objective.weight_by_prob else 1.0)
            good, bad = good + (a > 0) * min(ratio, high) * weight, bad + (a < 0) * max(ratio, low) * weight
        found = good / (good + bad) if objective.measure is Balance.share else good / bad
        high_done, low_done = high >= objective.high_top - 1e-9, low >= objective.low_top - 1e-9
        if found >= objective.target or (high_done and low_done):
            return low, high
        if (first and not high_done) or low_done:
            high = min(high + objective.high_step, objective.high_top)
        else:
            low = min(low + objective.low_step, objective.low_top)


def slow_tau(budget: float, batch: LossInputs) -> float:
    """By bisection."""
    sizes = [abs(math.log(ratio)) for ratio, a, _ in tokens(batch) if a * (ratio - 1) > 0]
    if sum(size**2 for size in sizes) <= budget * len(sizes):
        return math.inf
    low, high = 0.0, max(sizes)
    for _ in range(200):
        middle = (low + high) / 2
        above = sum(min(size, middle) ** 2 for size in sizes) > budget * len(sizes)
        low, high = (low, middle) if above else (middle, high)
    return low


def slow_loss(objective: PolicyGradient, batch: LossInputs, low: float, high: float, dual: float) -> float:
    total = 0.0
    for row in range(len(batch.mask_BT)):
        alone = replace(batch, mask_BT=batch.mask_BT & (torch.arange(len(batch.mask_BT))[:, None] == row))
        seen = tokens(alone)
        for ratio, a, _ in seen:
            loss = -min(ratio * a, min(max(ratio, low), high) * a)
            total += (min(loss, dual * abs(a)) if a < 0 and dual else loss) / len(seen)
    return total / len(batch.mask_BT)


def moved(seed: int, by: float = 1.0) -> LossInputs:
    """A batch of wide log ratios."""
    batch = inputs(seed, rows=7)
    wide = batch.old_log_probs_BT + by * 2 * (batch.log_probs_BT.detach() - batch.old_log_probs_BT)
    return replace(batch, log_probs_BT=wide.requires_grad_(True))


BAPOS = [
    replace(Bapo(target=target, order=order, measure=measure), weight_by_prob=weighted)
    for target, order, measure, weighted in (
        (0.3, BoundOrder.high_first, Balance.share, True),
        (0.4, BoundOrder.high_first, Balance.share, True),
        (0.5, BoundOrder.high_first, Balance.share, False),
        (0.6, BoundOrder.low_first, Balance.share, True),
        (0.7, BoundOrder.high_first, Balance.ratio, False),
        (1.0, BoundOrder.low_first, Balance.ratio, False),
    )
] + [CODE]


@pytest.mark.parametrize("objective", BAPOS, ids=str)
def test_the_bounds_of_bapo_are_those_of_the_slow_search(objective: Bapo) -> None:
    for seed in range(12):
        batch = moved(seed)
        found = objective.statistics(batch)
        low, high = slow_bounds(objective, batch)
        assert (float(found["low"]), float(found["high"])) == pytest.approx((low, high), abs=1e-9)


def test_the_searches_end_at_the_start_in_between_and_at_the_tops() -> None:
    ends = {
        (round(float(found["low"]), 6), round(float(found["high"]), 6))
        for objective in BAPOS[:2]
        for found in (objective.statistics(moved(seed)) for seed in range(12))
    }
    assert (0.6, 1.2) in ends and (0.9, 3.0) in ends and len(ends) > 2


@pytest.mark.parametrize("objective", [BAPOS[1], CODE, M2po(), M2po(budget=0.2, lowest=0.95, highest=1.05)], ids=str)
def test_loss_and_gradient_are_those_of_the_slow_loop_with_the_bounds_held(objective: PolicyGradient) -> None:
    batch, width = moved(3), 1e-6
    seen, dual = with_statistics(objective, batch), 0.0
    if isinstance(objective, Bapo):
        (low, high), dual = slow_bounds(objective, batch), objective.dual_clip
    else:
        assert isinstance(objective, M2po)
        tau = slow_tau(objective.budget, batch)
        low, high = min(objective.lowest, math.exp(-tau)), max(objective.highest, math.exp(tau))
    assert objective.loss(seen).value.item() == pytest.approx(slow_loss(objective, batch, low, high, dual), abs=1e-12)
    gradient, here = gradient_of(objective, seen), batch.log_probs_BT.detach()
    for row, t in batch.mask_BT.nonzero().tolist():
        step = torch.zeros_like(here)
        step[row, t] = width
        above, below = (
            slow_loss(objective, replace(batch, log_probs_BT=here + sign * step), low, high, dual) for sign in (1, -1)
        )
        assert float(gradient[row, t]) == pytest.approx((above - below) / (2 * width), abs=1e-7)
    cut = int(((gradient == 0) & batch.mask_BT).sum())
    assert int(objective.loss(seen).clipped_tokens) == cut > 0


@pytest.mark.parametrize("objective", BAPOS, ids=str)
def test_a_target_of_zero_is_the_clip_at_the_starts(objective: Bapo) -> None:
    batch = moved(4)
    loose = replace(objective, target=0.0, dual_clip=0.0)
    plain = Clipped(clip_low=1 - loose.low_start, clip_high=loose.high_start - 1)
    assert loose.loss(with_statistics(loose, batch)).value.item() == pytest.approx(
        plain.loss(batch).value.item(), abs=1e-14
    )


@pytest.mark.parametrize("objective", BAPOS, ids=str)
def test_without_positive_tokens_the_search_stops_at_the_top_of_both_and_never_leaves_the_ranges(
    objective: Bapo,
) -> None:
    batch = moved(5)
    bad = replace(batch, advantages_BT=-batch.advantages_BT.abs())
    found = objective.statistics(bad)
    assert (float(found["low"]), float(found["high"])) == (objective.low_top, objective.high_top)
    path = list(objective.bounds())
    assert path[0] == (objective.low_start, objective.high_start)
    assert all(objective.low_start <= low <= objective.low_top for low, _ in path)
    assert all(objective.high_start <= high <= objective.high_top for _, high in path)
    for before, after in pairwise(path):
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1, "one bound at a time"
    uneven = list(Bapo(low_start=0.6, low_top=0.65, low_step=0.02, high_start=1.2, high_top=1.2).bounds())
    assert [low for low, _ in uneven] == pytest.approx([0.6, 0.62, 0.64, 0.65])


def test_a_share_and_the_ratio_that_it_converts_to_stop_at_the_same_bounds() -> None:
    for share in (0.3, 0.4, 0.55):
        for seed in range(8):
            ours, theirs = (
                Bapo(measure=measure, target=target).statistics(moved(seed))
                for measure, target in ((Balance.share, share), (Balance.ratio, share / (1 - share)))
            )
            assert all(torch.equal(ours[name], theirs[name]) for name in ("low", "high"))


def test_a_dual_clip_bounds_the_loss_of_negative_advantages_alone() -> None:
    for advantage, expected in ((-2.0, 6.0), (2.0, -2.4)):
        batch = one([5.0], advantage)
        assert CODE.loss(with_statistics(CODE, batch)).value.item() == pytest.approx(expected)
    gone = gradient_of(CODE, with_statistics(CODE, one([5.0], -2.0)))
    kept = gradient_of(CODE, with_statistics(CODE, one([2.9], -2.0)))
    assert not gone.any() and float(kept) == pytest.approx(5.8)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (Bapo(low_start=0.95), "algorithm.objective.low_start = 0.95 is above algorithm.objective.low_top = 0.9"),
        (Bapo(high_start=4.0), "algorithm.objective.high_start = 4 is above algorithm.objective.high_top = 3"),
        (Bapo(target=1.5), "algorithm.objective.target = 1.5 as a share"),
        (Bapo(dual_clip=0.5), "algorithm.objective.dual_clip = 0.5 clips ratios of 1"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_by_name(objective: Bapo, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        objective.check("algorithm.objective", 8)
    assert said in str(refused.value)
    CODE.check("algorithm.objective", 8)


@pytest.mark.parametrize("budget", [1e-4, 0.04, 0.2, 1.0])
def test_the_cap_of_m2po_meets_the_budget_exactly(budget: float) -> None:
    capped = 0
    for seed in range(10):
        batch = moved(seed)
        found, expected = float(M2po(budget=budget).statistics(batch)["tau"]), slow_tau(budget, batch)
        assert found == pytest.approx(expected, rel=1e-9)
        capped += math.isfinite(found)
    assert capped == 10 if budget < 0.1 else capped < 10 or budget == 0.2


def test_the_cap_by_hand() -> None:
    sizes = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    # min(size, tau)^2: below 1 it is tau^2 three times; between 1 and 2, 1 + 2 tau^2.
    for budget, tau in ((0.25, 0.5), (1.0, 1.0), (3.0, 2.0), (1.5, math.sqrt(1.75)), (14 / 3 + 1e-9, math.inf)):
        assert float(cap_of(sizes, budget)) == pytest.approx(tau)
    assert float(cap_of(sizes[:0], 0.0)) == math.inf


def test_m2po_of_a_boundless_budget_clips_nothing_and_of_none_to_its_narrowest_range() -> None:
    batch = moved(6)
    free, narrow = (M2po(budget=budget) for budget in (math.inf, 0.0))
    found = free.loss(with_statistics(free, batch))
    ratios = (batch.log_probs_BT.detach() - batch.old_log_probs_BT).exp()
    means = (-ratios * batch.advantages_BT * batch.mask_BT).sum(dim=1) / batch.mask_BT.sum(dim=1)
    assert int(found.clipped_tokens) == 0 and found.value.item() == pytest.approx(means.mean().item(), abs=1e-14)
    plain = Clipped(clip_low=0.3, clip_high=0.5).loss(batch)
    assert narrow.loss(with_statistics(narrow, batch)).value.item() == pytest.approx(plain.value.item(), abs=1e-14)
