"""The clipped objective against a slow float64 loop, finite differences, and its limits."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives import Clipped, Normalization, k3
from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs
from sfpo_bench.core.errors import ConfigError

LIMIT = 6
BLOCK = 2


def inputs(seed: int = 0, rows: int = 5) -> LossInputs:
    """Random log-probs in float64, unequal lengths, ratios on both sides of the clip range."""
    source = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    lengths = torch.tensor([1 + (3 * row + seed) % LIMIT for row in range(rows)])
    mask = torch.arange(LIMIT) < lengths[:, None]
    old = -draw(rows, LIMIT).abs() - 0.1
    return LossInputs(
        log_probs_BT=(old + 0.3 * draw(rows, LIMIT)).requires_grad_(True),
        old_log_probs_BT=old,
        advantages_BT=draw(rows)[:, None],
        mask_BT=mask,
        counts=BatchCounts(rows, int(mask.sum()), LIMIT),
        reference_log_probs_BT=old + 0.2 * draw(rows, LIMIT),
        entropies_BT=draw(rows, LIMIT).abs(),
        block_lengths_B=block_lengths(lengths, BLOCK),
    )


def block_lengths(lengths: Tensor, block: int) -> Tensor:
    return torch.tensor(
        [
            lengths[start : start + block].double().mean()
            for start in (block * (row // block) for row in range(len(lengths)))
        ]
    ).double()


def slow_loss(objective: Clipped, batch: LossInputs) -> float:
    """The definition, one token at a time."""
    assert batch.reference_log_probs_BT is not None and batch.entropies_BT is not None
    total = 0.0
    for row in range(len(batch.advantages_BT)):
        length = int(batch.mask_BT[row].sum())
        advantage = float(batch.advantages_BT[row])
        token_sum = 0.0
        for t in range(length):
            new, old = batch.log_probs_BT[row, t].item(), float(batch.old_log_probs_BT[row, t])
            ratio = math.exp(new - old)
            clipped = min(max(ratio, 1 - objective.clip_low), 1 + objective.clip_high)
            surrogate = min(ratio * advantage, clipped * advantage)
            gap = float(batch.reference_log_probs_BT[row, t]) - new
            penalty = objective.kl_coefficient * (math.exp(gap) - gap - 1)
            token_sum += -surrogate + penalty - objective.entropy_coefficient * float(batch.entropies_BT[row, t])
        match objective.normalization:
            case Normalization.response_mean:
                total += token_sum / length / batch.counts.responses
            case Normalization.token_mean:
                total += token_sum / batch.counts.tokens
            case Normalization.fixed_length:
                total += token_sum / (batch.counts.responses * batch.counts.max_response_tokens)
            case Normalization.block_token_mean:
                block = batch.mask_BT[BLOCK * (row // BLOCK) :][:BLOCK]
                total += token_sum / int(block.sum()) * len(block) / batch.counts.responses
    return total


SETTINGS = [
    Clipped(normalization=normalization, clip_high=clip_high, kl_coefficient=kl, entropy_coefficient=entropy)
    for normalization, clip_high, kl, entropy in product(Normalization, (0.2, 0.28), (0.0, 0.1), (0.0, 0.01))
]


@pytest.mark.parametrize("objective", SETTINGS, ids=str)
def test_the_loss_is_the_slow_loop(objective: Clipped) -> None:
    for seed in range(3):
        batch = inputs(seed)
        assert objective.loss(batch).value.item() == pytest.approx(slow_loss(objective, batch), abs=1e-12)


@pytest.mark.parametrize("objective", SETTINGS, ids=str)
def test_the_gradient_is_the_finite_difference(objective: Clipped) -> None:
    batch = inputs(1)
    objective.loss(batch).value.backward()
    gradient = batch.log_probs_BT.grad
    assert gradient is not None
    width = 1e-6
    for row, t in product(range(len(batch.advantages_BT)), range(LIMIT)):
        values = []
        for sign in (1, -1):
            moved = batch.log_probs_BT.detach().clone()
            moved[row, t] += sign * width
            values.append(float(objective.loss(replace(batch, log_probs_BT=moved)).value))
        assert float(gradient[row, t]) == pytest.approx((values[0] - values[1]) / (2 * width), abs=1e-8)


def test_at_ratio_one_the_gradient_is_the_plain_policy_gradient() -> None:
    batch = inputs(2)
    log_probs = batch.old_log_probs_BT.clone().requires_grad_(True)
    Clipped().loss(replace(batch, log_probs_BT=log_probs)).value.backward()
    lengths = batch.mask_BT.sum(dim=1)
    expected = -batch.advantages_BT / lengths[:, None] / len(lengths) * batch.mask_BT
    assert log_probs.grad is not None
    assert torch.allclose(log_probs.grad, expected, atol=1e-14)


@pytest.mark.parametrize("normalization", list(Normalization))
def test_shares_of_a_split_batch_add_up(normalization: Normalization) -> None:
    objective, batch = Clipped(normalization=normalization, kl_coefficient=0.1), inputs(3)
    whole = objective.loss(batch).value

    def rows(part: slice) -> LossInputs:
        assert batch.reference_log_probs_BT is not None and batch.entropies_BT is not None
        assert batch.block_lengths_B is not None
        return replace(
            batch,
            log_probs_BT=batch.log_probs_BT[part],
            old_log_probs_BT=batch.old_log_probs_BT[part],
            advantages_BT=batch.advantages_BT[part],
            mask_BT=batch.mask_BT[part],
            reference_log_probs_BT=batch.reference_log_probs_BT[part],
            entropies_BT=batch.entropies_BT[part],
            block_lengths_B=batch.block_lengths_B[part],
        )

    parts = objective.loss(rows(slice(0, 2))).value + objective.loss(rows(slice(2, 5))).value
    assert parts.item() == pytest.approx(whole.item(), abs=1e-14)


@pytest.mark.parametrize(("block", "limit"), [(1, Normalization.response_mean), (5, Normalization.token_mean)], ids=str)
def test_blocks_of_one_are_response_means_and_one_block_is_the_token_mean(block: int, limit: Normalization) -> None:
    batch = inputs(6)
    batch = replace(batch, block_lengths_B=block_lengths(batch.mask_BT.sum(dim=1), block))
    blocks = Clipped(normalization=Normalization.block_token_mean).loss(batch).value
    assert blocks.item() == pytest.approx(Clipped(normalization=limit).loss(batch).value.item(), abs=1e-15)


def test_weights_multiply_the_policy_gradient_of_each_token_and_nothing_else() -> None:
    """The loss is affine in them: the surrogate's part at weight w, and the penalty and the bonus as without any."""
    batch, source = inputs(8), torch.Generator().manual_seed(8)
    weights = 3 * torch.rand(batch.mask_BT.shape, generator=source, dtype=torch.float64)
    whole, plain = Clipped(kl_coefficient=0.3, entropy_coefficient=0.2), Clipped()
    rest = whole.loss(batch).value - plain.loss(batch).value
    for factor in (weights, torch.zeros_like(weights)):
        weighted = replace(batch, weights_BT=factor)
        surrogate = plain.loss(weighted).value
        assert whole.loss(weighted).value.item() == pytest.approx((surrogate + rest).item(), abs=1e-13)
    assert plain.loss(replace(batch, weights_BT=torch.zeros_like(weights))).value.item() == 0.0
    one = torch.zeros_like(weights)
    one[1, 0] = 2.5
    alone = replace(batch, mask_BT=batch.mask_BT & (one > 0), weights_BT=None, counts=batch.counts)
    length = int(batch.mask_BT[1].sum())
    found = plain.loss(replace(batch, weights_BT=one)).value.item()
    assert found == pytest.approx(2.5 * plain.loss(alone).value.item() / length, abs=1e-14)


def test_padding_contributes_nothing_whatever_it_holds() -> None:
    batch = inputs(4)
    dirty = batch.log_probs_BT.detach().masked_fill(~batch.mask_BT, 50.0)
    assert Clipped().loss(replace(batch, log_probs_BT=dirty)).value.item() == Clipped().loss(batch).value.item()


def test_clipped_tokens_are_those_whose_gradient_is_cut_off() -> None:
    batch = inputs(5)
    loss = Clipped().loss(batch)
    loss.value.backward()
    assert batch.log_probs_BT.grad is not None
    cut_off = (batch.log_probs_BT.grad == 0) & batch.mask_BT
    assert int(loss.clipped_tokens) == int(cut_off.sum()) > 0


def test_a_row_without_advantage_needs_no_gradient_exactly_when_nothing_else_uses_it() -> None:
    assert not Clipped().needs_every_row
    assert Clipped(kl_coefficient=0.1).needs_every_row
    assert Clipped(entropy_coefficient=0.1).needs_every_row


def test_k3_is_non_negative_zero_at_equality_and_unbiased_for_the_kl() -> None:
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    q = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    terms = k3(p.log(), q.log())
    assert bool((terms >= 0).all())
    assert torch.equal(k3(p.log(), p.log()), torch.zeros(3, dtype=torch.float64))
    assert float((p * terms).sum()) == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-12)


def test_a_dual_clip_bounds_the_loss_of_bad_responses_and_leaves_everything_else_alone() -> None:
    """-max(min(r A, clip(r) A), c A) where A < 0, token by token; beyond c there is no gradient."""
    rule, plain, batch = Clipped(dual_clip=1.5, clip_high=0.28), Clipped(clip_high=0.28), inputs(3, rows=40)
    found, clipped = rule.surrogate(batch.log_probs_BT - batch.old_log_probs_BT, batch)
    bounded = 0
    for row, place in batch.mask_BT.nonzero().tolist():
        ratio = math.exp((batch.log_probs_BT - batch.old_log_probs_BT).detach()[row, place])
        advantage = float(batch.advantages_BT[row, 0])
        inner = min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)
        expected = max(inner, 1.5 * advantage) if advantage < 0 else inner
        bounded += expected != inner
        assert float(found.detach()[row, place]) == pytest.approx(-expected, abs=1e-14)
        assert expected == inner or bool(clipped[row, place])
    assert bounded > 0
    [gradient] = torch.autograd.grad(rule.loss(batch).value, batch.log_probs_BT, retain_graph=True)
    ratios = (batch.log_probs_BT - batch.old_log_probs_BT).exp()
    assert not gradient[(ratios > 1.5) & (batch.advantages_BT < 0)].any()
    off, far = plain.loss(batch).value, Clipped(clip_high=0.28, dual_clip=1e9).loss(batch).value
    assert torch.equal(off, far)


def test_a_dual_clip_inside_the_range_of_the_clip_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dual_clip = 1\.2 with algorithm\.objective\.clip_high = 0\.2"):
        Clipped(dual_clip=1.2).check("algorithm.objective", 4)
    Clipped(dual_clip=10.0).check("algorithm.objective", 4)
