"""DPPO's pruning: unbiased by enumeration over every outcome of the draw, where the published weights are not."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.selections.dppo_prune import DppoPrune, DropRule, Estimator
from sfpo_bench.algorithms.selections.every import Every
from sfpo_bench.algorithms.selections.protocol import Candidates
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.seeding import generator
from tests.algorithms.test_objectives import inputs

GROUP = 8


def candidates(seed: int = 0) -> Candidates:
    source = torch.Generator().manual_seed(seed)
    advantages = torch.randn(1, GROUP, generator=source, dtype=torch.float64)
    return Candidates(advantages, torch.ones(1, GROUP).long(), generator(seed, "selection", 1))


def expectation(rule: DppoPrune, gradients_N: Tensor) -> float:
    """Of sum_i w_i g_i / N over all 2^N outcomes."""
    size_N = candidates().advantages_PG.abs().reshape(-1)
    chance_N = rule.probabilities(size_N)
    total = 0.0
    for outcome in product((False, True), repeat=GROUP):
        dropped_N = torch.tensor(outcome)
        probability = float(torch.where(dropped_N, chance_N, 1 - chance_N).prod())
        total += probability * float((rule.weights_of(size_N, dropped_N) * gradients_N).mean())
    return total


@pytest.mark.parametrize("rate", [0.3, 0.7, 0.9])
def test_the_mean_over_every_outcome_is_the_gradient_of_the_whole_batch_and_the_published_one_is_not(
    rate: float,
) -> None:
    gradients_N = candidates().advantages_PG.reshape(-1) * torch.linspace(0.5, 2.0, GROUP).double()
    whole = float(gradients_N.mean())
    assert expectation(DppoPrune(rate=rate), gradients_N) == pytest.approx(whole, abs=1e-14)
    biased = expectation(DppoPrune(rate=rate, estimator=Estimator.published), gradients_N)
    assert abs(biased - whole) > 1e-3


def test_only_responses_below_the_mean_are_dropped_by_a_generator_that_repeats_itself() -> None:
    first, second = (DppoPrune(rate=0.9).weights(candidates(3)) for _ in range(2))
    assert first is not None and second is not None and torch.equal(first, second)
    size = candidates(3).advantages_PG.abs()
    assert not (first == 0)[size >= size.mean()].any() and torch.equal(
        first[size >= size.mean()], torch.ones_like(first[size >= size.mean()])
    )
    stays = (first != 0) & (size < size.mean())
    assert torch.allclose(first[stays], torch.full_like(first[stays], 10.0))


def test_responses_of_equal_size_are_all_kept() -> None:
    equal = replace(candidates(), advantages_PG=torch.full((1, 11), 0.1).double())
    assert float(equal.advantages_PG.mean()) > 0.1, "the mean is above them by a rounding error"
    found = DppoPrune(rate=0.9).weights(equal)
    assert found is not None and torch.equal(found, torch.ones_like(found))


def test_weights_that_a_count_alone_determines_have_no_estimator() -> None:
    with pytest.raises(ConfigError, match="sampling = fixed_count, which draws nothing"):
        DppoPrune(estimator=Estimator.published, sampling=DropRule.fixed_count).check("algorithm.selection", GROUP)


def test_a_rate_of_zero_is_no_pruning_at_all() -> None:
    assert DppoPrune(rate=0.0).weights(candidates()) is None and Every().weights(candidates()) is None
    assert not DppoPrune(rate=0.0).needs_weights


def test_a_fixed_count_drops_the_lowest_and_averages_over_the_rest() -> None:
    found = DppoPrune(rate=0.5, sampling=DropRule.fixed_count).weights(candidates())
    assert found is not None
    lowest = candidates().advantages_PG.abs().argsort()[0, : GROUP // 2]
    assert not found[0, lowest].any() and sorted(set(found[0].tolist())) == [0.0, 2.0]


def test_a_weight_is_a_factor_on_the_responses_share_of_the_whole_loss() -> None:
    objective, batch = Clipped(kl_coefficient=0.1, entropy_coefficient=0.01), inputs(1)
    rows = len(batch.mask_BT)
    alone = [
        objective.loss(replace(batch, row_weights_B=torch.eye(rows, dtype=torch.float64)[row])).value
        for row in range(rows)
    ]
    weights = torch.arange(rows, dtype=torch.float64)
    together = objective.loss(replace(batch, row_weights_B=weights)).value
    assert torch.allclose(together, (torch.stack(alone) * weights).sum(), atol=1e-14)
    assert torch.allclose(objective.loss(batch).value, torch.stack(alone).sum(), atol=1e-14)
