"""The resources that a run needs, computed from its settings and the model's shape; nothing is loaded.

Memory is an estimate. Parts that follow from the settings are exact (weights, gradients, optimizer state, the anchor,
the key-value cache). Activations are counted per token and layer for a Llama-like decoder and the largest micro-batch
that the settings allow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from sfpo_bench.core.content import MODEL_CONFIG
from sfpo_bench.models.shapes import Shape, read_shape
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.rollout import Placement, VllmRollout
from sfpo_bench.settings.training import OptimizerKind, Precision

_BYTES = {Precision.float32: 4, Precision.bfloat16: 2, Precision.float64: 8}
# Measured: Python with torch and transformers imported, and with vLLM.
_PROCESS, _PROCESS_WITH_VLLM = 700 * 2**20, 1100 * 2**20
_CHUNK_LOGITS = 2**25  # most logits in memory at once, as in training/scoring.py


class Phase(StrEnum):
    """When memory is held: always, or in one part of a step."""

    always = "always"
    update = "update"
    step = "optimizer step"
    modules = "update of a module"
    generation = "generation"
    checkpoint = "checkpoint"


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A part of the training process's memory.

    `host` parts are in host memory even with a GPU. `spread` parts are divided among GPUs although they are not held
    all the time."""

    name: str
    size_bytes: int
    phase: Phase
    host: bool = False
    spread: bool = False


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """The memory parts and disk sizes of a run."""

    parameters: int
    parts: tuple[MemoryPart, ...]
    kv_bytes_per_token: int
    sequence_tokens: int
    checkpoint_bytes: int
    kept_bytes: int

    @property
    def run_bytes(self) -> int:
        """Disk space of a run: what it keeps, plus the checkpoint being written."""
        return self.kept_bytes + self.checkpoint_bytes

    @property
    def peak_bytes(self) -> int:
        """Peak memory on a CPU: what is always held, plus the largest phase."""
        return _peak(self.parts)

    @property
    def gpu_peak_bytes(self) -> int:
        """Peak memory of a GPU, without the parts in host memory."""
        return _peak(tuple(part for part in self.parts if not part.host))

    def per_device_bytes(self, devices: int) -> int:
        """Return the peak memory of each of several GPUs; an estimate that has not been measured.

        What is always held is sharded. All weights are gathered for generation; for the update one layer at a time is,
        which is not counted."""
        if devices == 1:
            return self.gpu_peak_bytes
        here = [part for part in self.parts if not part.host]
        spread = sum(part.size_bytes for part in here if part.phase is Phase.always) // devices
        weights = sum(part.size_bytes for part in here if part.name.startswith("weights "))
        gathered = MemoryPart("gathered weights", weights, Phase.generation)
        others = [part for part in here if part.phase is not Phase.always]
        own = [replace(part, size_bytes=part.size_bytes // devices) if part.spread else part for part in others]
        return spread + _peak((gathered, *own))


def _peak(parts: tuple[MemoryPart, ...]) -> int:
    held = {phase: sum(part.size_bytes for part in parts if part.phase is phase) for phase in Phase}
    return held[Phase.always] + max(held[phase] for phase in Phase if phase is not Phase.always)


def plan(config: RunConfig, shape: Shape, prompt_tokens: int | None = None) -> ResourcePlan:
    """Return the plan of a run of `config` with a model of this shape.

    `prompt_tokens` is the longest prompt in the data; if None, the limit in the settings is used."""
    learner, rollout = config.learner, config.rollouts
    size, count = _BYTES[learner.precision], shape.parameters
    trained, master = _trained(config, shape), _master_bytes(learner.precision)
    slots = 3 if learner.optimizer is OptimizerKind.adamw else 1  # the weight and its two moments
    checkpoint = master * slots * (trained + sum(modules_beside(config, shape).values()))
    checkpoint += master * trained * config.methods.needs.copies_in_checkpoint
    checkpoint += master * trained * (config.moving_reference + config.samples_beside)
    checkpoint += size * trained * config.earlier_copies
    return ResourcePlan(
        parameters=count,
        parts=tuple(part for part in _parts(config, shape, prompt_tokens) if part.size_bytes),
        kv_bytes_per_token=shape.kv_per_token * size,
        sequence_tokens=rollout.max_prompt_tokens + rollout.max_new_tokens,
        checkpoint_bytes=checkpoint,
        kept_bytes=config.training.kept_bytes(master * trained, checkpoint),
    )


def _master_bytes(precision: Precision) -> int:
    """Return the bytes of each master weight, and of each of its moments."""
    return 8 if precision is Precision.float64 else 4


def _parts(config: RunConfig, shape: Shape, prompt_tokens: int | None) -> Iterator[MemoryPart]:
    learner, rollout = config.learner, config.rollouts
    count, trained, size = shape.parameters, _trained(config, shape), _BYTES[learner.precision]
    master = _master_bytes(learner.precision)
    copies = learner.precision is Precision.bfloat16
    moments = 2 if learner.optimizer is OptimizerKind.adamw else 0
    vllm = isinstance(rollout, VllmRollout) and rollout.placement is Placement.in_process
    yield MemoryPart("process", _PROCESS_WITH_VLLM if vllm else _PROCESS, Phase.always, host=True)
    yield MemoryPart(f"weights ({learner.precision.value})", size * count, Phase.always)
    if learner.lora_rank:
        yield MemoryPart(f"adapters ({learner.precision.value})", size * trained, Phase.always)
    yield MemoryPart("master weights (float32)", master * trained * copies, Phase.always)
    # Gradients are stored in the memory of the master weights.
    yield MemoryPart("master weights: what bfloat16 lacks", 2 * trained * copies, Phase.always)
    for phase in (Phase.update, Phase.step):
        yield MemoryPart("gradients", master * trained * (not copies), phase, spread=True)
    yield MemoryPart("optimizer moments", moments * master * trained, Phase.always)
    needs = config.methods.needs
    anchors = master * trained * (needs.copies + needs.state_copies * moments)
    yield MemoryPart("copies of the weights for the update rule", anchors, Phase.always, host=learner.anchor_on_host)
    yield MemoryPart("reference weights for the KL term", size * count * config.methods.uses_reference, Phase.always)
    precise = master * trained * (copies and config.moving_reference)
    yield MemoryPart("reference weights in float32, which follow the policy", precise, Phase.always)
    beside = size * count + master * trained * copies
    yield MemoryPart("weights to sample from beside the policy's", beside * config.samples_beside, Phase.always)
    earlier = size * count * (config.earlier_copies > 0) + size * trained * rollout.stale_steps
    yield MemoryPart("weights of earlier steps, to sample from", earlier, Phase.always)
    longest = rollout.max_prompt_tokens if prompt_tokens is None else prompt_tokens
    batch_tokens = rollout.prompts * (longest + rollout.group * rollout.max_new_tokens)
    tokens = min(learner.micro_batch_tokens, batch_tokens)
    # Master weights take over gradients one tensor at a time; the head has the largest.
    head = 0 if learner.lora_rank else shape.embedding
    yield MemoryPart("gradient of the head", size * head * copies, Phase.update)
    yield MemoryPart("gradient of the embedding beside its master", master * head * copies, Phase.step)
    yield _activation_part(config, shape, tokens)
    logits = min(_CHUNK_LOGITS, tokens * shape.vocabulary)
    yield MemoryPart("logits, then their gradient", logits * size, Phase.update)
    yield from _module_parts(config, shape, tokens)
    # The serializer copies what it writes, one file at a time.
    largest = max((trained, *modules_beside(config, shape).values()))
    yield MemoryPart("writing a checkpoint", max(1, moments) * master * largest, Phase.checkpoint, host=True)
    yield from _generation(config, shape, size)


def _activation_part(config: RunConfig, shape: Shape, tokens: int) -> MemoryPart:
    # Padded grids copy a prompt's keys and values for each response, which is not counted.
    attention = "padded grids" if config.device == "cpu" else "FlexAttention where it runs, else padded grids"
    name = f"activations of {tokens} tokens (estimate; {attention})"
    return MemoryPart(name, _activations(config, shape, tokens), Phase.update)


def _module_parts(config: RunConfig, shape: Shape, tokens: int) -> Iterator[MemoryPart]:
    """Yield the memory of the modules beside the policy, which are updated in sequence after the policy."""
    learner, beside = config.learner, modules_beside(config, shape)
    size, master = _BYTES[learner.precision], _master_bytes(learner.precision)
    copies = learner.precision is Precision.bfloat16
    moments = 2 if learner.optimizer is OptimizerKind.adamw else 0
    for name, own in beside.items():
        # Master weights and their bfloat16 remainder, as for the policy.
        held = size + master * moments + (master + 2) * copies
        yield MemoryPart(f"{name}: weights and moments", held * own, Phase.always)
    if beside:
        gradients = master * max(beside.values()) * (not copies)
        activations = _activations(config, _module_shape(config, shape), tokens)
        yield MemoryPart("gradients of a module", gradients, Phase.modules, spread=True)
        yield MemoryPart(f"its activations of {tokens} tokens (estimate)", activations, Phase.modules)


def _module_shape(config: RunConfig, policy: Shape) -> Shape:
    """Return the shape of the model that the modules beside the policy are built from."""
    path = config.modules.model_path
    return read_shape(Path(path).expanduser() / MODEL_CONFIG) if path else policy


def modules_beside(config: RunConfig, policy: Shape) -> dict[str, int]:
    """Return the number of trained parameters of each module beside the policy, by name."""
    modules, shape = config.modules, _module_shape(config, policy)
    body = shape.parameters - (0 if shape.tied else shape.embedding)
    return {name: modules.parameters(name, body, shape.hidden) for name in modules.names}


def _generation(config: RunConfig, shape: Shape, size: int) -> Iterator[MemoryPart]:
    rollout = config.rollouts
    if isinstance(rollout, VllmRollout):
        if rollout.placement is not Placement.in_process:
            return  # another process, with separate memory
        on_gpu = config.device not in ("cpu",) and rollout.sleep
        phase = Phase.generation if on_gpu else Phase.always
        own_head = shape.embedding if shape.tied else 0
        yield MemoryPart("vLLM: weights, the head on its own", size * (shape.parameters + own_head), phase)
        yield MemoryPart("vLLM: key-value cache", rollout.kv_cache_mib * 2**20, phase)
        return
    # A prompt is stored once; space for response tokens is doubled when it is full.
    prompts = -(-rollout.batch_responses // rollout.group)
    tokens = prompts * rollout.max_prompt_tokens + 2 * rollout.batch_responses * rollout.max_new_tokens
    yield MemoryPart("key-value cache of the rollouts, at most", tokens * shape.kv_per_token * size, Phase.generation)


def _trained(config: RunConfig, shape: Shape) -> int:
    """Return the number of parameters that the optimizer updates: all, or those of the adapters."""
    rank = config.learner.lora_rank
    return shape.adapter(rank) if rank else shape.parameters


def _activations(config: RunConfig, shape: Shape, tokens: int) -> int:
    """Return the estimated bytes of activations that the backward pass needs for `tokens` tokens."""
    size = _BYTES[config.learner.precision]
    found = tokens * _activation_bytes(shape, size)
    if config.learner.recompute_layers:
        return found // shape.layers + tokens * shape.layers * shape.hidden * size
    return found


def _activation_bytes(shape: Shape, size: int) -> int:
    """Return the bytes saved for the backward pass per token.

    These are inputs and outputs of the projections in the model's precision, and the two norms of each layer in
    fp32."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    layer = size * (4 * shape.hidden + 3 * queries + 4 * keys + 4 * shape.feed_forward) + 4 * 4 * shape.hidden
    return shape.layers * layer
