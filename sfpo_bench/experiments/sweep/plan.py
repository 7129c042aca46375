"""Checks the configuration of a sweep and composes its trials with Hydra."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import check_ranges
from sfpo_bench.core.types import Split
from sfpo_bench.models.load import pinned
from sfpo_bench.results.sweep import SweepFolder
from sfpo_bench.search import space as spaces
from sfpo_bench.search.address import check_url
from sfpo_bench.search.goals import Goal, budgets_set_steps, settled, steps_within
from sfpo_bench.search.space import Point, Space
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overrides import composed as compose
from sfpo_bench.settings.overruled import SettingsReader, Written, common_settings, refuse_overruled
from sfpo_bench.settings.search import GoalSettings, Kind, Measure, Pruner, SweepSampler, SweepSettings
from sfpo_bench.settings.stop_checks import check_stopped_curves
from sfpo_bench.training.run import plain_node

Compose = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True, slots=True)
class PreparedSweep:
    """A checked sweep. `base` is the configuration without a point; `trials` is the number of trials wanted.

    Finished runs below the folders in `reuse` are copied instead of trained."""

    name: str
    folder: Path
    config: RunConfig
    base: DictConfig
    space: Space
    goals: tuple[Goal, ...]
    trials: int
    compose: Compose
    reuse: tuple[str, ...] = ()

    @property
    def settings(self) -> SweepSettings:
        return self.config.sweep

    def node(self, point: Point) -> DictConfig:
        """Return the resolved configuration that all runs of a trial share; raises `ConfigError` for an invalid one."""
        return self._trial_node(self.space.overrides(point))

    def _trial_node(self, overrides: Sequence[str]) -> DictConfig:
        node = run_node(self.compose(overrides), self.settings.threads)
        config = from_node(node)
        rollout = config.rollouts
        steps = steps_within(self.goals, config.training.steps, rollout.prompts, rollout.group)
        return plain_node(node, {"training.steps": steps})

    def space_of(self, trial: int) -> Space:
        """Return the search space of a trial."""
        return self.space

    def seeds(self, count: int) -> list[int]:
        """Return the first `count` seeds of every trial."""
        return list(range(self.settings.first_seed, self.settings.first_seed + count))

    def run_folder(self, trial: int, seed: int) -> Path:
        return SweepFolder(self.folder).run(trial, seed).path


def plan_of(config: RunConfig, composing: Compose, folder: Path | None = None) -> PreparedSweep:
    """Return the plan of `config.sweep`, checked as far as possible without training.

    `composing` composes the configuration with additional overrides. Both ends of every range are composed and checked.
    Raises `ConfigError`.
    """
    settings = config.sweep
    space = spaces.space_of(settings.parameters)
    for parameter in space.parameters:
        refuse_parameter(parameter.key, f"sweep.parameters.{parameter.name}")
    named = settings.goals or {"area": GoalSettings()}
    for place, nodes in {"parameters": settings.parameters, "goals": named}.items():
        for name, node in nodes.items():
            check_ranges(node, f"sweep.{place}.{name}.")
    rollout, steps = config.rollouts, config.training.steps
    responses, prompts = rollout.prompts * rollout.group * steps, rollout.prompts * steps
    goals = tuple(settled(name, goal, responses, prompts) for name, goal in named.items())
    _check(config, space, goals)
    grid = space.grid() if settings.sampler is SweepSampler.grid else []
    base = run_node(composing([]), settings.threads)
    trials = settings.trials or len(grid)
    plan = PreparedSweep(config.name, folder or config.sweep_folder, config, base, space, goals, trials, composing)
    for point in space.corners():
        plan.node(point)
    return plan


def composer(config_name: str, overrides: Sequence[str]) -> Compose:
    """Return a function that composes `config_name` with additional overrides; call inside a Hydra application."""

    def composed(further: Sequence[str]) -> DictConfig:
        try:
            return compose(config_name, [*overrides, *further])
        except ConfigError as error:
            place = f"{' '.join(further)}: " if further else ""
            raise ConfigError(f"{place}{error}") from error

    return composed


def run_node(node: DictConfig, threads: int) -> DictConfig:
    """Return a composed configuration without the sweep's settings, for a single run."""
    plain = plain_node(node, {**common_settings(threads), "run_name": ""})
    return plain_node(plain, pinned(from_node(plain).model))


def refuse_for_sweep(node: DictConfig, written: Sequence[Written]) -> None:
    """Raise `ConfigError` for a setting of the caller that a sweep ignores."""
    goals = OmegaConf.to_container(node.sweep.goals)
    assert isinstance(goals, dict)
    reader = (
        SettingsReader.budgeted_sweep
        if budgets_set_steps({str(name): goal for name, goal in goals.items()})
        else SettingsReader.sweep
    )
    refuse_overruled(reader, written, {"threads": node.sweep.threads})


def refuse_parameter(key: str, place: str) -> None:
    """Raise `ConfigError` for a parameter whose key a sweep ignores."""
    refuse_overruled(SettingsReader.parameter, [Written(key.replace("/", "."), None, place)])


def refuse_conflicts(space: Space, written: Iterable[Written]) -> None:
    """Raise `ConfigError` if the caller sets a parameter of the space; there is no obvious precedence."""
    searched = {parameter.key.replace("/", "."): parameter for parameter in space.parameters}
    for one in written:
        parameter = searched.get(one.key)
        if parameter is None:
            continue
        raise ConfigError(
            f"{one.place}: the sweep searches {parameter.key} itself, as {parameter.name}; change "
            f"sweep.parameters.{parameter.name}, or take it out: ~sweep.parameters.{parameter.name}"
        )


def _check(config: RunConfig, space: Space, goals: Sequence[Goal]) -> None:
    settings, evaluation = config.sweep, config.evaluation
    if settings.split is Split.train:
        raise ConfigError("sweep.split = train; expected select: problems that rollouts do not use")
    if settings.split is Split.report and not settings.choose_on_report:
        raise ConfigError(
            "sweep.split = report: settings chosen on the problems that are reported make the report look better than "
            "it is; use sweep.split=select, or say that you want it: sweep.choose_on_report=true"
        )
    responses = evaluation.responses if settings.split is Split.report else evaluation.select_responses
    if not responses:
        raise ConfigError(
            f"sweep.split = {settings.split.value}, but no responses are evaluated on it; set "
            f"evaluation.{'responses' if settings.split is Split.report else 'select_responses'} above 0"
        )
    _check_stopped(config, goals)
    if not settings.trials and settings.sampler is not SweepSampler.grid:
        raise ConfigError("sweep.trials = 0 means the whole grid; with another sampler set a number of trials")
    if settings.top_trials and len(goals) > 1:
        raise ConfigError("sweep.top_trials with two goals: there is no best trial; set sweep.top_trials=0")
    _check_search(settings, space, len(goals))
    check_url(settings.storage)


def _check_stopped(config: RunConfig, goals: Sequence[Goal]) -> None:
    """Raise `ConfigError` for goals that are undefined for runs that end at an accuracy."""
    stop = config.training.stop_at
    for goal in goals if stop.accuracy else ():
        if goal.measure is not Measure.cost:
            raise ConfigError(
                f"sweep.goals.{goal.name}.measure = {goal.measure.value} compares trials at an equal budget, which "
                f"runs that end at training.stop_at.accuracy = {stop.accuracy:g} do not spend; expected measure=cost, "
                "or training.stop_at.accuracy=0"
            )
    targets = {f"sweep.goals.{goal.name}.target": goal.target for goal in goals}
    check_stopped_curves(stop, config.sweep.split, targets, "sweep")


def _check_search(settings: SweepSettings, space: Space, goals: int) -> None:
    if goals > 2:
        raise ConfigError(f"sweep.goals has {goals} goals; expected one, or two with sweep.sampler=nsga2")
    if (settings.sampler is SweepSampler.nsga2) != (goals == 2):
        raise ConfigError(
            f"sweep.sampler = {settings.sampler.value} with {goals} goal{'s' * (goals > 1)}; nsga2 is for two goals, "
            "the others for one"
        )
    if goals == 2 and settings.pruner is not Pruner.none:
        raise ConfigError(f"sweep.pruner = {settings.pruner.value} with two goals; set sweep.pruner=none")
    if settings.pruner is Pruner.wilcoxon and settings.seeds < 3:
        raise ConfigError(
            f"sweep.pruner = wilcoxon compares trials seed by seed, with sweep.seeds = {settings.seeds}; set at least 3"
        )
    asked = {name for parameter in space.parameters for name, _ in parameter.when}
    for parameter in space.parameters:
        if parameter.name in asked and parameter.is_continuous and settings.sampler is not SweepSampler.grid:
            raise ConfigError(
                f"sweep.parameters: a condition asks for values of {parameter.name}, and sweep.sampler = "
                f"{settings.sampler.value} draws any number of its range, never exactly one of its points; give "
                f"sweep.parameters.{parameter.name} a step or choices, or set sweep.sampler=grid"
            )
    numeric = [p for p in space.parameters if p.kind is not Kind.categorical and not p.when]
    if settings.sampler is SweepSampler.cmaes and len(numeric) < 2:
        raise ConfigError(
            f"sweep.sampler = cmaes with {len(numeric)} numeric parameters without condition; expected at least 2: "
            "use tpe"
        )
