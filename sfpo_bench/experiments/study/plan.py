"""Checks the configuration of a study: its arms, seeds, evaluation, and the settings that determine each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.override_text import quoted
from sfpo_bench.core.types import Split
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.experiments.comparison.arms import Arm, compose_arms
from sfpo_bench.experiments.reuse import finished_runs
from sfpo_bench.experiments.study.design import Settings, StudyDesign
from sfpo_bench.experiments.study.designs import DESIGNS
from sfpo_bench.experiments.study.ledger import CODE_VERSION, COMPARE, TUNE
from sfpo_bench.experiments.sweep.plan import composer
from sfpo_bench.results.code_version import Work, code_version
from sfpo_bench.results.study import COMPARISON, StudyPlan
from sfpo_bench.settings.comparison import check_comparison
from sfpo_bench.settings.config import RunConfig, flatten, from_node, to_plain
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.models import HuggingFaceModel
from sfpo_bench.settings.study import Redo
from sfpo_bench.tracking.stores import fixed_place
from sfpo_bench.training.run import identity


@dataclass(frozen=True, slots=True)
class Study:
    """A checked study.

    `config` is the configuration of its comparison, which lies in the study's folder like its sweeps. `overrides`
    compose it and its arms. `design` determines the arms and the parts beside tuning and comparison. `sweep` is the
    file that tunes the arms, or None.
    """

    name: str
    folder: Path
    config: RunConfig
    config_name: str
    overrides: tuple[str, ...]
    arms: tuple[Arm, ...]
    sweep: Path | None
    evaluation: EvaluateSettings
    design: StudyDesign

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its parts, in order."""
        before, after = ([part.name for part in parts] for parts in (self.design.before, self.design.after))
        return (*before, TUNE, COMPARE, *after)

    @property
    def seeds(self) -> list[int]:
        first = self.config.comparison.first_seed
        return list(range(first, first + self.config.comparison.seeds))

    def evaluation_of(self, run: Path, step: int) -> EvaluateSettings:
        """Return the evaluation settings for a checkpoint of a run, otherwise equal to those of the start model."""
        return replace(self.evaluation, model=HuggingFaceModel(), run=str(run), step=step)

    @property
    def redo(self) -> tuple[str, ...]:
        """The parts to repeat even if their settings changed."""
        asked = self.config.study.redo
        if asked is Redo.none:
            return ()
        again = {*self.parts[self.parts.index(asked.value) :]}
        again |= {part.name for part in self.design.before if part.again_with in again}
        return tuple(name for name in self.parts if name in again)

    def describe(self) -> StudyPlan:
        """Return a summary of the study for `study.json`."""
        return StudyPlan(
            name=self.name,
            experiment=self.config.description,
            arms={arm.key: arm.label for arm in self.arms},
            baseline=self.config.comparison.baseline,
            seeds=tuple(self.seeds),
            steps=self.config.training.steps,
            suite=self.evaluation.suite,
            samples=self.evaluation.sampling.samples if self.evaluation.suite else 0,
            tune=self.config.comparison.tune,
            budget_axis=self.config.study.budget_axis.value,
            code_version=code_version(Work.study),
        )

    def settings(self) -> Mapping[str, Settings]:
        """Return the settings that each part's result depends on, besides the results of previous parts."""
        comparison = self.config.comparison
        arms = {f"{arm.key}.{name}": value for arm in self.arms for name, value in _arm_identity(arm).items()}
        sweep = _sweep_identity(self.sweep, self.arms, self.config) if self.sweep else {}
        shared: dict[str, Settings] = {
            TUNE: {"tune": comparison.tune, **sweep, **(arms if sweep else {})},
            COMPARE: {
                "seeds": self.seeds,
                "training.steps": self.config.training.steps,
                "targets": list(comparison.targets),
                "split": comparison.split.value,
                **arms,
            },
        }
        shared[self.parts[-1]] = {"description": self.config.description}  # only the page has it
        own, version = self.design.settings(self), {CODE_VERSION: code_version(Work.study)}
        return {part: {**version, **shared.get(part, {}), **own.get(part, {})} for part in self.parts}


def study_of(config: RunConfig, config_name: str, overrides: Sequence[str], sweep: Path | None) -> Study:
    """Return the study of a configuration composed from `overrides`. Call inside a Hydra application.

    Raises `ConfigError` for an invalid name and for settings under which a part could not work; writes nothing.
    """
    design = DESIGNS[config.study.design]
    _check(config)
    design.check(config)
    finished_runs(tuple(config.comparison.reuse))
    if sweep is not None:
        _check_sweep(sweep)
    own = [*overrides, f"name={COMPARISON}", f"output_root={quoted(str(config.study_folder))}"]
    own += [f"{key}={quoted(value)}" for key, value in fixed_place(config.tracking, Path(config.output_root)).items()]
    inner = from_node(composer(config_name, own)([]))
    inner.comparison.arms = dict(design.arms(inner, config_name, own))
    check_comparison(inner.comparison)
    arms = tuple(compose_arms(inner, config_name, own))
    check_labels(arms)
    found = Study(
        name=config.name,
        folder=config.study_folder,
        config=inner,
        config_name=config_name,
        overrides=tuple(own),
        arms=arms,
        sweep=sweep,
        evaluation=_evaluation(inner),
        design=design,
    )
    _check_redo(found)
    return found


def _evaluation(config: RunConfig) -> EvaluateSettings:
    """Return the evaluation settings of every arm; run and step are set for each run."""
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
    if config.comparison.new_on_change:
        raise ConfigError(
            "comparison.new_on_change = true: the parts of a study must not move to other folders; leave it off, and "
            "give a changed study another name (name=...)"
        )
    if config.evaluation.allow_report:
        raise ConfigError(
            f"evaluation.allow_report = {config.evaluation.allow_report}: a study chooses on select problems alone; "
            "leave it empty and name a suite for choosing"
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


def _check_redo(study: Study) -> None:
    asked = study.config.study.redo
    if asked is not Redo.none and asked.value not in study.parts:
        known = [redo.value for redo in Redo if redo.value in study.parts]
        raise ConfigError(
            f"study.redo = {asked.value} is no part of a study whose design is {study.config.study.design.value}; "
            f"expected one of {', '.join(known)}"
        )


def check_labels(arms: Sequence[Arm]) -> None:
    """Raise `ConfigError` if tables could not distinguish two arms."""
    labels = [arm.label for arm in arms]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ConfigError(f"two arms have the label {twice[0]!r}; tables know arms by their labels: give each its own")
