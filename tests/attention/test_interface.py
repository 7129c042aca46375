"""Which models pack, and that a model behaves as before when it is called in the ordinary way."""

from __future__ import annotations

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from sfpo_bench.attention.interface import NAME, packs
from tests.training.policies import policy


def qwen3() -> PreTrainedModel:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=23, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=64, initializer_range=0.3,
        )
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [policy, lambda: policy(kind="llama"), qwen3], ids=["qwen2", "llama", "qwen3"])
def test_the_architectures_of_the_recipes_pack(make, dtype: torch.dtype) -> None:  # type: ignore[no-untyped-def]  # the makers differ in their arguments
    assert packs(make().to(dtype).eval())


def test_attention_with_a_soft_cap_does_not_pack_and_is_left_alone() -> None:
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=23, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, layer_types=["full_attention"],
        )
    )  # fmt: skip
    before = model.config._attn_implementation
    assert not packs(model.eval())
    assert model.config._attn_implementation == before != NAME


def test_an_ordinary_call_of_a_packing_model_is_bitwise_what_it_was() -> None:
    ids = torch.randint(2, 23, (3, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    found = []
    for ready in (False, True):
        model = policy(dtype=torch.float32).eval()
        assert not ready or packs(model)
        with torch.no_grad():
            found.append((model(input_ids=ids).logits, model(input_ids=ids, attention_mask=mask).logits))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
