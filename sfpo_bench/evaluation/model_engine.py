"""A model and the engine that samples from it. Importing this costs torch."""

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
from sfpo_bench.training.scoring import Scorer

_PROBES = 8


@dataclass(frozen=True, slots=True)
class ModelEngine:
    """What samples, and how prompts become its token ids."""

    engine: RolloutEngine
    encode: Encode


def build_model_engine(
    settings: EvaluateSettings, model: ModelSettings, checkpoint: Checkpoint | None, benchmarks: Sequence[Benchmark]
) -> ModelEngine:
    """The model with the checkpoint's weights, if one is given, in the engine of `settings.rollout`."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    policy = models.load(model, settings.precision, models.resolve_device(settings.device))
    policy.model.eval()
    if checkpoint is not None:
        merge_into(policy.model, checkpoint.weights())

    def encode(prompted_problems: Sequence[PromptedProblem]) -> Sequence[tuple[int, ...]]:
        return encode_prompts(policy.tokenizer, [prompted.prompt for prompted in prompted_problems])

    # Each is encoded again when its turn comes; a prompt that the model cannot read is an error before any work.
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
    """The model's own log-probs of response tokens, at the temperature that engines are compared at."""

    def score(completions: Sequence[Completion]) -> list[list[float]]:
        with torch.no_grad():
            found = scorer.score(assemble(completions, torch.zeros(len(completions)), 1, device))
        rows = zip(found.log_probs_BT, found.mask_BT, strict=True)
        return [values[mask].tolist() for values, mask in rows]

    return score
