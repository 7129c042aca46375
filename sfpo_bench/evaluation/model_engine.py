"""A model and the engine that samples from it. Importing this costs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sfpo_bench.evaluation.generation import Encode
from sfpo_bench.evaluation.question_paper import Question
from sfpo_bench.evaluation.settings import EvaluateSettings
from sfpo_bench.models import load as models
from sfpo_bench.models.load import ModelSettings
from sfpo_bench.rollout.encoding import encode_prompts, end_of_sequence_ids
from sfpo_bench.rollout.protocol import RolloutEngine
from sfpo_bench.rollout.transformers_engine import TransformersEngine
from sfpo_bench.training.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class ModelEngine:
    """What samples, and how prompts become its token ids."""

    engine: RolloutEngine
    encode: Encode


def build_model_engine(settings: EvaluateSettings, model: ModelSettings, checkpoint: Checkpoint | None) -> ModelEngine:
    """The model with the checkpoint's weights, if one is given, in the engine of `settings.rollout`."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    policy = models.load(model, settings.precision, models.resolve_device(settings.device))
    policy.model.eval()
    if checkpoint is not None:
        _load_weights(policy.model, checkpoint)
    end_ids = end_of_sequence_ids(policy.model, policy.tokenizer)
    engine = TransformersEngine(policy.model, policy.tokenizer, end_ids, settings.engine.batch_responses)

    def encode(questions: Sequence[Question]) -> Sequence[tuple[int, ...]]:
        return encode_prompts(policy.tokenizer, [question.prompt for question in questions])

    return ModelEngine(engine, encode)


def _load_weights(model: torch.nn.Module, checkpoint: Checkpoint) -> None:
    from safetensors.torch import load_file

    weights = load_file(checkpoint.weights_file)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
