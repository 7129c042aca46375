"""Pads attention heads that are too small for vLLM's CPU kernels, without changing the model's output.

The kernels do not support head sizes 8 and 16, which very small models have. A head of size d becomes one of D = 4 d:

    rotary     entry i of the first half rotates at base^(-2 i / d) = base^(-2 (4 i) / D), so it moves to entry 4 i of
               the wider half, and likewise in the second half
    scale      scores are divided by sqrt(D) = 2 sqrt(d), so queries are doubled, which is exact
    the rest   zeros, which add 0 to scores and values

vLLM's Llama reads the head size from the configuration and supports biases; its Qwen2 does not read it. A Qwen2 without
a sliding window is a Llama with biases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedConfig

_FACTOR = 4
_PROJECTION = re.compile(r"\.self_attn\.([qkvo])_proj\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class SmallHeads:
    """Pads heads of size `head_size` to four times their size."""

    head_size: int
    qkv_bias: bool

    @classmethod
    def of(cls, config: PreTrainedConfig, device: str) -> SmallHeads | None:
        """The padding for a model, or None where vLLM supports its heads or the architecture is not covered."""
        kind = config.model_type
        heads = int(getattr(config, "num_attention_heads", 1))
        size = int(getattr(config, "head_dim", None) or int(getattr(config, "hidden_size", 0)) // heads)
        if device != "cpu" or kind not in ("llama", "qwen2") or size not in (8, 16):
            return None
        return cls(size, kind == "qwen2")

    def overrides(self) -> dict[str, object]:
        """Overrides of the model's config.json, for vLLM."""
        bias: dict[str, object] = {"qkv_bias": True} if self.qkv_bias else {}
        return {"architectures": ["LlamaForCausalLM"], "head_dim": _FACTOR * self.head_size, **bias}

    def widen(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights by name, with padded heads in the attention projections."""
        return {name: self._widened(name, weight) for name, weight in weights.items()}

    def _widened(self, name: str, weight: Tensor) -> Tensor:
        found = _PROJECTION.search(name)
        if found is None:
            return weight
        # The output projection has heads in its columns, the other projections in their rows.
        rows = weight.detach().T if found[1] == "o" else weight.detach()
        heads = rows.shape[0] // self.head_size
        half = self.head_size // 2
        places = torch.arange(half) * _FACTOR
        places = torch.cat([places, places + half * _FACTOR]).to(weight.device)
        wide = rows.new_zeros(heads, self.head_size * _FACTOR, *rows.shape[1:])
        wide[:, places] = rows.reshape(heads, self.head_size, *rows.shape[1:]) * (2 if found[1] == "q" else 1)
        wide = wide.reshape(-1, *rows.shape[1:])
        return (wide.T if found[1] == "o" else wide).contiguous()
