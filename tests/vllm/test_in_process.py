"""vLLM in this process: it computes what the trainer computes, after every push."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from sfpo_bench.core.errors import EngineMismatch, MissingDataError
from sfpo_bench.core.types import FinishReason, Sampling
from sfpo_bench.models import smollm2
from sfpo_bench.models.arithmetic_character import FOLDER
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.rollout.transformers_engine import TransformersEngine
from sfpo_bench.rollout.vllm_engine import VllmEngine
from tests.vllm.engines import END, ON_VLLM, REQUESTS, VOCABULARY, Side, largest_difference, random_model, saved

pytestmark = ON_VLLM
NOISE = NoiseStream(0, "test", 1)
LIVELY = [Request(f"{n}", (3 + n % 5, 4, 5 + n % 3), tuple(range(4))) for n in range(16)]


@pytest.fixture(params=["qwen2 tied", "qwen2 untied", "qwen3 tied", "llama untied", "arithmetic"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    """A trainer for a small model of each architecture, and the embedded one."""
    if request.param == "arithmetic":
        return Side.of(FOLDER)
    kind, head = request.param.split()
    return Side.of(saved(random_model(kind, tied=head == "tied"), tmp_path))


def test_three_rounds_of_update_push_and_generate_stay_within_a_ten_thousandth_of_a_nat(side: Side) -> None:
    from sfpo_bench.rollout.vllm_in_process import InProcessVllm

    engine = side.engine(lambda: InProcessVllm(side.launch()))
    responses = []
    for step in range(4):
        completions = engine.generate(LIVELY, Sampling(1.0, 24), NoiseStream(0, "rollout", step))
        assert largest_difference(side, engine, completions) <= 1e-4
        responses.append([c.response_ids for c in completions])
        side.shake(step)
        engine.load(side.learner.weights())
        numbers = engine.metrics()
        assert ("parity_max" in numbers) == (step == 0), "the first push is checked, then every twentieth"
        assert numbers.get("parity_max", 0.0) <= numbers.get("parity_bound", 0.0) == (1e-3 if step == 0 else 0.0)
    assert len({str(row) for row in responses}) == 4
    greedy = engine.generate(REQUESTS, Sampling(0.0, 12), NOISE)
    ours = TransformersEngine(side.model, side.tokenizer, END, 64).generate(REQUESTS, Sampling(0.0, 12), NOISE)
    assert [c.response_ids for c in greedy] == [c.response_ids for c in ours]
    assert [c.finish_reason for c in greedy] == [c.finish_reason for c in ours]
    engine.close()


@pytest.mark.parametrize("tied", [True, False], ids=["tied engine", "head of its own"])
def test_the_stale_head_of_a_tied_model_is_caught_before_the_first_step(tied: bool, tmp_path: Path) -> None:
    """The trainer has no parameter for a tied head; pushing its parameters alone leaves vLLM's head as it was."""
    from sfpo_bench.rollout.vllm_in_process import InProcessVllm

    side = Side.of(saved(random_model("qwen2", tied=True), tmp_path))
    launch = side.launch(overrides={**side.launch().overrides, "tie_word_embeddings": tied})
    before = {name: weight.detach().clone() for name, weight in side.learner.weights().items()}
    with pytest.raises(EngineMismatch, match="in the sync check, with halved weights: the engine's log-probs differ"):
        side.engine(lambda: InProcessVllm(launch), names={})
    assert all(torch.equal(before[name], weight) for name, weight in side.learner.weights().items()), "halved and back"
    side.engine(lambda: InProcessVllm(launch)).close()


def test_without_a_sync_check_a_stale_head_is_caught_within_one_step(tmp_path: Path) -> None:
    from sfpo_bench.rollout.vllm_in_process import InProcessVllm

    class StaleHead(InProcessVllm):
        """Takes over the head once, and never again."""

        pushes = 0

        def push(self, weights: Mapping[str, torch.Tensor]) -> None:
            self.pushes += 1
            super().push({n: w for n, w in weights.items() if self.pushes == 1 or n != "lm_head.weight"})

    side = Side.of(saved(random_model("qwen2", tied=True), tmp_path))
    engine = side.engine(lambda: StaleHead(side.launch()), check_sync=False)
    side.shake(1)
    with pytest.raises(EngineMismatch, match="after push 1: the engine's log-probs differ"):
        engine.load(side.learner.weights())
    engine.close()


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, VllmEngine]]:
    """One engine for the tests that change no weights."""
    from sfpo_bench.rollout.vllm_in_process import InProcessVllm

    side = Side.of(saved(random_model("qwen2", tied=True), tmp_path_factory.mktemp("lively")))
    engine = side.engine(lambda: InProcessVllm(side.launch()))
    yield side, engine
    engine.close()


def test_tokens_are_drawn_from_the_trainers_distribution(lively: tuple[Side, VllmEngine]) -> None:
    side, engine = lively
    request = Request("a", (3, 4, 5), tuple(range(4000)))
    for temperature, bound in ((1.0, 37.7), (0.5, 37.7)):  # chi-square, 15 degrees of freedom: 99.9 % quantile
        found = engine.generate([request], Sampling(temperature, 1), NOISE)
        with torch.no_grad():
            logits = side.model(input_ids=torch.tensor([request.prompt_ids])).logits[0, -1]
        expected = 4000 * (logits / temperature).softmax(0)
        counts = torch.bincount(torch.tensor([c.response_ids[0] for c in found]), minlength=VOCABULARY)
        often = expected >= 5
        statistic = ((counts - expected) ** 2 / expected)[often].sum()
        assert float(statistic) < bound
        log_probs = (logits / temperature).log_softmax(0)
        assert max(abs(c.log_probs[0] - float(log_probs[c.response_ids[0]])) for c in found) <= 1e-4


def test_equal_seeds_agree_and_other_seeds_steps_and_purposes_do_not(lively: tuple[Side, VllmEngine]) -> None:
    _, engine = lively
    first, again = (engine.generate(LIVELY, Sampling(1.0, 24), NOISE) for _ in range(2))
    assert first == again
    for noise in (NoiseStream(1, "test", 1), NoiseStream(0, "test", 2), NoiseStream(0, "other", 1)):
        assert [c.response_ids for c in engine.generate(LIVELY, Sampling(1.0, 24), noise)] != [
            c.response_ids for c in first
        ]
    assert len({c.response_ids for c in first}) > len(first) // 2, "each sample draws its own noise"


def test_a_cut_vocabulary_is_drawn_from_and_its_log_probs_are_those_of_the_cut(
    lively: tuple[Side, VllmEngine],
) -> None:
    side, engine = lively
    request = Request("a", (3, 4, 5), tuple(range(64)))
    with torch.no_grad():
        logits = side.model(input_ids=torch.tensor([request.prompt_ids])).logits[0, -1]
    kept = logits.topk(3).indices
    expected = torch.full_like(logits, -torch.inf).index_copy_(0, kept, logits[kept]).log_softmax(0)
    for completion in engine.generate([request], Sampling(1.0, 1, top_k=3), NOISE):
        assert completion.response_ids[0] in kept.tolist()
        assert completion.log_probs[0] == pytest.approx(float(expected[completion.response_ids[0]]), abs=1e-4)


def test_every_end_token_ends_a_response_and_nothing_follows_it(lively: tuple[Side, VllmEngine]) -> None:
    side, running = lively
    ends = frozenset({1, 5, 9, 13})
    engine = side.engine(lambda: running._backend, end_ids=ends)
    completions = engine.generate(LIVELY, Sampling(1.0, 24), NOISE)
    assert len({c.response_ids[-1] for c in completions} & ends) >= 3
    for completion in completions:
        assert not ends.intersection(completion.response_ids[:-1])
        stopped = completion.response_ids[-1] in ends
        assert stopped or len(completion.response_ids) == 24
        assert completion.finish_reason is (FinishReason.stopped if stopped else FinishReason.truncated)
        assert len(completion.log_probs) == len(completion.response_ids)


def test_a_prompt_of_more_than_a_block_is_computed_once_for_its_group(lively: tuple[Side, VllmEngine]) -> None:
    _, engine = lively
    engine.metrics()
    prompt = tuple(2 + n % 13 for n in range(36))
    engine.generate([Request("long", prompt, tuple(range(8)))], Sampling(1.0, 4), NoiseStream(0, "rollout", 1))
    # Seven of eight responses find the first 32 of 36 tokens, one block, in the cache.
    assert engine.metrics()["cached_prompt_share"] == pytest.approx(7 * 32 / (8 * 36))


@pytest.mark.slow
def test_smollm2_stays_within_a_ten_thousandth_of_a_nat_through_three_rounds() -> None:
    from sfpo_bench.rollout.vllm_in_process import InProcessVllm

    try:
        folder = smollm2.locate(smollm2.default_cache())
    except MissingDataError as missing:
        pytest.skip(f"{missing}")
    side = Side.of(folder)
    prompts = [f"<|im_start|>user\nWhat is {n} + {n + 3}?<|im_end|>\n<|im_start|>assistant\n" for n in range(4)]
    requests = [Request(str(n), tuple(side.tokenizer(text)["input_ids"]), (0, 1)) for n, text in enumerate(prompts)]
    engine = side.engine(
        lambda: InProcessVllm(side.launch(kv_cache_bytes=256 * 2**20)), probes=requests, end_ids=frozenset({2})
    )
    for step in range(3):
        completions = engine.generate(requests, Sampling(1.0, 24), NoiseStream(0, "rollout", step))
        assert largest_difference(side, engine, completions) <= 1e-4
        with torch.no_grad():
            for weight in side.model.parameters():
                weight.mul_(1 + 0.01 * (step + 1))
        engine.load(side.learner.weights())
    engine.close()
