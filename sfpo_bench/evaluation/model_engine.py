"""A model with the engine that samples from it. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sfpo_bench.core.types import Completion
from sfpo_bench.evaluation.generation import Encode
from sfpo_bench.evaluation.prompted_problems import Benchmark, PromptedProblem
from sfpo_bench.models import load as models
from sfpo_bench.models.load import ModelSettings
from sfpo_bench.models.lora import merge_into
from sfpo_bench.rollout.encoding import encode_prompts
from sfpo_bench.rollout.parity import Score
from sfpo_bench.rollout.protocol import Request, RolloutEngine
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.training.batch import assemble
from sfpo_bench.training.build import EngineHost, build_engine
from sfpo_bench.training.checkpoint import Checkpoint
from sfpo_bench.training.layout import placed
from sfpo_bench.training.scoring import Scorer

_PROBES = 8


@dataclass(frozen=True, slots=True)
class ModelEngine:
    """A rollout engine, and the function that encodes prompts to token ids."""

    engine: RolloutEngine
    encode: Encode


def build_model_engine(
    settings: EvaluateSettings, model: ModelSettings, checkpoint: Checkpoint | None, benchmarks: Sequence[Benchmark]
) -> ModelEngine:
    """Build the engine of `settings.rollout` for the model, with the checkpoint's weights if one is given."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    policy = models.load(model, settings.precision, models.resolve_device(settings.device))
    policy.model.eval()
    if checkpoint is not None:
        merge_into(policy.model, checkpoint.weights())

    def encode(prompted_problems: Sequence[PromptedProblem]) -> Sequence[tuple[int, ...]]:
        return encode_prompts(policy.tokenizer, [prompted.prompt for prompted in prompted_problems])

    # Fail early on prompts that the model cannot encode; each prompt is encoded again when it is needed.
    encode([prompted for benchmark in benchmarks for prompted in benchmark.prompted])
    first = benchmarks[0].prompted[:_PROBES]
    probes = [Request(one.key, ids, (0,)) for one, ids in zip(first, encode(first), strict=True)]
    host = EngineHost(
        model=model,
        policy=policy,
        precision=settings.precision,
        score=_score(Scorer(policy.model, settings.engine.temperature), policy.model.device),
        seed=settings.sampling.seed,
        max_new_tokens=settings.sampling.max_new_tokens,
    )
    return ModelEngine(build_engine(settings.engine, host, probes), encode)


def _score(scorer: Scorer, device: torch.device) -> Score:
    """Return a function that computes the model's log-probs of response tokens, to compare engines with."""

    def score(completions: Sequence[Completion]) -> list[list[float]]:
        with torch.no_grad():
            [batch] = placed([assemble(completions, torch.zeros(len(completions)), 1)], device)
            found = scorer.score(batch)
        rows = zip(found.log_probs_BT, found.mask_BT, strict=True)
        return [values[mask].tolist() for values, mask in rows]

    return score
