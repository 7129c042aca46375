"""`sfpo-bench train … --plan`: what the run would need, without starting it."""

from __future__ import annotations

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.config import from_node
from sfpo_bench.models.load import shape_of
from sfpo_bench.plan import Plan, plan
from sfpo_bench.rollout.settings import VllmRollout


def act(node: DictConfig) -> None:
    config = from_node(node)
    found = plan(config, shape_of(config.model))
    rollout, learner = config.rollouts, config.learner
    steps = rollout.prompts // learner.mini_batch_prompts if learner.mini_batch_prompts else learner.mini_batches
    say(f"{config.name}: {config.description}")
    say(
        f"a step: {rollout.prompts} prompts x {rollout.group} responses, at most {found.sequence_tokens:,} tokens "
        f"each; a pass is {steps} optimizer step{'s' * (steps > 1)}; {config.training.steps} steps"
    )
    say(f"{found.parameters:,} parameters")
    for line in lines(found):
        say(line)
    if isinstance(rollout, VllmRollout):
        fits = rollout.kv_cache_mib * 2**20 // (found.kv_bytes_per_token * found.sequence_tokens)
        say(f"  vLLM's cache holds {fits:,} responses of full length side by side")


def lines(found: Plan) -> list[str]:
    """Every part of the memory, its sum, and the disk."""
    width = max(len(part.name) for part in found.parts)
    rows = [f"  {part.name:{width}}  {_gib(part.size_bytes)}  {part.phase.value}" for part in found.parts]
    return [
        "memory of the training process:",
        *rows,
        f"  {'peak on a CPU':{width}}  {_gib(found.peak_bytes)}",
        f"  {'peak of one GPU, without process and files':{width}}  {_gib(found.gpu_peak_bytes)}",
        f"  key-value cache: {found.kv_bytes_per_token:,} bytes per token",
        "disk:",
        f"  {'one checkpoint':{width}}  {_gib(found.checkpoint_bytes)}",
        f"  {'free space a run asks for':{width}}  {_gib(found.run_bytes)}",
    ]


def _gib(size: int) -> str:
    return f"{size / 2**30:8.2f} GiB"
