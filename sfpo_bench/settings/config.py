"""The configuration: a typed tree of settings, composed by Hydra and checked before anything expensive starts.

For light objects (an update rule, an objective, a task) the node of the configuration is the object. `kind` is the name
of a node's class, so that the resolved YAML alone can be read back.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.algorithms.collectors.protocol import Collector
from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.facts import mark, unverified
from sfpo_bench.algorithms.kinds import DEFAULT_KINDS, METHODS
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.algorithms.phases import InOrder, MethodSchedule, PhaseSettings
from sfpo_bench.algorithms.protocols import Advantage, Objective, Phases, Reference, StepMethod, UpdateRule
from sfpo_bench.algorithms.selections.protocol import Selection
from sfpo_bench.core.errors import ConfigError, DamagedFile
from sfpo_bench.core.extras import install_extra
from sfpo_bench.core.options import check_ranges, option
from sfpo_bench.core.plugins import Custom
from sfpo_bench.core.tracking import TrackingSettings, present_form
from sfpo_bench.core.types import Split
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.problems.addition import Addition
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.problems.jsonl import Jsonl
from sfpo_bench.problems.protocol import Task
from sfpo_bench.problems.sets import choice_on
from sfpo_bench.problems.suite_select import SuiteSelect
from sfpo_bench.problems.training_sets import Countdown, DapoMath, DapoPlusMath, Gsm8k, Math
from sfpo_bench.results import names
from sfpo_bench.settings.collector_checks import check_collector
from sfpo_bench.settings.comparison import ArmSettings, ComparisonSettings, check_comparison
from sfpo_bench.settings.composition_errors import explain
from sfpo_bench.settings.launcher import LAUNCHERS, LauncherSettings
from sfpo_bench.settings.learner_checks import check_batch, check_engine, check_optimizer
from sfpo_bench.settings.models import EmbeddedModel, HuggingFaceModel, SmolLM2Model
from sfpo_bench.settings.module_checks import check_modules
from sfpo_bench.settings.own_classes import instance_of
from sfpo_bench.settings.reposition import ConditionSettings
from sfpo_bench.settings.rollout import OpenAiRollout, RolloutSettings, TransformersRollout, VllmRollout
from sfpo_bench.settings.search import GoalSettings, ParameterSettings, SweepSettings
from sfpo_bench.settings.stop_checks import check_stop
from sfpo_bench.settings.study import StudySettings
from sfpo_bench.settings.training import EvaluationSettings, LearnerSettings, TrainingSettings
from sfpo_bench.settings.typed_tree import Declared, typed_tree

Settings = TypeVar("Settings")

TASKS: dict[str, type] = {
    "arithmetic": Arithmetic,
    "addition": Addition,
    "gsm8k": Gsm8k,
    "math": Math,
    "dapo_math": DapoMath,
    "dapo_plus_math": DapoPlusMath,
    "countdown": Countdown,
    "jsonl": Jsonl,
    "custom": Custom,
}
MODELS: dict[str, type] = {"embedded": EmbeddedModel, "hf": HuggingFaceModel, "smollm2": SmolLM2Model}
ROLLOUTS: dict[str, type] = {"transformers": TransformersRollout, "vllm": VllmRollout, "openai": OpenAiRollout}

# Nodes whose class depends on `kind`, by dotted key, inner ones first.
KINDS: dict[str, dict[str, type]] = {
    **METHODS,
    "task": TASKS,
    "model": MODELS,
    "rollout": ROLLOUTS,
    "launcher": LAUNCHERS,
}


@dataclass
class AlgorithmSettings:
    """The parts of an algorithm."""

    name: str = option("", "name of the algorithm in tables and figures")
    collector: Any = option(None, "sampling and grading of a step's responses")
    advantage: Any = option(None, "advantages from rewards")
    selection: Any = option(None, "selection and weights of responses")
    objective: Any = option(None, "loss of an optimizer step")
    update_rule: Any = option(None, "passes over one batch of rollouts")
    modules: Any = option(None, "modules trained beside the policy")
    reference: Any = option(None, "reference of the KL penalty")
    phases: Any = option(None, "phases of training with different parts")


@dataclass
class RunConfig:
    """The configuration of a run, saved resolved as config.yaml in its folder."""

    name: str = option("", "name of the study; part of folder names")
    run_name: str = option("", "name of a single run; empty: <name>-<algorithm>-seed<seed>")
    description: str = option("", "one-line description for reports")
    output_root: str = option("results", "folder for all output")
    seed: int = option(0, "seed of data order, sampling noise and evaluation noise", low=0)
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int = option(0, "torch threads; 0: torch's default", low=0)
    algorithm: AlgorithmSettings = option(AlgorithmSettings(), "objective and update rule")
    model: Any = option(None, "the model that is trained")
    task: Any = option(None, "problems, prompts and grading")
    rollout: Any = option(None, "how responses are generated")
    learner: LearnerSettings = option(LearnerSettings(), "optimizer and batching")
    training: TrainingSettings = option(TrainingSettings(), "steps, evaluations and checkpoints")
    evaluation: EvaluationSettings = option(EvaluationSettings(), "evaluation during training")
    tracking: TrackingSettings = option(TrackingSettings(), "delivery to a tracking store")
    launcher: Any = option(None, "launcher of the runs of `compare` and `sweep`")
    comparison: ComparisonSettings = option(ComparisonSettings(), "arms, seeds and targets of `compare`")
    sweep: SweepSettings = option(SweepSettings(), "space, goals and search of `sweep`")
    study: StudySettings = option(StudySettings(), "evaluation and checkpoints of `study`")

    @property
    def collector(self) -> Collector:
        return cast(Collector, self.algorithm.collector)

    @property
    def advantage(self) -> Advantage:
        return cast(Advantage, self.algorithm.advantage)

    @property
    def selection(self) -> Selection:
        return cast(Selection, self.algorithm.selection)

    @property
    def objective(self) -> Objective:
        return cast(Objective, self.algorithm.objective)

    @property
    def rule(self) -> UpdateRule:
        return cast(UpdateRule, self.algorithm.update_rule)

    @property
    def modules(self) -> Modules:
        return cast(Modules, self.algorithm.modules)

    @property
    def reference(self) -> Reference:
        return cast(Reference, self.algorithm.reference)

    @property
    def phases(self) -> Phases:
        return cast(Phases, self.algorithm.phases)

    @property
    def method(self) -> StepMethod:
        """The method in `algorithm`, which steps use unless their phase differs."""
        return StepMethod(self.advantage, self.selection, self.objective, self.rule)

    @property
    def unverified(self) -> tuple[str, ...]:
        """The unverified parts of the methods in `algorithm`; tables mark such runs."""
        return tuple(unverified(self.algorithm))

    def marked(self, label: str) -> str:
        """The label for tables and figures, marked if any part is unverified."""
        return mark(label) if self.unverified else label

    @property
    def methods(self) -> MethodSchedule:
        """The method of each step of the run."""
        return MethodSchedule(self.method, self.phases, self.training.steps)

    @property
    def moving_reference(self) -> bool:
        """True when memory and checkpoints hold a reference that follows the policy."""
        return self.methods.uses_reference and self.reference.moves

    @property
    def samples_beside(self) -> bool:
        """True when memory and checkpoints hold follower weights to sample from."""
        return self.collector.follower is not None

    @property
    def earlier_copies(self) -> int:
        """The number of weight copies for stale rollouts in memory and checkpoints: the sampled and all later ones."""
        return self.rollouts.stale_steps + 1 if self.rollouts.stale_steps else 0

    @property
    def policy_task(self) -> Task:
        """The task, with the select problems of `evaluation.select_suite` if set."""
        task, evaluation = cast(Task, self.task), self.evaluation
        if not evaluation.select_suite:
            return task
        return SuiteSelect(task, evaluation.select_suite, evaluation.allow_report, evaluation.data)

    @property
    def rollouts(self) -> RolloutSettings:
        return cast(RolloutSettings, self.rollout)

    @property
    def launching(self) -> LauncherSettings:
        return cast(LauncherSettings, self.launcher)

    @property
    def own_run_name(self) -> str:
        """The name of a run that is not part of a comparison."""
        return self.run_name or f"{self.name}-{self.algorithm.name}-seed{self.seed}"

    @property
    def run_folder(self) -> Path:
        """The folder of a run that is not part of a comparison."""
        return Path(self.output_root) / names.RUNS / self.own_run_name

    @property
    def comparison_folder(self) -> Path:
        return Path(self.output_root) / self.name

    @property
    def study_folder(self) -> Path:
        return Path(self.output_root) / names.STUDIES / self.name

    @property
    def sweep_folder(self) -> Path:
        return Path(self.output_root) / names.SWEEPS / self.name


# Mappings with user-chosen keys, and the class of their values.
OPEN: tuple[tuple[str, str, type], ...] = (
    ("algorithm.phases", "named", PhaseSettings),
    ("comparison", "arms", ArmSettings),
    ("study.reposition", "conditions", ConditionSettings),
    ("sweep", "parameters", ParameterSettings),
    ("sweep", "goals", GoalSettings),
)


def from_node(node: DictConfig) -> RunConfig:
    """The typed and checked configuration of a composed or saved tree.

    Raises `ConfigError` for an unknown key, a wrong type, a value out of range, or contradictory settings.
    """
    config = to_settings(node, RunConfig)
    _require_kinds(config)
    _make_own(config.algorithm, "algorithm")
    config.algorithm.collector = instance_of(config.algorithm.collector, "algorithm.collector", Collector)
    config.algorithm.modules = instance_of(config.algorithm.modules, "algorithm.modules", Modules)
    config.algorithm.reference = instance_of(config.algorithm.reference, "algorithm.reference", Reference)
    config.algorithm.phases = instance_of(config.algorithm.phases, "algorithm.phases", Phases)
    for name, phase in named_phases(config).items():
        _make_own(phase, f"algorithm.phases.named.{name}")
    config.task = instance_of(config.task, "task", Task)
    check(config)
    return config


def _make_own(settings: AlgorithmSettings | PhaseSettings, place: str) -> None:
    """Replace nodes of user-defined classes by their instances."""
    settings.advantage = instance_of(settings.advantage, f"{place}.advantage", Advantage)
    settings.selection = instance_of(settings.selection, f"{place}.selection", Selection)
    settings.objective = instance_of(settings.objective, f"{place}.objective", Objective)
    settings.update_rule = instance_of(settings.update_rule, f"{place}.update_rule", UpdateRule)


def named_phases(config: RunConfig) -> Mapping[str, PhaseSettings]:
    """The configured phases by name."""
    phases = config.algorithm.phases
    return phases.named if isinstance(phases, InOrder) else {}


def _require_kinds(config: RunConfig) -> None:
    """Raise `ConfigError` for an unset node, as in a file without `defaults`."""
    for key, kinds in KINDS.items():
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part, "")  # a user-defined class may lack it
        if value is None:
            raise ConfigError(
                f"{key} is not set; expected one of {', '.join(kinds)}: choose it with {key.replace('.', '/')}=NAME, "
                "or begin the file of the configuration with `defaults: [train, _self_]`, which sets everything"
            )


def to_settings(node: DictConfig, schema: type[Settings]) -> Settings:
    """The typed settings of a composed tree, each node of its class; ranges are not checked."""
    try:
        return cast(Settings, OmegaConf.to_object(_typed_tree(node, schema)))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error


def read(path: Path) -> RunConfig:
    """The configuration saved in a run's folder."""
    try:
        return from_node(read_saved(path))
    except DamagedFile:
        raise
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_saved(path: Path) -> DictConfig:
    """The resolved tree in a run's folder; raises `DamagedFile` for an incomplete one."""
    node = read_yaml(path)
    lacking = [key for key in ("algorithm", "model", "task", "rollout") if not isinstance(node.get(key), DictConfig)]
    if lacking:
        raise DamagedFile(f"{path} is damaged: it has no {', '.join(lacking)}; restore it, or remove the run's folder")
    tracking = node.get("tracking")
    if isinstance(tracking, DictConfig):
        node.tracking = present_form(dict(tracking))
    return node


def to_yaml(node: DictConfig) -> str:
    """The resolved configuration as YAML."""
    return OmegaConf.to_yaml(_typed_tree(node), resolve=True)


def to_plain(node: DictConfig) -> dict[str, object]:
    """The resolved configuration as plain values, for hashing and comparing."""
    plain = OmegaConf.to_container(_typed_tree(node), resolve=True, enum_to_str=True)
    return cast(dict[str, object], plain)


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """The leaves of a tree by dotted key; lists are leaves."""
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves.update(flatten(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _typed_tree(node: DictConfig, schema: type = RunConfig) -> DictConfig:
    """The tree with every node of its declared class and defaults filled in."""
    return typed_tree(node, schema, Declared(KINDS, DEFAULT_KINDS, OPEN))


def check(config: RunConfig) -> None:
    """Raise `ConfigError` for values out of range and contradictory settings."""
    check_ranges(config)
    names.check_root(config.output_root)
    names.check_name("name", config.name)
    names.check_name("run_name" if config.run_name else "run_name, made of algorithm.name,", config.own_run_name)
    learner = config.learner
    for name, phase in named_phases(config).items():
        check_ranges(phase, f"algorithm.phases.named.{name}.")
    config.tracking.check()
    config.phases.check("algorithm.phases", config.training.steps)
    check_collector(config.collector, (config.method, *config.methods.used), config.rollouts, config.learner)
    _check_methods(config)
    check_modules(config.modules, config.methods.used, config.collector.trained(config.rollouts.group))
    check_optimizer(learner)
    check_batch(config.rollouts, learner)
    if learner.lora_rank and importlib.util.find_spec("peft") is None:
        raise ConfigError(
            f"learner.lora_rank = {learner.lora_rank} needs peft: {install_extra('lora')}, or set learner.lora_rank=0"
        )
    if isinstance(config.model, HuggingFaceModel) and not config.model.path:
        raise ConfigError("model.path is empty; name a local folder or a hub model, model.path=Qwen/Qwen2.5-0.5B")
    check_engine(config.rollouts, learner)
    _check_flipped(config.training)
    check_comparison(config.comparison)
    evaluation = config.evaluation
    check_stop(config.training, evaluation)
    if evaluation.select_suite:
        choice_on(
            evaluation.select_suite, evaluation.allow_report, "evaluation.select_suite", "evaluation.allow_report"
        )
    measured = evaluation.responses if config.comparison.split is Split.report else evaluation.select_responses
    if config.comparison.arms and not measured:
        raise ConfigError(
            f"comparison.split = {config.comparison.split.value}, but no responses are evaluated on it; set "
            "evaluation.responses (report) or evaluation.select_responses (select) above 0"
        )


def _check_flipped(training: TrainingSettings) -> None:
    """Raise `ConfigError` for flipped rewards together with negative rewards."""
    if training.reward_flip_probability and training.wrong_answer_reward < 0:
        raise ConfigError(
            f"training.reward_flip_probability = {training.reward_flip_probability:g} flips rewards between 0 and 1, "
            f"and training.wrong_answer_reward = {training.wrong_answer_reward:g} is below; set one of them to 0"
        )


def _check_methods(config: RunConfig) -> None:
    """Raise `ConfigError` for invalid methods, and for methods that do not fit together."""
    learner, used, group = config.learner, config.methods.used, config.collector.trained(config.rollouts.group)
    for method in (config.method, *used):
        method.rule.check(f"{method.place}.update_rule")
        method.advantage.check(f"{method.place}.advantage", group)
        method.objective.check(f"{method.place}.objective", group)
        if learner.engine_correction is not Correction.none and not method.objective.applies_weights:
            raise ConfigError(
                f"learner.engine_correction = {learner.engine_correction.value} with {method.place}.objective, which "
                "does not say that it applies LossInputs.weights_BT; use learner.engine_correction=none, or multiply "
                "the token losses by them and set applies_weights = True in its class"
            )
        method.selection.check(f"{method.place}.selection", group)
        if method.selection.needs_weights and method.objective.compares_rows:
            raise ConfigError(
                f"{method.place}.selection weights or drops responses, and {method.place}.objective compares those of "
                "a group with each other: a pair of which one is dropped has no loss; use the selection `every`, or "
                "another objective"
            )
        if method.selection.needs_weights and not method.objective.applies_weights:
            raise ConfigError(
                f"{method.place}.selection weights responses, with an objective that does not say that it applies "
                "LossInputs.row_weights_B; use the selection `every`, or multiply each response's loss by its weight "
                "and set applies_weights = True in its class"
            )
    config.reference.check("algorithm.reference")
    if config.reference.moves and not config.methods.uses_reference:
        raise ConfigError(
            "algorithm.reference follows the policy, but no step measures a KL against it; expected an objective that "
            "does, such as algorithm.objective.kl_coefficient=0.001, or algorithm/reference=start"
        )
    carrying = [method.place for method in used if method.rule.needs.copies_in_checkpoint]
    if carrying and len({id(method.rule) for method in used}) > 1:
        raise ConfigError(
            f"{carrying[0]}.update_rule returns to weights of earlier steps, which the rule of another phase would "
            "lose; expected it in every phase, as algorithm.update_rule, or a rule such as slow_fast, which ends with "
            "its step"
        )
