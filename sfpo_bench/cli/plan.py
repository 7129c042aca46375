"""`sfpo-bench train … --plan`: what the run would need, without starting it."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.config import RunConfig, from_node
from sfpo_bench.errors import MissingDataError
from sfpo_bench.models.load import locate, shape_of
from sfpo_bench.models.settings import HuggingFaceModel
from sfpo_bench.plan import Plan, plan
from sfpo_bench.rollout.settings import OverLong, VllmRollout
from sfpo_bench.types import Split


def act(node: DictConfig) -> None:
    config = from_node(node)
    longest = longest_prompt(config)
    found = plan(config, shape_of(config.model), longest)
    rollout, learner = config.rollouts, config.learner
    steps = rollout.prompts // learner.mini_batch_prompts if learner.mini_batch_prompts else learner.mini_batches
    say(f"{config.name}: {config.description}")
    say(
        f"a step: {rollout.prompts} prompts x {rollout.group} responses, at most {found.sequence_tokens:,} tokens "
        f"each; a pass is {steps} optimizer step{'s' * (steps > 1)}; {config.training.steps} steps"
    )
    prompts = (
        "no data at hand: prompts as long as they may be" if longest is None else f"longest prompt {longest} tokens"
    )
    say(f"{found.parameters:,} parameters; {prompts}")
    for line in lines(found):
        say(line)
    if isinstance(rollout, VllmRollout):
        fits = rollout.kv_cache_mib * 2**20 // (found.kv_bytes_per_token * found.sequence_tokens)
        say(f"  vLLM's cache holds {fits:,} responses of full length side by side")


def longest_prompt(config: RunConfig) -> int | None:
    """Tokens of the longest training prompt that is not over the limit; None when the model's tokenizer or the data
    are not on this machine."""
    from transformers import AutoTokenizer

    from sfpo_bench.rollout.encoding import encode_problems

    if isinstance(config.model, HuggingFaceModel) and not Path(config.model.path).is_dir():
        return None
    try:
        problems = config.policy_task.problems(Split.train)
    except MissingDataError:
        return None
    tokenizer = AutoTokenizer.from_pretrained(locate(config.model))
    limit = config.rollouts.max_prompt_tokens
    encoded = encode_problems(tokenizer, config.policy_task, problems, limit, OverLong.drop)
    return max(len(item.prompt_ids) for item in encoded)


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
