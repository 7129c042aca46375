"""Wider heads compute what the small ones did; a Qwen2 without a window is a Llama with biases."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM, Qwen3Config

from sfpo_bench.rollout.small_heads import SmallHeads

SHAPE: dict[str, Any] = {
    "vocab_size": 29,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize("head_size", [8, 16])
@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_logits_are_those_of_the_small_heads(kind: str, head_size: int) -> None:
    torch.manual_seed(0)
    shape = {**SHAPE, "hidden_size": 4 * head_size}
    small: PreTrainedModel
    small = Qwen2ForCausalLM(Qwen2Config(**shape)) if kind == "qwen2" else LlamaForCausalLM(LlamaConfig(**shape))
    with torch.no_grad():
        for name, weight in small.named_parameters():
            if name.endswith("bias"):
                weight.normal_()
    heads = SmallHeads.of(small.config, "cpu")
    assert heads is not None and heads.overrides()["head_dim"] == 4 * head_size
    wide = LlamaForCausalLM(LlamaConfig(**shape, head_dim=4 * head_size, attention_bias=True))
    with torch.no_grad():
        for name, weight in wide.named_parameters():
            if name.endswith("bias"):
                weight.zero_()  # transformers' Llama has them on the output projection too
    wide.load_state_dict(heads.widen(dict(small.named_parameters())), strict=False)
    ids = torch.randint(0, 29, (3, 20))
    with torch.no_grad():
        assert torch.allclose(wide(ids).logits, small(ids).logits, atol=2e-5)


def test_heads_that_vllm_can_take_other_architectures_and_gpus_are_left_alone() -> None:
    shape = {**SHAPE, "hidden_size": 64}
    assert SmallHeads.of(Qwen2Config(**{**shape, "hidden_size": 128}), "cpu") is None
    assert SmallHeads.of(Qwen3Config(**shape, head_dim=16), "cpu") is None
    assert SmallHeads.of(Qwen2Config(**shape), "cuda") is None
