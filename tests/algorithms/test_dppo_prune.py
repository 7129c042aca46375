"""DPPO's pruning: unbiased by enumeration over every outcome of the draw, where the published weights are not."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.selections.dppo_prune import DppoPrune, DropRule, Estimator, probabilities
from sfpo_bench.algorithms.selections.every import Every
from sfpo_bench.algorithms.selections.protocol import Candidates
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Trajectory
from tests.algorithms.test_objectives import inputs
from tests.training.rollout_sources import problems

GROUP = 8
RESPONSES = DppoPrune(rate=0.9, prompt_rate=0.0)


def candidates(seed: int = 0, prompts: int = 1, group: int = GROUP, draw: int = 1) -> Candidates:
    """Random advantages of as many problems, each time the same ones."""
    source = torch.Generator().manual_seed(seed)
    advantages = torch.randn(prompts, group, generator=source, dtype=torch.float64)
    done = Completion("0", 0, (1,), (2,), (-0.5,), "", FinishReason.stopped)
    rows = [
        Trajectory(item.problem, done, Grade(GradeStatus.wrong, 0.0, None), place)
        for place, item in enumerate(problems(prompts))
        for _ in range(group)
    ]
    lengths = torch.ones(prompts, group).long()
    return Candidates(advantages, lengths, generator(seed, "selection", draw), rows)


def expectation(rule: DppoPrune, gradients_PG: Tensor, size_PG: Tensor, past_P1: Tensor) -> float:
    """Of sum_i w_i g_i / N over every outcome for prompts and responses."""
    chance_PG, chance_P1 = probabilities(size_PG, rule.rate), probabilities(past_P1, rule.prompt_rate)
    total = 0.0
    for prompts in product((False, True), repeat=len(past_P1)):
        dropped_P1 = torch.tensor(prompts)[:, None]
        of_prompts = float(torch.where(dropped_P1, chance_P1, 1 - chance_P1).prod())
        for responses in product((False, True), repeat=size_PG.numel()):
            dropped_PG = torch.tensor(responses).reshape(size_PG.shape)
            probability = of_prompts * float(torch.where(dropped_PG, chance_PG, 1 - chance_PG).prod())
            weights_PG = rule.weights_of((1 - chance_PG) * (1 - chance_P1), ~dropped_PG & ~dropped_P1)
            total += probability * float((weights_PG * gradients_PG).mean())
    return total


@pytest.mark.parametrize(("rate", "prompt_rate"), [(0.3, 0.0), (0.9, 0.0), (0.0, 0.7), (0.5, 0.7)])
def test_the_mean_over_every_outcome_is_the_gradient_of_the_whole_batch_and_the_published_one_is_not(
    rate: float, prompt_rate: float
) -> None:
    size_PG = candidates(prompts=3, group=2).advantages_PG.abs()
    gradients_PG = candidates(prompts=3, group=2).advantages_PG * torch.linspace(0.5, 2.0, 6).double().view(3, 2)
    past_P1 = torch.tensor([[0.1], [0.9], [0.4]]).double()
    whole = float(gradients_PG.mean())
    rule = DppoPrune(rate=rate, prompt_rate=prompt_rate)
    assert expectation(rule, gradients_PG, size_PG, past_P1) == pytest.approx(whole, abs=1e-14)
    published = replace(rule, estimator=Estimator.published)
    assert abs(expectation(published, gradients_PG, size_PG, past_P1) - whole) > 1e-3


def test_so_is_the_mean_over_many_draws_of_prompts_and_responses() -> None:
    """Each step draws anew and knows the past of its problems; within four standard errors."""
    rule, gradients_PG = DppoPrune(rate=0.5, prompt_rate=0.5), torch.linspace(-1, 2, 24).double().view(4, 6)
    rule.weights(candidates(prompts=4, group=6))
    found = []
    for draw in range(1_000):
        weights = rule.weights(candidates(prompts=4, group=6, draw=draw))
        assert weights is not None
        found.append(float((weights * gradients_PG).mean()))
    means = torch.tensor(found).double()
    assert abs(float(means.mean() - gradients_PG.mean())) < 4 * float(means.std()) / len(found) ** 0.5
    assert float(means.std()) > 0.2, "the draws differ"


def test_only_responses_below_the_mean_are_dropped_by_a_generator_that_repeats_itself() -> None:
    first, second = (RESPONSES.weights(candidates(3)) for _ in range(2))
    assert first is not None and second is not None and torch.equal(first, second)
    size = candidates(3).advantages_PG.abs()
    assert not (first == 0)[size >= size.mean()].any() and torch.equal(
        first[size >= size.mean()], torch.ones_like(first[size >= size.mean()])
    )
    stays = (first != 0) & (size < size.mean())
    assert torch.allclose(first[stays], torch.full_like(first[stays], 10.0))


def test_prompts_are_dropped_whole_by_their_past_and_new_ones_never() -> None:
    rule = DppoPrune(rate=0.0, prompt_rate=0.9)
    first = rule.weights(candidates(prompts=12))
    assert first is not None and torch.equal(first, torch.ones_like(first)), "nothing is known of them"
    past = candidates(prompts=12).advantages_PG.abs().mean(dim=1)
    second = rule.weights(candidates(prompts=12, draw=2))
    assert second is not None and (second == second[:, :1]).all()
    low = past < past.mean()
    assert torch.equal(second[~low], torch.ones_like(second[~low]))
    assert 0.0 in second[low, 0].tolist() and set(second[low, 0].round(decimals=9).tolist()) <= {0.0, 10.0}


def test_a_new_prompt_stays_beside_others_whose_past_is_low() -> None:
    rule = DppoPrune(rate=0.0, prompt_rate=0.99)
    rule.weights(candidates(prompts=6))
    later = [rule.weights(candidates(prompts=12, draw=draw)) for draw in (2,)]
    for sampling in DropRule:
        fixed = DppoPrune(rate=0.0, prompt_rate=0.5, sampling=sampling)
        fixed.weights(candidates(prompts=6))
        later.append(fixed.weights(candidates(prompts=12, draw=2)))
    for found in later:
        assert found is not None and found[6:].all() and not found[:6].all()


def test_a_prompts_past_is_an_exponential_average_that_the_checkpoint_carries() -> None:
    rule, sizes = DppoPrune(prompt_rate=0.5, smoothing=0.25), []
    for seed in range(3):
        rule.weights(candidates(seed))
        sizes.append(float(candidates(seed).advantages_PG.abs().mean()))
    expected = 0.25 * sizes[2] + 0.75 * (0.25 * sizes[1] + 0.75 * sizes[0])
    assert rule.state() == {"0": pytest.approx(expected)}
    again = DppoPrune(prompt_rate=0.5, smoothing=0.25)
    again.restore(rule.state())
    ours, theirs = (one.weights(candidates(7)) for one in (rule, again))
    assert ours is not None and theirs is not None and torch.equal(ours, theirs) and rule.state() == again.state()
    assert not RESPONSES.state(), "without pruning of prompts nothing is remembered"


def test_responses_of_equal_size_are_all_kept() -> None:
    equal = replace(candidates(), advantages_PG=torch.full((1, 11), 0.1).double(), trajectories=())
    assert float(equal.advantages_PG.mean()) > 0.1, "the mean is above them by a rounding error"
    found = RESPONSES.weights(equal)
    assert found is not None and torch.equal(found, torch.ones_like(found))


def test_weights_that_a_count_alone_determines_have_no_estimator() -> None:
    with pytest.raises(ConfigError, match="sampling = fixed_count, which draws nothing"):
        DppoPrune(estimator=Estimator.published, sampling=DropRule.fixed_count).check("algorithm.selection", GROUP)


def test_rates_of_zero_are_no_pruning_at_all() -> None:
    none = DppoPrune(rate=0.0, prompt_rate=0.0)
    assert none.weights(candidates()) is None and Every().weights(candidates()) is None
    assert not none.needs_weights and not none.state()


def test_a_fixed_count_drops_the_lowest_and_averages_over_the_rest() -> None:
    found = DppoPrune(rate=0.5, prompt_rate=0.0, sampling=DropRule.fixed_count).weights(candidates())
    assert found is not None
    lowest = candidates().advantages_PG.abs().argsort()[0, : GROUP // 2]
    assert not found[0, lowest].any() and sorted(set(found[0].tolist())) == [0.0, 2.0]
    prompts = DppoPrune(rate=0.0, prompt_rate=0.5, sampling=DropRule.fixed_count)
    for draw in (1, 2):
        found = prompts.weights(candidates(prompts=4, draw=draw))
        assert found is not None
    lowest = candidates(prompts=4).advantages_PG.abs().mean(dim=1).argsort()[:2]
    assert not found[lowest].any() and sorted(set(found.reshape(-1).tolist())) == [0.0, 2.0]


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
