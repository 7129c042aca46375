"""Model FLOPs agree with what torch counts, and in their own conventions with the field's helpers."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, Trainer

from sfpo_bench.models.flops import Convention, causal_pairs, forward_flops, training_flops
from sfpo_bench.models.shapes import PUBLISHED, Shape, shape_in
from tests.training.policies import policy

BATCHES = ((512, 1024, 2048), (4096, 4096, 4096))
# verl's FlopsCounter on the paper's five models, a forward and a backward pass over each of the batches; and 6 for
# every parameter outside of the embedding, which `floating_point_ops` of transformers, and so TRL, count for a token.
COUNTED = {
    "Qwen/Qwen2.5-Math-1.5B": ((39631944941568, 143998442274816), 7862043648),
    "Qwen/Qwen2.5-Math-7B": ((167073690943488, 591764889010176), 42423714816),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": ((39631944941568, 143998442274816), 9262285824),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": ((167073690943488, 591764889010176), 42423714816),
    "Qwen/Qwen3-4B-Base": ((99729543266304, 369761250705408), 21801071616),
}


def test_the_papers_five_models_are_those_that_are_counted() -> None:
    assert set(COUNTED) == set(PUBLISHED)


@pytest.mark.parametrize("name", COUNTED)
def test_each_convention_agrees_with_its_helper_within_a_percent(name: str) -> None:
    shape, (by_verl, by_transformers) = PUBLISHED[name], COUNTED[name]
    for lengths, expected in zip(BATCHES, by_verl, strict=True):
        assert training_flops(shape, lengths, Convention.verl) == pytest.approx(expected, rel=0.01)
        found = training_flops(shape, lengths, Convention.transformers)
        assert found == pytest.approx(by_transformers * sum(lengths), rel=0.01)
        # Ours lies between: with attention and head, and without a product for the embedding.
        assert by_transformers * sum(lengths) < training_flops(shape, lengths) < expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Shape(32000, 4096, 11008, 32, 32, 32, 128, tied=False), (153555818250240, 575955114393600)),
        (PUBLISHED["Qwen/Qwen2.5-Math-7B"], (170388331954176, 622070178250752)),
        (Shape(151936, 4096, 12288, 36, 32, 8, 128, tied=False, qk_norm=True), (185867930959872, 692924253732864)),
    ],
    ids=["llama2-7B", "qwen2.5-7B", "qwen3-8B"],
)
def test_verls_own_test_values_are_met_to_the_last_operation(shape: Shape, expected: tuple[int, int]) -> None:
    """Of its earlier counter, in which every token attends to every other one."""
    for lengths, counted in zip(BATCHES, expected, strict=True):
        tokens, pairs = sum(lengths), sum(length**2 for length in lengths)
        assert 3 * forward_flops(shape, tokens, pairs) + 6 * shape.embedding * tokens == counted


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_torch_counts_as_many_in_a_model_that_runs(kind: str) -> None:
    model = policy(kind=kind, tied=kind == "qwen2", dtype=torch.float32)
    model.set_attn_implementation("eager")
    shape, ids = shape_in(model.config.to_dict(), "the model"), torch.zeros(3, 7, dtype=torch.int64)
    with FlopCounterMode(display=False) as forward:
        logits = model(ids).logits
    # Rotary angles, frequencies times positions, are a matrix product in some versions of transformers only.
    products = forward.get_flop_counts()["Global"]
    angles = products.get(torch.ops.aten.bmm, 0) % (4 * shape.heads * shape.head_size * 3 * 7**2)
    assert angles in (0, 2 * (shape.head_size // 2) * 7)
    # torch multiplies by the upper triangle too, and masks it.
    assert forward.get_total_flops() - angles == forward_flops(shape, 3 * 7, 3 * 7**2)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    assert backward.get_total_flops() == 2 * forward_flops(shape, 3 * 7, 3 * 7**2)


def test_a_response_and_its_prompt_have_the_pairs_of_one_sequence() -> None:
    for prompt, response in ((1, 1), (5, 3), (2, 17)):
        assert causal_pairs(prompt) + causal_pairs(response, prompt) == causal_pairs(prompt + response)
    assert causal_pairs(3) == 1 + 2 + 3


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED)
def test_transformers_itself_counts_so(name: str) -> None:
    shape = PUBLISHED[name]
    config = AutoConfig.for_model(
        "qwen3" if shape.qk_norm else "qwen2",
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        tie_word_embeddings=shape.tied,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    trainer = object.__new__(Trainer)  # what it counts asks for its model alone
    trainer.model = model
    tokens = {"input_ids": torch.zeros(2, 50, dtype=torch.int64)}
    assert trainer.floating_point_ops(tokens) == training_flops(shape, [50, 50], Convention.transformers)
