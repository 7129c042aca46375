"""Small random models on disk, and vLLM beside a trainer for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.core.types import Completion
from sfpo_bench.models.arithmetic_character import build_tokenizer
from sfpo_bench.models.load import aliases
from sfpo_bench.rollout.protocol import Request
from sfpo_bench.rollout.small_heads import SmallHeads
from sfpo_bench.rollout.vllm_backend import UNTIED, Backend, Launch
from sfpo_bench.rollout.vllm_engine import TrainerSide, VllmEngine
from sfpo_bench.settings.rollout import VllmRollout
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.build import presentation
from sfpo_bench.training.learner import LocalLearner

# What every test here is marked with. vLLM and its dependencies warn of their own future, which is not ours to mend.
ON_VLLM = [
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed; `make test-vllm` makes an environment with it"
    ),
    pytest.mark.filterwarnings("default"),
]

VOCABULARY, END = 16, frozenset({1})
REQUESTS = [
    Request("a", (3, 4, 5), (0, 1, 2)),
    Request("b", (7,), (0,)),
    Request("c", (9, 8, 7, 6, 5, 4), (0, 1)),
]

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}


def random_model(kind: str, *, tied: bool, seed: int = 0, head_size: int = 16) -> PreTrainedModel:
    """A random two-layer Qwen2, Qwen3 or Llama over the sixteen characters, with a lively distribution.

    Heads of 16 numbers (32 for Qwen3) unless a Llama is asked for others.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "llama":
            return LlamaForCausalLM(LlamaConfig(**_SHAPE, tie_word_embeddings=tied, head_dim=head_size))
        if kind == "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**_SHAPE, tie_word_embeddings=tied, head_dim=32))
        return Qwen2ForCausalLM(Qwen2Config(**_SHAPE, tie_word_embeddings=tied))


def saved(model: PreTrainedModel, folder: Path) -> Path:
    """The model with the character tokenizer, as a folder."""
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@dataclass(slots=True)
class Side:
    """A trainer: model, tokenizer and learner of a folder."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    learner: LocalLearner
    folder: Path

    @classmethod
    def of(cls, folder: Path, temperature: float = 1.0) -> Side:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        settings = LearnerSettings(learning_rate=1e-3)
        return cls(
            model,
            AutoTokenizer.from_pretrained(folder),
            LocalLearner(model, Clipped(), settings, temperature),
            folder,
        )

    def trainer(self, names: Mapping[str, str] | None = None) -> TrainerSide:
        present = presentation(aliases(self.model) if names is None else names, self.small_heads)
        return TrainerSide(self.learner.weights(), present, self.learner.log_probs, "float32", 0)

    @property
    def small_heads(self) -> SmallHeads | None:
        return SmallHeads.of(self.model.config, "cpu")

    def shake(self, seed: int) -> None:
        """Move every weight by a tenth of its matrix's spread, as an update would."""
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.add_(0.1 * weight.std() * torch.randn(weight.shape, generator=source))

    def launch(self, **changes: Any) -> Launch:
        settings: dict[str, Any] = {
            "model": str(self.folder),
            "revision": "",
            "dtype": "float32",
            "device": "cpu",
            "max_model_tokens": 64,
            "max_sequences": 64,
            "kv_cache_bytes": 64 * 2**20,
            "compile_model": False,
            "sleep": True,
            "overrides": {**UNTIED, **(self.small_heads.overrides() if self.small_heads else {})},
        }
        return Launch(**{**settings, **changes})

    def engine(
        self,
        start: Callable[[], Backend],
        probes: list[Request] | None = None,
        end_ids: frozenset[int] = END,
        names: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> VllmEngine:
        rollout = VllmRollout(max_new_tokens=24, **settings)
        return VllmEngine(start, rollout, self.trainer(names), self.tokenizer, end_ids, probes or REQUESTS)


def largest_difference(side: Side, engine: VllmEngine, completions: list[Completion]) -> float:
    """Of the engine's log-probs and the trainer's."""
    scored = side.learner.log_probs(completions)
    return max(
        abs(a - b)
        for row, completion in zip(scored, completions, strict=True)
        for a, b in zip(row, completion.log_probs, strict=True)
    )
