"""Log-probs and entropies of response tokens equal those of the model's own logits."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
from torch import Tensor
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from sfpo_bench.training.batch import micro_batches
from sfpo_bench.training.layout import micro_batches_of_rank
from sfpo_bench.training.ranks import Ranks
from sfpo_bench.training.scoring import Scorer
from tests.training.policies import VOCABULARY, batch, on_cpu, policy


def soft_capped() -> PreTrainedModel:
    """A model whose logits are more than its head applied to its last hidden state."""
    config = Gemma2Config(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, final_logit_softcapping=2.0, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Gemma2ForCausalLM(config).double()


def expected(model: PreTrainedModel, temperature: float) -> tuple[list[float], list[float]]:
    """One row at a time, no padding, the whole vocabulary's logits."""
    data = batch(3)
    log_probs, entropies = [], []
    for row in range(len(data)):
        prompt, response = int(data.prompt_tokens_P[data.owners_B[row]]), int(data.response_tokens_B[row])
        ids = data.sequences_BS()[row : row + 1, : prompt + response]
        logits = model(input_ids=ids).logits[0] / temperature
        for t in range(response):
            distribution = logits[prompt - 1 + t].log_softmax(dim=-1)
            log_probs.append(distribution[ids[0, prompt + t]].item())
            entropies.append(-(distribution.exp() * distribution).sum().item())
    return log_probs, entropies


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("chunk_logits", [2**25, 5 * VOCABULARY])
@pytest.mark.parametrize("make", [policy, lambda: policy(tied=False), lambda: policy(kind="llama"), soft_capped])
def test_scores_are_those_of_the_models_own_logits(make, chunk_logits: int, temperature: float) -> None:  # type: ignore[no-untyped-def]  # `make` is any of them
    model = make().eval()
    with torch.no_grad():
        scores = Scorer(model, temperature, chunk_logits).score(on_cpu(batch(3)))
        log_probs, entropies = expected(model, temperature)
    assert scores.log_probs_BT[scores.mask_BT].tolist() == pytest.approx(log_probs, abs=1e-10)
    assert scores.entropies_BT[scores.mask_BT].tolist() == pytest.approx(entropies, abs=1e-10)
    assert float(scores.log_probs_BT[~scores.mask_BT].abs().sum()) == 0


def gradients(chunk_logits: int) -> list[Tensor]:
    model = policy()
    scores = Scorer(model, 1.0, chunk_logits).score(on_cpu(batch(3)), entropy_gradient=True)
    (scores.log_probs_BT.square().sum() + scores.entropies_BT.sum()).backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def test_chunks_do_not_change_the_gradient() -> None:
    for a, b in zip(gradients(2**25), gradients(3 * VOCABULARY), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("chunk_logits", [2**25, 3 * VOCABULARY])
def test_a_second_backward_pass_brings_the_same_gradient(chunk_logits: int) -> None:
    model = policy()
    scores = Scorer(model, 1.0, chunk_logits).score(on_cpu(batch(3)), entropy_gradient=True)
    loss = scores.log_probs_BT.square().sum() + scores.entropies_BT.sum()
    weights = list(model.parameters())
    first, second = (torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a is None) == (b is None) and (a is None or torch.allclose(a, b, atol=1e-12))


def reference_gradients(model: PreTrainedModel, temperature: float) -> list[Tensor]:
    """Of the same sum, one row at a time, nothing shared and nothing padded, through the whole vocabulary's logits."""
    data = batch(3)
    for row in range(len(data)):
        prompt, response = int(data.prompt_tokens_P[data.owners_B[row]]), int(data.response_tokens_B[row])
        ids = data.sequences_BS()[row : row + 1, : prompt + response]
        logits = model(input_ids=ids).logits[0, prompt - 1 : -1] / temperature
        distribution = logits.log_softmax(dim=-1)
        chosen = distribution.gather(1, ids[0, prompt:, None])
        (chosen.square().sum() - (distribution.exp() * distribution).sum()).backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("chunk_logits", [2**25, 5 * VOCABULARY])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("make", [policy, lambda **kw: policy(tied=False, kind="llama", **kw)], ids=["qwen2", "llama"])
def test_gradients_are_those_of_every_row_on_its_own(  # type: ignore[no-untyped-def]  # `make` is any of them
    make, dtype: torch.dtype, tolerance: float, chunk_logits: int, recompute: bool
) -> None:
    expected = reference_gradients(make(dtype=dtype).eval(), 0.7)
    for packed in (True, False):
        model = make(dtype=dtype).eval()
        scorer = Scorer(model, 0.7, chunk_logits, recompute=recompute)
        scorer.packs = scorer.packs and packed
        scores = scorer.score(on_cpu(batch(3)), entropy_gradient=True)
        (scores.log_probs_BT.square().sum() + scores.entropies_BT.sum()).backward()
        found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        scale = max(float(a.abs().max()) for a in expected)
        assert len(found) == len(expected)
        assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) <= tolerance * scale
        assert not any(module.training for module in model.modules())


def test_micro_batches_hold_every_row_once_within_their_budget() -> None:
    data = batch(5)
    for budget in (1, 20, 33, 10**6):
        parts = micro_batches(data, budget)
        assert sorted(row for part in parts for row in part.rows_B.tolist()) == list(range(len(data)))
        for part in parts:
            assert part.tokens <= budget or len(part) == 1
            assert part.responses_BT.shape[1] == int(part.response_tokens_B.max())
            for row, place in enumerate(part.rows_B.tolist()):
                assert torch.equal(
                    part.select(torch.tensor([row])).sequences_BS(), data.select(torch.tensor([place])).sequences_BS()
                )


def test_responses_to_a_prompt_stay_together_in_whatever_order_they_come() -> None:
    """Prompts by their longest response; those that are equally long are not mixed either."""
    data = batch(5)
    longest_P = [int(data.response_tokens_B[data.owners_B == owner].max()) for owner in range(5)]
    assert len(set(longest_P)) < 5
    for seed in range(3):
        shuffled = data.select(torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)))
        for budget in (1, 33, 10**6):
            rows = [row for part in micro_batches(shuffled, budget) for row in part.rows_B.tolist()]
            met = [owner for owner, _ in groupby(data.owners_B[rows].tolist())]
            assert sorted(met) == list(range(5)), "each prompt once"
            assert [longest_P[owner] for owner in met] == sorted(longest_P)


class OneBehind(Ranks):
    """A rank that has one micro-batch less than another one."""

    def largest(self, value: float) -> float:
        return value + 1


def test_a_rank_with_fewer_micro_batches_scores_a_row_of_its_batch_that_counts_nowhere() -> None:
    data, model = batch(3), policy()
    *mine, (dummy, counts) = micro_batches_of_rank(data, 64, 8, OneBehind(), torch.device("cpu"))
    assert [counted for _, counted in mine] == [True] * len(mine) and not counts
    assert sorted(row for micro, _ in mine for row in micro.host.rows_B.tolist()) == list(range(len(data)))
    assert dummy.host.rows_B.tolist() == [0]
    assert bool(Scorer(model, 1.0).score(dummy).log_probs_BT.isfinite().all())
