"""Random small policies and batches with unequal prompt and response lengths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from sfpo_bench.core.types import Completion, FinishReason
from sfpo_bench.training.batch import TrainBatch, assemble
from sfpo_bench.training.layout import PlacedBatch, placed

VOCABULARY = 23
GROUP = 4


def policy(
    seed: int = 0, dtype: torch.dtype = torch.float64, *, tied: bool = True, kind: str = "qwen2"
) -> PreTrainedModel:
    """A two-layer model with large enough weights that ratios leave the clip range within a few steps."""
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "tie_word_embeddings": tied,
        "initializer_range": 0.3,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel
        model = LlamaForCausalLM(LlamaConfig(**shape)) if kind == "llama" else Qwen2ForCausalLM(Qwen2Config(**shape))
    if dtype == torch.float64:
        make_norms_exact(model)
    module: nn.Module = model
    module.to(dtype)
    return model


class ExactNorm(nn.Module):
    """A root-mean-square norm in the precision of its input.

    transformers computes its own in fp32 even for fp64 models, which turns a last-bit difference of layouts into 1e-8.
    """

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.eps)


def make_norms_exact(model: nn.Module) -> None:
    """Put an `ExactNorm` in the place of every root-mean-square norm of `model`."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                norm: Any = child  # Its attributes depend on the architecture.
                setattr(module, name, ExactNorm(norm.weight, norm.variance_epsilon))


def batch(groups: int = 4, seed: int = 0, *, silent_groups: int = 1) -> TrainBatch:
    """`groups` groups of four responses; the first `silent_groups` of them have zero advantages."""
    source = torch.Generator().manual_seed(seed)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, VOCABULARY, (count,), generator=source).tolist())

    completions = []
    for group in range(groups):
        prompt = draw(2 + group % 3)
        for sample in range(GROUP):
            response = draw(1 + (3 * group + 2 * sample) % 7)
            completions.append(
                Completion(str(group), sample, prompt, response, (0.0,) * len(response), "", FinishReason.stopped)
            )
    advantages = torch.randn(groups, GROUP, generator=source, dtype=torch.float64)
    advantages[:silent_groups] = 0
    groups_B = [int(one.problem_id) for one in completions]
    return assemble(completions, advantages.reshape(-1), 8, groups=groups_B)


def on_cpu(data: TrainBatch) -> PlacedBatch:
    """The batch as a model on the processor takes it."""
    [found] = placed([data], torch.device("cpu"))
    return found
