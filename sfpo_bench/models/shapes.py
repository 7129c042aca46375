"""Sizes of an architecture that determine a model's cost, from its config.json, without weights or torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.results.stored_files import reading


@dataclass(frozen=True, slots=True)
class Shape:
    """A dense decoder of the Llama kind: rotary positions, grouped-query attention, gated feed-forward, RMS norms.

    `qkv_bias` adds biases to the three projections (Qwen2), `qk_norm` a norm on queries and keys (Qwen3).
    """

    vocabulary: int
    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    tied: bool
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def parameters(self) -> int:
        """The number of parameters, a tied embedding counted once."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = self.hidden * (2 * queries + 2 * keys)
        attention += (queries + 2 * keys) * self.qkv_bias + 2 * self.head_size * self.qk_norm
        layer = attention + 3 * self.hidden * self.feed_forward + 2 * self.hidden
        return self.embedding * (1 if self.tied else 2) + self.layers * layer + self.hidden

    @property
    def embedding(self) -> int:
        """The number of parameters of the embedding, which is also that of the LM head."""
        return self.vocabulary * self.hidden

    def adapter(self, rank: int) -> int:
        """The number of parameters of LoRA adapters on every projection, rank * (in + out) each."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        ends = 2 * (self.hidden + queries) + 2 * (self.hidden + keys) + 3 * (self.hidden + self.feed_forward)
        return self.layers * rank * ends

    @property
    def kv_per_token(self) -> int:
        """The number of KV-cache elements per token."""
        return 2 * self.layers * self.kv_heads * self.head_size


_KINDS = {"llama": (False, False), "qwen2": (True, False), "qwen3": (False, True)}

# From the models' published config.json, for plans without access to the hub.
PUBLISHED = {
    "Qwen/Qwen2.5-Math-1.5B": Shape(151936, 1536, 8960, 28, 12, 2, 128, tied=True, qkv_bias=True),
    "Qwen/Qwen2.5-Math-7B": Shape(152064, 3584, 18944, 28, 28, 4, 128, tied=False, qkv_bias=True),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": Shape(151936, 1536, 8960, 28, 12, 2, 128, tied=False, qkv_bias=True),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": Shape(152064, 3584, 18944, 28, 28, 4, 128, tied=False, qkv_bias=True),
    "Qwen/Qwen3-4B-Base": Shape(151936, 2560, 9728, 36, 32, 8, 128, tied=True, qk_norm=True),
}


def read_shape(config: Path) -> Shape:
    """The shape in a model folder's config.json; raises `ConfigError` for an unsupported architecture."""
    with reading(config, "get the model again"):
        raw: Mapping[str, int | bool | str | None] = json.loads(config.read_text(encoding="utf-8"))
        return shape_in(raw, str(config))


def shape_in(raw: Mapping[str, int | bool | str | None], place: str) -> Shape:
    """The shape in the content of a config.json, which `place` names in the `ConfigError` for another architecture."""
    kind = str(raw.get("model_type"))
    if kind not in _KINDS:
        raise ConfigError(
            f"{place}: model_type is {kind!r}; a plan is known for {', '.join(_KINDS)}. Training does not need one"
        )
    bias, norm = _KINDS[kind]
    heads, hidden = int(raw["num_attention_heads"] or 0), int(raw["hidden_size"] or 0)
    return Shape(
        vocabulary=int(raw["vocab_size"] or 0),
        hidden=hidden,
        feed_forward=int(raw["intermediate_size"] or 0),
        layers=int(raw["num_hidden_layers"] or 0),
        heads=heads,
        kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_size=int(raw.get("head_dim") or hidden // heads),
        tied=bool(raw.get("tie_word_embeddings", False)),
        qkv_bias=bias,
        qk_norm=norm,
    )
