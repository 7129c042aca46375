"""Where the samples of an evaluation come from: a model in this process, or a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation.generation import Generation, Wanted
from sfpo_bench.evaluation.model_pin import pin_checkpoint, pin_model
from sfpo_bench.evaluation.served.sampling import generate_served, record_server
from sfpo_bench.evaluation.served.settings import check_served, pin_served
from sfpo_bench.models.load import ModelSettings
from sfpo_bench.results.evaluation import ModelPin
from sfpo_bench.rollout.vllm_environment import prepare_environment, require_vllm
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.models import HuggingFaceModel
from sfpo_bench.settings.rollout import OpenAiRollout, VllmRollout
from sfpo_bench.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from sfpo_bench.evaluation.run import EvaluationPlan


class SampleSource(Protocol):
    """What an evaluation asks of the source of its samples; `source_of` makes that of the settings."""

    @property
    def precision(self) -> str:
        """The precision of the weights, empty if the source does not say."""
        ...

    def check(self) -> None:
        """Raise `ConfigError` for settings that do not say which model is evaluated, or that would be ignored."""
        ...

    def pinned(self, trained: RunConfig | None, checkpoint: Checkpoint | None) -> tuple[ModelSettings, ModelPin]:
        """Return the model and what identifies its weights."""
        ...

    def at(self, model: ModelSettings) -> EvaluateSettings:
        """Return the settings with this model in the place of the one that they name."""
        ...

    def prepare(self, plan: EvaluationPlan, wanted: Sequence[Wanted]) -> None:
        """Do what comes once before the first of the `wanted` samples, in whichever process they are made."""
        ...

    def generate(
        self, plan: EvaluationPlan, wanted: Sequence[Wanted], stop: StopRequest, done: Callable[[int], None]
    ) -> None:
        """Generate `wanted` into the store; `done` is called with the number of samples of each part."""
        ...


def source_of(settings: EvaluateSettings) -> SampleSource:
    """Return the source of the samples."""
    engine = settings.engine
    return ServedModel(settings, engine) if isinstance(engine, OpenAiRollout) else LocalModel(settings)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that this process loads, or the checkpoint of a run, on transformers or vLLM."""

    settings: EvaluateSettings

    @property
    def precision(self) -> str:
        return self.settings.precision.value

    def check(self) -> None:
        settings = self.settings
        if isinstance(settings.engine, VllmRollout):
            require_vllm(settings.engine)
        is_default = isinstance(settings.model, HuggingFaceModel) and not settings.model.path
        if settings.run and not is_default:
            raise ConfigError(
                f"model={settings.model.kind} beside run={settings.run}: the run has its own model; leave one of them "
                "out"
            )
        if not settings.run and is_default:
            raise ConfigError(
                "nothing to evaluate: found no model and no run; expected run=FOLDER, model=embedded, model=smollm2, "
                "model=hf model.path=NAME_OR_FOLDER, or a server with rollout=openai"
            )

    def pinned(self, trained: RunConfig | None, checkpoint: Checkpoint | None) -> tuple[ModelSettings, ModelPin]:
        model, pin = pin_model(trained.model if trained else self.settings.model)
        return model, pin if checkpoint is None else pin_checkpoint(pin, checkpoint)

    def at(self, model: ModelSettings) -> EvaluateSettings:
        return self.settings if self.settings.run else replace(self.settings, model=model)

    def prepare(self, plan: EvaluationPlan, wanted: Sequence[Wanted]) -> None:
        pass

    def generate(
        self, plan: EvaluationPlan, wanted: Sequence[Wanted], stop: StopRequest, done: Callable[[int], None]
    ) -> None:
        settings = self.settings
        if isinstance(settings.engine, VllmRollout):
            prepare_environment(settings.threads)
        from sfpo_bench.evaluation.model_engine import build_model_engine

        made = build_model_engine(settings, plan.model, plan.checkpoint, plan.benchmarks)
        generation = Generation(
            engine=made.engine,
            encode=made.encode,
            sampling=settings.sampling.sampling(),
            seed=settings.sampling.seed,
            batch_responses=settings.engine.batch_responses,
            max_prompt_tokens=settings.engine.max_prompt_tokens,
        )
        try:
            with stop.listening():
                generation.run(wanted, plan.store, stop, done)
        finally:
            made.engine.close()


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that a server with OpenAI's API has. The plan's model is that of the tokenizer."""

    settings: EvaluateSettings
    rollout: OpenAiRollout
    precision: str = ""

    def check(self) -> None:
        check_served(self.settings, self.rollout)

    def pinned(self, trained: RunConfig | None, checkpoint: Checkpoint | None) -> tuple[ModelSettings, ModelPin]:
        return pin_served(self.rollout)

    def at(self, model: ModelSettings) -> EvaluateSettings:
        assert isinstance(model, HuggingFaceModel)
        return replace(self.settings, rollout=replace(self.rollout, tokenizer=model.path))

    def prepare(self, plan: EvaluationPlan, wanted: Sequence[Wanted]) -> None:
        record_server(self.rollout, plan.model, self.settings.sampling, wanted, plan.store)

    def generate(
        self, plan: EvaluationPlan, wanted: Sequence[Wanted], stop: StopRequest, done: Callable[[int], None]
    ) -> None:
        generate_served(self.rollout, plan.model, self.settings.sampling, wanted, plan.store, stop, done)
