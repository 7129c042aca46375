"""From one configuration to a checked study: its arms, its seeds, how they are evaluated, and what each part follows
from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path

from omegaconf import OmegaConf

from sfpo_bench.core.errors import BenchError, ConfigError, MissingDataError
from sfpo_bench.core.override_text import quoted
from sfpo_bench.core.types import Problem, Split
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.evaluation.prompted_problems import Benchmark
from sfpo_bench.experiments.comparison.arms import Arm, compose_arms
from sfpo_bench.experiments.study.ledger import CODE_VERSION
from sfpo_bench.experiments.sweep.plan import composer
from sfpo_bench.problems.sets import Role, overlaps, suite
from sfpo_bench.results.code_version import Work, code_version
from sfpo_bench.results.study import COMPARISON, StudyPlan
from sfpo_bench.settings.config import RunConfig, flatten, from_node, to_plain
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.models import HuggingFaceModel
from sfpo_bench.settings.study import Redo, StudyEvaluation
from sfpo_bench.tracking.mlflow_store import resolve_tracking_uri
from sfpo_bench.training.run import identity

START, TUNE, COMPARE, CHOOSE, EVALUATE, SCORE = "start", "tune", "compare", "choose", "evaluate", "score"
PARTS = (START, TUNE, COMPARE, CHOOSE, EVALUATE, SCORE)

Settings = dict[str, object]


@dataclass(frozen=True, slots=True)
class Study:
    """A checked study. `config` is that of its comparison, which lies in the study's folder like its sweeps;
    `overrides` compose it and its arms. `sweep` is the file that tunes the arms, None when they stay as they are."""

    name: str
    folder: Path
    config: RunConfig
    config_name: str
    overrides: tuple[str, ...]
    arms: tuple[Arm, ...]
    sweep: Path | None
    evaluation: EvaluateSettings

    @property
    def seeds(self) -> list[int]:
        first = self.config.comparison.first_seed
        return list(range(first, first + self.config.comparison.seeds))

    def evaluation_of(self, run: Path, step: int) -> EvaluateSettings:
        """How a kept checkpoint of a run is evaluated: like the model before training, in whose place the run is."""
        return replace(self.evaluation, model=HuggingFaceModel(), run=str(run), step=step)

    @property
    def redo(self) -> tuple[str, ...]:
        """The parts that are done again although their settings may have changed."""
        asked = self.config.study.redo
        if asked is Redo.none:
            return ()
        after = PARTS[PARTS.index(asked.value) :]
        return (START, *after) if EVALUATE in after else after  # the model before training is evaluated like the arms

    def describe(self) -> StudyPlan:
        """What the study is, for those who look."""
        return StudyPlan(
            name=self.name,
            experiment=self.config.description,
            arms={arm.key: arm.label for arm in self.arms},
            baseline=self.config.comparison.baseline,
            seeds=tuple(self.seeds),
            steps=self.config.training.steps,
            suite=self.evaluation.suite,
            samples=self.evaluation.sampling.samples,
            tune=self.config.comparison.tune,
            budget_axis=self.config.study.budget_axis.value,
            code_version=code_version(Work.study),
        )

    def settings(self) -> Mapping[str, Settings]:
        """The settings that each part's result follows from, beside the results of the parts before it."""
        comparison, evaluation = self.config.comparison, _evaluation_identity(self.evaluation)
        arms = {f"{arm.key}.{name}": value for arm in self.arms for name, value in _arm_identity(arm).items()}
        sweep = _sweep_identity(self.sweep, self.arms, self.config) if self.sweep else {}
        own: dict[str, Settings] = {
            START: evaluation,
            TUNE: {"tune": comparison.tune, **sweep, **(arms if sweep else {})},
            COMPARE: {
                "seeds": self.seeds,
                "training.steps": self.config.training.steps,
                "targets": list(comparison.targets),
                "split": comparison.split.value,
                **arms,
            },
            CHOOSE: {
                "study.budget_axis": self.config.study.budget_axis.value,
                "training.keep_every": self.config.training.keep_every,
            },
            EVALUATE: evaluation,
            SCORE: {
                "comparison.baseline": comparison.baseline,
                "study.model": self.config.study.model,
                **{f"{arm.key}.label": arm.label for arm in self.arms},
            },
        }
        return {part: {CODE_VERSION: code_version(Work.study), **found} for part, found in own.items()}


def study_of(config: RunConfig, config_name: str, overrides: Sequence[str], sweep: Path | None) -> Study:
    """The study of a composed configuration; `overrides` are those it was composed from. Call inside a Hydra
    application.

    Raises `ConfigError` for a name that is none, a suite that is not for reporting, and settings under which a part
    could not work; nothing is written.
    """
    _check(config)
    if sweep is not None:
        _check_sweep(sweep)
    own = [*overrides, f"name={COMPARISON}", f"output_root={quoted(str(config.study_folder))}"]
    if config.tracking.mlflow and not (config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")):
        own.append(f"tracking.uri={quoted(resolve_tracking_uri(None, Path(config.output_root), os.environ))}")
    inner = from_node(composer(config_name, own)([]))
    arms = tuple(compose_arms(inner, config_name, own))
    _check_arms(arms)
    return Study(
        name=config.name,
        folder=config.study_folder,
        config=inner,
        config_name=config_name,
        overrides=tuple(own),
        arms=arms,
        sweep=sweep,
        evaluation=_evaluation(inner),
    )


def _evaluation(config: RunConfig) -> EvaluateSettings:
    """How every arm is evaluated; the run and its step are set for each."""
    asked, rollout = config.study.evaluation, config.rollouts
    engine = replace(
        rollout,
        max_prompt_tokens=asked.max_prompt_tokens or rollout.max_prompt_tokens,
        batch_responses=asked.batch_responses or rollout.batch_responses,
    )
    return EvaluateSettings(
        suite=asked.suite,
        model=config.model,
        rollout=engine,
        sampling=asked.sampling,
        prompt=asked.prompt,
        problems=asked.problems,
        grading_seconds=asked.grading_seconds,
        undecided_share=asked.undecided_share,
        data=config.study.data,
        precision=config.learner.precision,
        device=config.device,
        launcher=config.launcher,
        slots=config.comparison.slots,
        threads=asked.threads,
        output_root=config.output_root,
        tracking=config.tracking,
    )


@contextmanager
def settings_named_as_in_a_study() -> Iterator[None]:
    """Errors of evaluation settings with the names that a study has for them."""
    shared = {field.name for field in fields(StudyEvaluation)} & {field.name for field in fields(EvaluateSettings)}
    named = re.compile(rf"(?<![\w.`])({'|'.join(sorted(shared))})(?=(?:\.\w+)? ?=)")
    try:
        yield
    except BenchError as error:
        error.args = (named.sub(r"study.evaluation.\1", str(error)),)
        raise


def _evaluation_identity(asked: EvaluateSettings) -> Settings:
    found = suite(asked.suite)
    entries = {f"suite.{one.name}": [one.problems, *one.leave_out] for one in found.benchmarks}
    return {
        "suite": asked.suite,
        **entries,
        **{f"sampling.{key}": value for key, value in asdict(asked.sampling).items()},
        "problems": asked.problems,
        "prompt": asked.prompt,
        "unverified": asked.data.unverified,
        "precision": asked.precision.value,
        "engine": str(asked.engine.kind),
        **{f"model.{key}": _value(value) for key, value in asdict(asked.model).items()},
    }


def _arm_identity(arm: Arm) -> Settings:
    return dict(identity(flatten(to_plain(arm.node))).without(["seed"]).values)


def _sweep_identity(file: Path, arms: Sequence[Arm], config: RunConfig) -> Settings:
    section = OmegaConf.to_container(read_yaml(file), resolve=False)
    assert isinstance(section, dict)
    kept = {str(key): section[key] for key in ("sweep", "evaluation") if key in section}
    settings = config.comparison.arms
    tuned = {f"{arm.key}.tune": settings[arm.key].tuned_as or bool(settings[arm.key].tune) for arm in arms}
    return {**flatten(kept, "sweep_file."), **tuned, "training.steps": config.training.steps}


def _check(config: RunConfig) -> None:
    study = config.study
    if not study.evaluation.suite:
        raise ConfigError("study.evaluation.suite is empty; name the suite that the arms are evaluated on")
    found = suite(study.evaluation.suite, "study.evaluation.suite")
    if found.role is not Role.report:
        raise ConfigError(
            f"study.evaluation.suite = {found.name} is a suite for choosing; expected one for reporting: what is "
            "chosen on its problems must not be reported on them"
        )
    if config.comparison.new_on_change:
        raise ConfigError(
            "comparison.new_on_change = true: the parts of a study must not move to other folders; leave it off, and "
            "give a changed study another name (name=...)"
        )
    if not config.evaluation.select_responses:
        raise ConfigError(
            "evaluation.select_responses = 0: no checkpoint could be best on select problems; set it above 0"
        )
    if config.evaluation.allow_report:
        raise ConfigError(
            f"evaluation.allow_report = {config.evaluation.allow_report}: a study chooses on select problems alone; "
            "leave it empty and name a suite for choosing"
        )
    if not config.training.keep_every:
        raise ConfigError(
            "training.keep_every = 0: checkpoints of equal budget would not be kept; set the steps between those that "
            "are, such as a quarter of training.steps"
        )


def _check_sweep(file: Path) -> None:
    content = read_yaml(file)
    section, evaluation = (OmegaConf.select(content, key, default={}) for key in ("sweep", "evaluation"))
    if evaluation.get("allow_report", ""):
        raise ConfigError(f"{file} allows the choice on a suite for reporting; a study does not: take allow_report out")
    if section.get("choose_on_report", False) or section.get("split", Split.select.value) != Split.select.value:
        raise ConfigError(
            f"{file} searches on the problems that are reported; a study chooses on select problems alone: take "
            "split and choose_on_report out of it"
        )


def refuse_shared(benchmarks: Sequence[Benchmark], select: Sequence[Problem]) -> None:
    """Raise `ConfigError` when a problem that is reported is among those by which checkpoints are chosen."""
    asked = [prompted.problem for benchmark in benchmarks for prompted in benchmark.prompted]
    shared = overlaps(asked, select)
    if shared:
        raise ConfigError(
            f"{len({one.evaluation_id for one in shared})} problems of the suite are among the select problems (the "
            f"first: {shared[0].evaluation_id}), by which settings and checkpoints are chosen; evaluate on another "
            "suite, or choose on others"
        )


def _check_arms(arms: Sequence[Arm]) -> None:
    labels = [arm.label for arm in arms]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ConfigError(f"two arms have the label {twice[0]!r}; tables know arms by their labels: give each its own")


def require_sweep(name: str, file: Path | None) -> Path | None:
    """The file of the sweep that `comparison.tune` names, None for no name; raises `MissingDataError` without one."""
    if name and file is None:
        raise MissingDataError(
            f"comparison.tune = {name!r} is neither a file nor a packaged sweep; see sweeps/README.md"
        )
    return file


def _value(value: object) -> object:
    return value.value if isinstance(value, Enum) else value
