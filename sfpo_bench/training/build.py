"""Builds the trainer from a configuration. It imports torch, so configurations are checked before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import Problem, Split
from sfpo_bench.models import load as models
from sfpo_bench.models import lora
from sfpo_bench.models.load import ModelSettings, Policy
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.rollout.encoding import EncodedProblem, encode_problems, end_of_sequence_ids
from sfpo_bench.rollout.gathering_engine import GatheringEngine
from sfpo_bench.rollout.parity import Score
from sfpo_bench.rollout.protocol import Request, RolloutEngine
from sfpo_bench.rollout.small_heads import SmallHeads
from sfpo_bench.rollout.solutions import require_solutions, with_solutions
from sfpo_bench.rollout.transformers_engine import TransformersEngine
from sfpo_bench.rollout.vllm_backend import UNTIED, Backend, Launch
from sfpo_bench.rollout.vllm_engine import TrainerSide, VllmEngine
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.models import HuggingFaceModel
from sfpo_bench.settings.rollout import Placement, RolloutSettings, VllmRollout
from sfpo_bench.settings.training import Precision
from sfpo_bench.training.checkpoint import require_space
from sfpo_bench.training.device_peaks import peak_of
from sfpo_bench.training.evaluation import Evaluator, evaluation_sets
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.logbook import Observer
from sfpo_bench.training.modules import TrainedModules
from sfpo_bench.training.ranks import ALONE, PlacedModel, Ranks
from sfpo_bench.training.reference import EarlierModel, SampledModel
from sfpo_bench.training.rewards import FlippedRewards, in_training
from sfpo_bench.training.rollouts import ProblemSchedule, Sampler
from sfpo_bench.training.throughput import Machine, shape_or_none
from sfpo_bench.training.trainer import OnCheckpoint, Parts, Trainer


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks of a trainer: for each journal record, and for the journal bytes that each new checkpoint covers."""

    observe: Observer = lambda record: None
    on_checkpoint: OnCheckpoint = lambda covered_bytes: None


def build_trainer(
    config: RunConfig, folder: RunFolder, stop: StopRequest, hooks: Hooks | None = None, ranks: Ranks = ALONE
) -> Trainer:
    """The trainer of a run, with data, model and disk space loaded and checked in this order.

    Raises `ConfigError` or another `BenchError` before any training.
    """
    started = time.perf_counter()
    problems = {split: config.policy_task.problems(split) for split in Split}
    if config.collector.uses_solutions:
        require_solutions(problems[Split.train], getattr(config.task, "kind", type(config.task).__name__))
    if config.threads:
        torch.set_num_threads(config.threads)
    parts = _parts(config, problems, ranks)
    weights = sum(w.element_size() * w.numel() for w in parts.learner.masters.masters.values())
    copies = 3 + config.moving_reference + config.samples_beside + config.earlier_copies  # with two moments
    checkpoint = copies * weights + 3 * parts.modules.size_bytes
    require_space(folder.path, config.training.kept_bytes(weights, checkpoint) + checkpoint)
    hooks = hooks or Hooks()
    return Trainer(parts, folder, stop, hooks.observe, hooks.on_checkpoint, started)


def _parts(config: RunConfig, problems: Mapping[Split, Sequence[Problem]], ranks: Ranks) -> Parts:
    rollout, task = config.rollouts, config.policy_task
    device = ranks.device(models.resolve_device(config.device))
    policy = models.load(config.model, config.learner.precision, device)
    modules = _modules(config, policy, device, ranks)
    if config.learner.lora_rank:
        lora.adapt(policy.model, config.learner.lora_rank, config.seed)
    encoded = {
        split: encode_problems(policy.tokenizer, task, found, rollout.max_prompt_tokens, rollout.over_long)
        for split, found in problems.items()
    }
    if config.collector.uses_solutions:
        encoded[Split.train] = with_solutions(
            encoded[Split.train], policy.model, policy.tokenizer, rollout.max_new_tokens, rollout.over_long
        )
    aliases = models.aliases(policy.model)  # aliases share memory, which sharding undoes
    learner = _learner(config, policy, ranks)
    engine = _engine(config, policy, aliases, learner, encoded[Split.train], ranks)
    sets = evaluation_sets(config.evaluation, encoded[Split.report], encoded[Split.select])
    return Parts(
        sampler=_sampler(config, policy, engine, learner, encoded[Split.train], ranks),
        collector=config.collector,
        methods=config.methods,
        engine=engine,
        learner=learner,
        evaluator=Evaluator(engine, task, sets, rollout.max_new_tokens, config.seed, ranks),
        seed=config.seed,
        settings=config.training,
        machine=_machine(config, policy.model, ranks),
        dropped_prompts={split: len(found) - len(encoded[split]) for split, found in problems.items()},
        ranks=ranks,
        modules=modules,
    )


def _sampler(
    config: RunConfig,
    policy: Policy,
    engine: RolloutEngine,
    learner: LocalLearner,
    problems: Sequence[EncodedProblem],
    ranks: Ranks,
) -> Sampler:
    """The sampler of graded responses to the training problems."""
    rollout = config.rollouts
    return Sampler(
        engine=engine,
        task=in_training(config.policy_task, config.training.wrong_answer_reward),
        schedule=ProblemSchedule(problems, rollout.prompts, config.seed),
        sampling=rollout.sampling(),
        group=rollout.group,
        seed=config.seed,
        ranks=ranks,
        follower=_engine_beside(config, policy, learner.follower, ranks),
        earlier=_engine_beside(config, policy, learner.earlier, ranks),
        entropies=learner.entropies,
        flipped=_flipped(config),
    )


def _machine(config: RunConfig, model: PreTrainedModel, ranks: Ranks) -> Machine:
    """The devices that train the run, with their peak, and the model's shape."""
    return Machine(
        device=model.device,
        devices=ranks.count,
        peak=peak_of(model.device, model.dtype, config.training.peak_tflops),
        shape=shape_or_none(model.config.to_dict()),
        trains_weights=not config.learner.lora_rank,
    )


def _flipped(config: RunConfig) -> FlippedRewards | None:
    """The configured label noise of rewards, or None."""
    probability = config.training.reward_flip_probability
    return FlippedRewards(probability, config.seed) if probability else None


def _modules(config: RunConfig, policy: Policy, device: str, ranks: Ranks) -> TrainedModules:
    """The initial modules beside the policy, built from the policy before it gets adapters or from their own model.

    Raises `ConfigError` for a model whose vocabulary is not the policy's.
    """
    modules, origin = config.modules, policy
    if modules.model_path:
        origin = models.load(HuggingFaceModel(path=modules.model_path), config.learner.precision, device)
        if origin.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
            raise ConfigError(
                f"algorithm.modules.model_path = {modules.model_path} has another vocabulary than the policy, whose "
                "tokens it must read; name a model with the same tokenizer, or leave it empty"
            )
    built = {name: modules.build(name, origin.model, generator(config.seed, "modules", name)) for name in modules.names}
    return TrainedModules(modules, built, config.learner, config.seed, ranks)


def _learner(config: RunConfig, policy: Policy, ranks: Ranks) -> LocalLearner:
    """The learner, with the reference and follower models where the method uses them."""
    rollout = config.rollouts
    return LocalLearner(
        policy.model,
        config.objective,
        config.learner,
        rollout.temperature,
        ranks,
        config.reference if config.methods.uses_reference else None,
        config.collector.follower,
        rollout.stale_steps,
    )


def _engine_beside(
    config: RunConfig, policy: Policy, copied: SampledModel | EarlierModel | None, ranks: Ranks
) -> RolloutEngine | None:
    """The engine of a second model beside the policy, with its memory freed; None without one."""
    if copied is None:
        return None
    engine = _own_engine(config, policy, copied.model, copied.placed, ranks)
    engine.free_memory()
    return engine


def _own_engine(
    config: RunConfig, policy: Policy, model: PreTrainedModel, placed: PlacedModel, ranks: Ranks
) -> TransformersEngine:
    """The transformers engine of a model that is whole in this process or sharded over all ranks."""
    end_ids, responses = end_of_sequence_ids(model, policy.tokenizer), config.rollouts.batch_responses
    if ranks.count == 1:
        return TransformersEngine(model, policy.tokenizer, end_ids, responses)
    return GatheringEngine(model, policy.tokenizer, end_ids, responses, placed.gather, placed.release)


def _engine(
    config: RunConfig,
    policy: Policy,
    aliases: Mapping[str, str],
    learner: LocalLearner,
    problems: Sequence[EncodedProblem],
    ranks: Ranks,
) -> RolloutEngine:
    """The configured rollout engine, ready to generate with the policy's current weights."""
    rollout = config.rollouts
    if ranks.count > 1 and not isinstance(rollout, VllmRollout):
        return _own_engine(config, policy, policy.model, learner.placed, ranks)
    if ranks.count > 1:
        _check_child(rollout)
    host = EngineHost(
        model=config.model,
        policy=policy,
        precision=config.learner.precision,
        score=learner.log_probs,
        seed=config.seed,
        max_new_tokens=config.rollouts.max_new_tokens,
        weights=learner.weights(),
        owned=learner.placed.owned(),
        aliases=aliases,
    )
    probes = [Request(item.problem.id, item.prompt_ids, (0,)) for item in problems]
    return build_engine(rollout, host, probes)


def _check_child(rollout: RolloutSettings) -> None:
    """Raise `ConfigError` unless each process of the run can start its own vLLM."""
    assert isinstance(rollout, VllmRollout)
    if rollout.placement is not Placement.child_process or rollout.restarts:
        raise ConfigError(
            f"rollout.placement = {rollout.placement.value} with rollout.restarts = {rollout.restarts} in a run of "
            "several processes, each of which has a vLLM of its own; use rollout.placement=child_process and "
            "rollout.restarts=0"
        )


@dataclass(frozen=True, slots=True)
class EngineHost:
    """The trainer's side of an engine: the model and `score`, its log-probs, against which a vLLM engine is compared.

    `weights`, `owned` and `aliases` are given where the parameters are sharded over ranks; else they follow from the
    model.
    """

    model: ModelSettings
    policy: Policy
    precision: Precision
    score: Score
    seed: int
    max_new_tokens: int
    weights: Mapping[str, Tensor] | None = None
    owned: Sequence[Tensor] = ()
    aliases: Mapping[str, str] | None = None


def build_engine(rollout: RolloutSettings, host: EngineHost, probes: Sequence[Request]) -> RolloutEngine:
    """The configured engine, ready to generate with the host's weights. `probes` are prompts for the parity check."""
    model = host.policy.model
    end_ids = end_of_sequence_ids(model, host.policy.tokenizer)
    if not isinstance(rollout, VllmRollout):
        return TransformersEngine(model, host.policy.tokenizer, end_ids, rollout.batch_responses)
    device = str(model.device)
    small = SmallHeads.of(model.config, device) if rollout.placement is not Placement.server else None
    launch = Launch(
        model=models.locate(host.model),
        revision=models.revision_of(host.model),
        dtype=host.precision.value,
        device=device,
        max_model_tokens=rollout.max_prompt_tokens + host.max_new_tokens,
        max_sequences=rollout.batch_responses,
        kv_cache_bytes=rollout.kv_cache_mib * 2**20,
        compile_model=rollout.compile_model,
        sleep=rollout.sleep and rollout.placement is Placement.in_process,
        overrides={**UNTIED, **(small.overrides() if small else {})},
    )
    trainer = TrainerSide(
        weights=host.weights or dict(model.named_parameters()),
        present=presentation(models.aliases(model) if host.aliases is None else host.aliases, small),
        score=host.score,
        dtype=host.precision.value,
        seed=host.seed,
        owned=host.owned,
    )
    return VllmEngine(lambda: _backend(rollout, launch), rollout, trainer, host.policy.tokenizer, end_ids, probes)


def presentation(
    aliases: Mapping[str, str], small: SmallHeads | None
) -> Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]:
    """A function from the learner's weights to vLLM's: all names of the checkpoint, heads padded where needed."""

    def present(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return _Presented(lora.merged(weights) if lora.adapted(weights) else weights, aliases, small)

    return present


class _Presented(Mapping[str, Tensor]):
    """Weights for vLLM, each made when it is read, so that at most one sharded weight is whole at a time."""

    def __init__(self, weights: Mapping[str, Tensor], aliases: Mapping[str, str], small: SmallHeads | None) -> None:
        self._weights = weights
        self._aliases = aliases
        self._small = small

    def __getitem__(self, name: str) -> Tensor:
        weight = self._weights[self._aliases.get(name, name)]
        return self._small.widen({name: weight})[name] if self._small is not None else weight

    def __iter__(self) -> Iterator[str]:
        return iter((*self._weights, *self._aliases))

    def __len__(self) -> int:
        return len(self._weights) + len(self._aliases)


def _backend(rollout: VllmRollout, launch: Launch) -> Backend:
    """The vLLM backend of `rollout.placement`. Backends are imported lazily, since each has optional dependencies."""
    folder = Path(rollout.transfer_folder)
    if rollout.placement is Placement.in_process:
        from sfpo_bench.rollout.vllm_in_process import InProcessVllm

        return InProcessVllm(launch)
    if not folder.is_dir():
        raise MissingDataError(
            f"rollout.transfer_folder = {rollout.transfer_folder} is not a folder; name one that both processes share"
        )
    if rollout.placement is Placement.child_process:
        from sfpo_bench.rollout.vllm_child import ChildVllm

        return ChildVllm(launch, folder, rollout.start_seconds, rollout.timeout_seconds)
    from sfpo_bench.rollout.vllm_server import ServerVllm

    return ServerVllm(
        rollout.server_url, folder, rollout.batch_responses, rollout.start_seconds, rollout.timeout_seconds
    )
