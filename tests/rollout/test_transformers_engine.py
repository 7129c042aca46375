"""Sampling: right distribution, noise that ignores the layout, every end token honoured, parity with generate."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.core.seeding import uniforms
from sfpo_bench.core.types import Completion, FinishReason, Sampling
from sfpo_bench.models.arithmetic_character import build_tokenizer
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.rollout.transformers_engine import TransformersEngine, choose_tokens, chunks, nucleus
from sfpo_bench.training.batch import assemble
from sfpo_bench.training.scoring import Scorer
from tests.training.policies import on_cpu, policy

NOISE = NoiseStream(seed=0, purpose="test", step=1)
REQUESTS = [
    Request("a", (3, 4, 5), (0, 1, 2)),
    Request("b", (7,), (0,)),
    Request("c", (9, 8, 7, 6, 5, 4), (0, 1)),
]


def engine(
    *, end_ids: frozenset[int] = frozenset({1}), batch_responses: int = 100, seed: int = 0
) -> TransformersEngine:
    tokenizer: PreTrainedTokenizerFast = build_tokenizer()
    return TransformersEngine(policy(seed).eval(), tokenizer, end_ids, batch_responses)


def ids(completions: list[Completion]) -> list[tuple[int, ...]]:
    return [completion.response_ids for completion in completions]


def test_tokens_are_drawn_from_the_distribution_at_the_temperature() -> None:
    logits = torch.randn(7, generator=torch.Generator().manual_seed(0))
    draws = torch.from_numpy(uniforms(range(40000), 1)[:, 0])
    for temperature in (1.0, 0.5):
        tokens, log_probs = choose_tokens(logits.expand(len(draws), -1), temperature, draws)
        expected = (logits / temperature).softmax(dim=0)
        counts = torch.bincount(tokens, minlength=7)
        # chi-square with 6 degrees of freedom: 22.5 is its 99.9 % quantile
        assert float(((counts - 40000 * expected) ** 2 / (40000 * expected)).sum()) < 22.5
        assert torch.allclose(log_probs, expected.log()[tokens], atol=1e-5)


@pytest.mark.parametrize("vocabulary", [3, 256, 257, 1000, 49_152])
@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_a_token_is_where_the_cumulative_distribution_passes_the_draw(vocabulary: int, top_p: float) -> None:
    source = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(vocabulary, generator=source) * 3
    logits[vocabulary // 3 : 2 * vocabulary // 3] = -torch.inf  # of the larger ones, whole buckets
    draws = torch.cat([torch.linspace(0, 1, 97, dtype=torch.float64), torch.rand(200, generator=source).double()])
    draws[96] = 1 - 2**-53
    tokens, log_probs = choose_tokens(logits.expand(len(draws), -1), 1.0, draws, top_p)
    probs = (logits - logits.max()).exp().double() / (logits - logits.max()).exp().double().sum()
    kept = nucleus(probs[None], top_p)[0] if top_p < 1 else probs
    ends = kept.cumsum(0) / kept.sum()
    starts = ends - kept / kept.sum()
    assert bool((kept[tokens] > 0).all())
    assert bool(((starts[tokens] - 1e-12 <= draws) & (draws <= ends[tokens] + 1e-12)).all())
    assert torch.allclose(log_probs.double(), probs[tokens].log(), atol=1e-6)


def test_the_ends_of_the_unit_interval_give_possible_tokens() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    for draw, token in ((0.0, 1), (1.0 - 2**-53, 3)):
        chosen, log_prob = choose_tokens(logits, 1.0, torch.tensor([draw], dtype=torch.float64))
        assert int(chosen) == token and bool(torch.isfinite(log_prob).all())


@pytest.mark.parametrize("temperature", [1.0, 0.0])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_policy_that_has_diverged_is_named_as_such(bad: float, temperature: float) -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, bad]])
    with pytest.raises(NonFiniteError, match="weights have diverged or are damaged"):
        choose_tokens(logits, temperature, torch.tensor([0.5, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_a_response_does_not_depend_on_what_is_decoded_beside_it(temperature: float) -> None:
    sampling = Sampling(temperature, 9)
    together = engine().generate(REQUESTS, sampling, NOISE)
    assert together == engine().generate(REQUESTS, sampling, NOISE), "equal seeds agree"
    alone = [c for request in REQUESTS for c in engine().generate([request], sampling, NOISE)]
    reordered = engine().generate(REQUESTS[::-1], sampling, NOISE)
    chunked = engine(batch_responses=2).generate(REQUESTS, sampling, NOISE)
    split = engine().generate([Request("a", (3, 4, 5), (2,))], sampling, NOISE)
    assert ids(together) == ids(alone) == ids(chunked)
    assert ids(reordered) == [*ids(together)[4:], ids(together)[3], *ids(together)[:3]]
    assert ids(split) == [ids(together)[2]]


def test_a_model_that_does_not_pack_gives_the_same_responses() -> None:
    """Padding, a copy of the prompt's cache for each response, rows that leave: the same tokens and log-probs."""
    packed, padded = engine(), engine()
    assert packed._packs
    padded._packs = False
    sampling = Sampling(1.0, 40)
    one, other = (sampler.generate(REQUESTS, sampling, NOISE) for sampler in (packed, padded))
    assert ids(one) == ids(other) and len({len(response) for response in ids(one)}) > 2
    for a, b in zip(one, other, strict=True):
        assert a.log_probs == pytest.approx(b.log_probs, abs=1e-6)


@pytest.mark.parametrize("packs", [True, False])
def test_positions_count_from_zero_where_a_model_has_one_embedding_for_each(packs: bool) -> None:
    """Rotary models know distances alone; GPT-2 tells whether a prompt begins at position 0, padded or not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = GPT2Config(vocab_size=23, n_positions=32, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5)
        model = GPT2LMHeadModel(shape).double().eval()
    sampler = TransformersEngine(model, build_tokenizer(), frozenset({1}), 100)
    sampler._packs = sampler._packs and packs
    for done in sampler.generate(REQUESTS, Sampling(1.0, 9), NOISE):
        with torch.no_grad():
            logits_TV = model(torch.tensor([[*done.prompt_ids, *done.response_ids]])).logits[0]
        expected_TV = logits_TV[len(done.prompt_ids) - 1 : -1].log_softmax(dim=-1)
        ids_T1 = torch.tensor(done.response_ids)[:, None]
        assert done.log_probs == pytest.approx(expected_TV.gather(1, ids_T1)[:, 0].tolist(), abs=1e-6)


def test_every_token_is_chosen_by_the_draw_of_its_own_position() -> None:
    """Slow reference: the model on the whole prefix, one token after another."""
    model, limit = policy().eval(), 12
    for done in engine().generate(REQUESTS, Sampling(1.0, limit), NOISE):
        [draws_T] = uniforms([NOISE.key(done.problem_id, done.sample)], limit)
        for place, token in enumerate(done.response_ids):
            with torch.no_grad():
                logits_V = model(torch.tensor([[*done.prompt_ids, *done.response_ids[:place]]])).logits[0, -1]
            ends_V = logits_V.softmax(dim=0).cumsum(dim=0)
            assert int((ends_V <= draws_T[place]).sum()) == token


def test_a_chunk_has_no_more_responses_than_told_and_no_fewer_than_would_fit() -> None:
    sizes = [3, 1, 2, 7, 1, 1, 1, 4, 5]
    requests = [Request(str(number), (3,), tuple(range(size))) for number, size in enumerate(sizes)]
    for limit in range(1, 26):
        found = [[len(request.samples) for request in chunk] for chunk in chunks(requests, limit)]
        assert [size for chunk in found for size in chunk] == sizes
        assert all(sum(chunk) <= limit or len(chunk) == 1 for chunk in found)
        assert all(sum(chunk) + behind[0] > limit for chunk, behind in pairwise(found))


def test_another_seed_step_or_purpose_gives_other_responses() -> None:
    first = ids(engine().generate(REQUESTS, Sampling(1.0, 9), NOISE))
    for noise in (NoiseStream(1, "test", 1), NoiseStream(0, "test", 2), NoiseStream(0, "other", 1)):
        assert ids(engine().generate(REQUESTS, Sampling(1.0, 9), noise)) != first


def test_greedy_decoding_is_that_of_transformers() -> None:
    ours = engine(end_ids=frozenset({1})).generate(REQUESTS, Sampling(0.0, 9), NOISE)
    model = policy().eval()
    for completion in ours:
        prompt = torch.tensor([completion.prompt_ids])
        theirs = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=9,
            do_sample=False,
            eos_token_id=1,
            pad_token_id=0,
        )
        assert completion.response_ids == tuple(theirs[0, prompt.shape[1] :].tolist())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_engine_log_probs_are_the_trainers(temperature: float) -> None:
    completions = engine().generate(REQUESTS, Sampling(temperature, 9), NOISE)
    batch = assemble(completions, torch.zeros(len(completions)), 9)
    with torch.no_grad():
        scores = Scorer(policy().eval(), temperature).score(on_cpu(batch))
    for row, completion in enumerate(completions):
        length = len(completion.response_ids)
        assert scores.log_probs_BT[row, :length].tolist() == pytest.approx(completion.log_probs, abs=1e-5)


def test_every_end_token_ends_a_response_and_nothing_follows_it() -> None:
    end_ids = frozenset(range(1, 23, 3))
    completions = engine(end_ids=end_ids).generate(
        [Request(str(n), (3, 4), tuple(range(8))) for n in range(8)], Sampling(1.0, 12), NOISE
    )
    reasons = {completion.finish_reason for completion in completions}
    assert reasons == {FinishReason.stopped, FinishReason.truncated} or reasons == {FinishReason.stopped}
    ends = set()
    for completion in completions:
        inside, last = completion.response_ids[:-1], completion.response_ids[-1]
        assert not end_ids.intersection(inside)
        assert (last in end_ids) == (completion.finish_reason is FinishReason.stopped)
        assert len(completion.log_probs) == len(completion.response_ids)
        ends.add(last)
    assert len(ends & end_ids) > 3


def test_a_response_at_the_limit_is_truncated() -> None:
    completions = engine(end_ids=frozenset({22})).generate(REQUESTS, Sampling(1.0, 1), NOISE)
    assert all(len(completion.response_ids) == 1 for completion in completions)
    assert {c.finish_reason for c in completions if c.response_ids[0] != 22} == {FinishReason.truncated}


def test_load_takes_over_weights_of_another_model_and_copies_nothing_of_its_own() -> None:
    target, source = engine(seed=0), policy(1)
    before = ids(target.generate(REQUESTS, Sampling(0.0, 9), NOISE))
    target.load(dict(source.named_parameters()))
    assert ids(target.generate(REQUESTS, Sampling(0.0, 9), NOISE)) == ids(
        engine(seed=1).generate(REQUESTS, Sampling(0.0, 9), NOISE)
    )
    assert before != ids(engine(seed=1).generate(REQUESTS, Sampling(0.0, 9), NOISE))


def test_the_nucleus_is_the_smallest_set_of_most_probable_tokens() -> None:
    """Slow reference: take tokens by falling probability until they have top-p together."""
    probs = torch.rand(50, 20, dtype=torch.float64).softmax(dim=-1)
    for top_p in (0.01, 0.3, 0.7, 0.999, 1.0):
        for row, kept in zip(probs, nucleus(probs, top_p), strict=True):
            chosen: list[int] = []
            for token in sorted(range(20), key=lambda token, row=row: -float(row[token])):  # type: ignore[misc]  # mypy infers no type for a default
                if float(row[chosen].sum()) >= top_p:
                    break
                chosen.append(token)
            assert kept.nonzero()[:, 0].tolist() == sorted(chosen)
            assert torch.equal(kept[chosen], row[chosen])


def test_a_set_that_has_exactly_top_p_is_large_enough() -> None:
    """In numbers that are exact in binary; of equally probable tokens the earlier one goes in."""
    probs = torch.tensor([[0.25, 0.5, 0.125, 0.125]], dtype=torch.float64)
    for top_p, kept in ((0.5, [1]), (0.75, [0, 1]), (0.875, [0, 1, 2]), (0.8751, [0, 1, 2, 3])):
        assert nucleus(probs, top_p)[0].nonzero()[:, 0].tolist() == kept


def test_top_p_draws_from_the_nucleus_in_proportion_and_one_changes_no_bit() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(20_000, -1)
    draws = torch.rand(20_000, dtype=torch.float64)
    tokens, log_probs = choose_tokens(logits, 1.0, draws, 0.7)
    shares = tokens.bincount(minlength=4) / 20_000
    assert shares[2:].tolist() == [0.0, 0.0]
    assert float(shares[0]) == pytest.approx(0.5 / 0.8, abs=0.015)
    assert torch.allclose(log_probs, logits[0][tokens])  # of the whole distribution, not of the nucleus
    for whole, plain in zip(choose_tokens(logits, 1.0, draws, 1.0), choose_tokens(logits, 1.0, draws), strict=True):
        assert torch.equal(whole, plain)
