"""`sfpo-bench train … --plan[=COSTS]`: estimates memory, disk and time of a run without starting it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.cli.train import refuse_ignored
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.types import Split
from sfpo_bench.experiments.plan import ResourcePlan, modules_beside, plan
from sfpo_bench.experiments.step_costs import Network, StepCosts, StepShape
from sfpo_bench.models.load import locate, shape_of
from sfpo_bench.models.shapes import Shape
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.models import HuggingFaceModel
from sfpo_bench.settings.rollout import OverLong, VllmRollout
from sfpo_bench.settings.step_work import StepWork, step_work
from sfpo_bench.settings.training import Precision

_COLUMNS = ("rollout", "grading", "update", "exchange", "push", "step", "beside")
_DEVICES = (1, 8, 16, 32, 64, 128, 256, 512, 1024)


def act(node: DictConfig, costs: str = "") -> None:
    refuse_ignored()
    config = from_node(node)
    measured = StepCosts.read(Path(costs)) if costs else None
    longest = longest_prompt(config)
    shape = shape_of(config.model)
    found = plan(config, shape, longest)
    rollout, work = config.rollouts, step_work(config)
    steps = work.steps_per_pass
    say(f"{config.name}: {config.description}")
    say(
        f"a step: {rollout.prompts} prompts x {rollout.group} responses, at most {found.sequence_tokens:,} tokens "
        f"each; a pass is {steps} optimizer step{'s' * (steps > 1)}; {config.training.steps} steps"
    )
    for line in work_lines(work):
        say(line)
    if config.collector.most_rounds > 1:
        say(
            f"  rollouts of a step: up to {config.collector.most_rounds} times as many, of which so many are trained on"
        )
    prompts = (
        "no data at hand: prompts as long as they may be" if longest is None else f"longest prompt {longest} tokens"
    )
    say(f"{found.parameters:,} parameters; {prompts}")
    for line in lines(found):
        say(line)
    if measured is not None:
        prompt_tokens = rollout.max_prompt_tokens if longest is None else longest
        for line in time_lines(config, measured, found, step_shape(config, prompt_tokens, shape)):
            say(line)
    if isinstance(rollout, VllmRollout):
        fits = rollout.kv_cache_mib * 2**20 // (found.kv_bytes_per_token * found.sequence_tokens)
        say(f"  vLLM's cache holds {fits:,} responses of full length side by side")


def longest_prompt(config: RunConfig) -> int | None:
    """Return the tokens of the longest training prompt within the limit.

    Returns None if the model's tokenizer or the data are not on this machine.
    """
    from transformers import AutoTokenizer

    from sfpo_bench.rollout.encoding import encode_problems

    if isinstance(config.model, HuggingFaceModel) and not Path(config.model.path).is_dir():
        return None
    try:
        problems = config.policy_task.problems(Split.train)
    except MissingDataError:
        return None
    tokenizer = AutoTokenizer.from_pretrained(locate(config.model), trust_remote_code=False)
    limit = config.rollouts.max_prompt_tokens
    encoded = encode_problems(tokenizer, config.policy_task, problems, limit, OverLong.drop)
    return max(len(item.prompt_ids) for item in encoded)


def work_lines(work: StepWork) -> Iterator[str]:
    """Yield lines on the passes over the batch in one step, by purpose."""
    without = ", ".join(f"{count} for {name}" for name, count in work.forwards.items())
    yield f"  passes over the batch: at most {work.passes} with a gradient; without one: {without or 'none'}"
    for name, passes in work.module_passes.items():
        yield f"  {name}: {passes} with a gradient, 1 without, over its share of the batch"


def step_shape(config: RunConfig, prompt_tokens: int, shape: Shape) -> StepShape:
    """Return the largest step that this configuration can have.

    Every prompt has `prompt_tokens` tokens, every response the maximum length, every group a signal, and every
    module works on all groups.
    """
    rollout, work = config.rollouts, step_work(config)
    optimizer_steps = work.passes * work.steps_per_pass
    # Work of the other modules, in units of one policy pass; work is proportional to parameters.
    sizes = {name: own / shape.parameters for name, own in modules_beside(config, shape).items()}
    backwards = sum(sizes[name] * passes for name, passes in work.module_passes.items())
    forwards = sum(work.forwards.values()) - (optimizer_steps > work.passes)  # `predict` adds this one
    return StepShape(
        prompts=rollout.prompts,
        group=config.collector.trained(rollout.group),
        prompt_tokens_mean=prompt_tokens,
        response_tokens_mean=rollout.max_new_tokens,
        response_tokens_max=rollout.max_new_tokens,
        side_by_side=rollout.batch_responses,
        signal_share=1.0,
        passes=work.passes,
        optimizer_steps=optimizer_steps,
        micro_batch_tokens=config.learner.micro_batch_tokens,
        forwards_beside=forwards + backwards + sum(sizes.values()),
        backwards_beside=backwards,
        rounds=work.rounds,
    )


def time_lines(config: RunConfig, costs: StepCosts, needs: ResourcePlan, shape: StepShape) -> list[str]:
    """Return a table of step time by part on 1 to 1,024 devices, with hours per run and memory per device."""
    steps = config.training.steps
    weight_bytes = 2 if config.learner.precision is Precision.bfloat16 else 4
    network = Network(1, weight_bytes=weight_bytes)
    size = needs.parameters / costs.parameters
    rows = [
        f"seconds of a step with every response {shape.response_tokens_max:g} tokens long; costs measured on one "
        f"{costs.device} with {costs.parameters:,} parameters",
        f"assumed: devices exchange weights at {network.gigabytes_per_second:g} GB/s each. `beside`: rollouts of the "
        "next step on as many devices again, which the trainer does not do",
        *([f"{size:.3g} times the measured model: an extrapolation; measure one of its size"] if size > 10 else []),
        f"{'devices':>9}" + "".join(f"{name:>12}" for name in (*_COLUMNS, f"h of {steps:,}", "GiB each")),
    ]
    for devices in _DEVICES:
        found = costs.predict(shape, replace(network, devices=devices), needs.parameters)
        numbers = [
            *(found.rollout, found.grading, found.update, found.exchange, found.push, found.in_turn, found.overlapped),
            *(found.in_turn * steps / 3600, needs.per_device_bytes(devices) / 2**30),
        ]
        rows.append(f"{devices:>9,}" + "".join(f"{number:>12,.4g}" for number in numbers))
    return rows


def lines(found: ResourcePlan) -> list[str]:
    """Return lines with every part of the memory, its peak, and the disk space."""
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
