"""Tunes the arms of a comparison: every arm is searched in the same way, then compared at its best settings.

The space, number of trials and budget are the same for all arms; problems are select problems, and seeds are not those
of the comparison. A best value at the end of its range is reported, and the range is extended once, by one grid value
or half its width; a best value at the new end is only reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.override_text import parse_overrides
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.experiments.comparison.arms import Arm
from sfpo_bench.experiments.sweep.plan import PreparedSweep, composer, plan_of
from sfpo_bench.problems.sets import choice_on
from sfpo_bench.reports.document import Block, heading, paragraph, table
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.sweep.load import load_sweep
from sfpo_bench.reports.sweep.tables import value_text
from sfpo_bench.results.csv_text import csv_bytes
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.search.space import Parameter, Point, Space
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overruled import SettingsReader, refuse_overruled
from sfpo_bench.settings.search import SweepSampler
from sfpo_bench.settings.written import in_file
from sfpo_bench.training.run import plain_node

Run = Callable[[PreparedSweep], object]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of the search for one arm.

    `edges` names the parameters whose best value is at an end of the searched range; `extended` those whose range was
    extended. `choice` is the note on a choice by a suite. `follows` is the arm that was searched in place of this one.
    `label` is its name in tables, if different."""

    arm: str
    point: Point
    value: float
    trials: int
    responses: float
    edges: tuple[str, ...]
    extended: tuple[str, ...]
    choice: str = ""
    follows: str = ""
    label: str = ""


def tune_arms(
    config: RunConfig, arms: Sequence[Arm], config_name: str, overrides: Sequence[str], file: Path, run: Run
) -> tuple[dict[str, ArmSettings], list[Tuned]]:
    """Return the arms' settings with the best values of their sweeps, and the results; `run` runs a sweep to its end.

    `file` is the sweep whose space, goal and evaluation are used. An arm with `tune: false` is left unchanged; an arm
    with `tuned_as` takes the values found for that arm. Raises `ConfigError` if the sweep would use the comparison's
    seeds, or the arms would not be searched in the same way.
    """
    section = _section(file)
    settings: dict[str, ArmSettings] = dict(config.comparison.arms)
    leaders = _leaders(settings)
    # Check followers too: their searches must match, since they use their leader's values.
    plans = {
        arm.key: _plan(config, arm, config_name, overrides, section, file.stem) for arm in arms if arm.key in leaders
    }
    _check_alike(config, list(plans.values()))
    found = {key: _search(key, plan, run) for key, plan in plans.items() if leaders[key] == key}
    tuned = []
    for arm in arms:
        if arm.key not in leaders:
            continue
        leader = leaders[arm.key]
        result = found[leader] if leader == arm.key else replace(found[leader], arm=arm.key, trials=0, follows=leader)
        space = plans[leader].space
        own = [*_without(arm.overrides, space), *space.overrides(result.point)]
        settings[arm.key] = replace(settings[arm.key], overrides=own, like="", note=_note(arm, result))
        tuned.append(replace(result, label=arm.label if arm.unverified else ""))
    return settings, tuned


def _leaders(settings: Mapping[str, ArmSettings]) -> dict[str, str]:
    """Return for every tuned arm the arm that is searched: itself, or the one it follows."""
    leaders = {key: arm.tuned_as or key for key, arm in settings.items() if arm.tune}
    if not leaders:
        raise ConfigError("comparison.tune is set, but every arm has tune: false; tune at least one")
    searched = [key for key, leader in leaders.items() if key == leader]
    for key, leader in leaders.items():
        if leader not in searched:
            raise ConfigError(
                f"comparison.arms.{key}.tuned_as = {leader}, which is no arm that is searched; expected one of "
                f"{', '.join(searched) or 'none'}, or comparison.arms.{key}.tune=false to leave {key} as it is"
            )
    return leaders


def tuning_blocks(tuned: Sequence[Tuned], level: int = 1) -> list[Block]:
    """Return the table of the settings chosen for each arm, under a heading of the given level."""
    names = list(dict.fromkeys(name for arm in tuned for name in arm.point))
    header = ["arm", *names, "goal", "trials", "responses per trial", "at the end of its range"]
    rows = [
        [
            arm.label or arm.arm,
            *(value_text(arm.point[name]) if name in arm.point else "" for name in names),
            *_searched_cells(arm),
        ]
        for arm in tuned
    ]
    said = "Settings of each arm, chosen on select problems and on seeds that the comparison does not use."
    said = " ".join([said, *dict.fromkeys(f"They were {arm.choice}." for arm in tuned if arm.choice)])
    return [heading(level, "Tuning"), paragraph(said), table(header, rows, left=(0, len(header) - 1))]


def _searched_cells(arm: Tuned) -> list[str]:
    if arm.follows:
        return ["", f"as {arm.follows}", "", ""]
    return [value_text(arm.value), str(arm.trials), f"{arm.responses:,.0f}", _edge_text(arm)]


def write_tuning(folder: Path, tuned: Sequence[Tuned]) -> Path:
    """Write tuning.md and tuning.csv into the comparison's folder; return the former."""
    rows = [
        {"arm": t.arm, **t.point, "goal": t.value, "trials": t.trials, "edge": _edge_text(t), "as": t.follows}
        for t in tuned
    ]
    table, page = tuning_files(folder)
    write_atomically(table, csv_bytes(pd.DataFrame(rows)))
    write_atomically(page, markdown(tuning_blocks(tuned)))
    return page


def tuning_files(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the tuning table and page in the folder of a comparison or study."""
    return folder / "tuning.csv", folder / "tuning.md"


def _edge_text(tuned: Tuned) -> str:
    edges, extended = ", ".join(tuned.edges), ", ".join(tuned.extended)
    if not extended:
        return edges
    return f"{extended}: extended once" + (f"; still at its end: {edges}" if edges else "")


def _note(arm: Arm, found: Tuned) -> str:
    point = ", ".join(f"{name} = {value_text(value)}" for name, value in found.point.items())
    kept = arm.note.replace("tuned learning rate", "").rstrip(", ")
    tuned = f"as tuned for {found.follows}: {point}" if found.follows else f"tuned: {point}"
    return ", ".join(part for part in (kept, tuned, found.choice) if part)


def _section(file: Path) -> DictConfig:
    loaded = read_yaml(file)
    if "sweep" not in loaded:
        raise ConfigError(f"{file} has no `sweep`; expected the file of a sweep")
    refuse_overruled(SettingsReader.tuning, in_file(file))
    return loaded


def _plan(
    config: RunConfig, arm: Arm, config_name: str, overrides: Sequence[str], section: DictConfig, name: str
) -> PreparedSweep:
    """Return the sweep of one arm, without the arm's own values for parameters of the space."""
    from sfpo_bench.search.space import space_of

    shared = [override for override in overrides if not override.lstrip("+~").startswith("comparison.")]
    evaluation = OmegaConf.to_container(section.get("evaluation") or OmegaConf.create())
    assert isinstance(evaluation, dict)
    study = f"{config.name}-{name}-{arm.key}"

    def prepared(node: DictConfig) -> DictConfig:
        changes: dict[str, object] = {f"evaluation.{key!s}": value for key, value in evaluation.items()}
        # Settings are chosen at equal budget, regardless of how the runs of the comparison end.
        own: dict[str, object] = {"training.keep_every": 0, "training.stop_at.accuracy": 0.0, "comparison": {}}
        return plain_node(node, {**changes, **own, "name": study})

    searched = from_node(
        plain_node(prepared(composer(config_name, [*shared, *arm.overrides])([])), {"sweep": section.sweep})
    )
    own = _without(arm.overrides, space_of(searched.sweep.parameters))
    inner = composer(config_name, [*shared, *own])

    def composing(further: Sequence[str]) -> DictConfig:
        return prepared(inner(further))

    return replace(plan_of(searched, composing), reuse=tuple(config.comparison.reuse))


def _without(overrides: Sequence[str], space: Space) -> list[str]:
    """Return the overrides except those that set parameters of the space."""
    keys = {parameter.key for parameter in space.parameters}
    return [text for text in overrides if parse_overrides([text])[0].key_or_group not in keys]


def _check_alike(config: RunConfig, plans: Sequence[PreparedSweep]) -> None:
    comparison, first = config.comparison, plans[0]
    used = set(range(comparison.first_seed, comparison.first_seed + comparison.seeds))
    count = max(first.settings.seeds, first.settings.top_seeds if first.settings.top_trials else 1)
    if used & set(first.seeds(count)):
        raise ConfigError(
            f"the sweep's seeds {first.seeds(count)} meet those of the comparison, {min(used)} to {max(used)}; set "
            "comparison.first_seed or the sweep's first_seed so that none is used twice"
        )
    for plan in plans[1:]:
        if plan.goals != first.goals or plan.trials != first.trials:
            raise ConfigError(
                f"{first.name} has {first.trials} trials of {first.goals[0].budget:g} {first.goals[0].axis.value}, "
                f"{plan.name} {plan.trials} of {plan.goals[0].budget:g}; set sweep.goals.NAME.budget in the sweep's "
                "file, so that every arm is searched alike"
            )


def _run_through(plan: PreparedSweep, run: Run) -> None:
    """Run a sweep to its end and remove its trials' weights, since the chosen settings are trained again.

    Checkpoints keep the journal's length, so a store that was down can still receive the journal."""
    run(plan)
    for weights in plan.folder.glob("trials/*/seed-*/checkpoints/**/*.safetensors"):
        weights.unlink()


def _search(arm: str, plan: PreparedSweep, run: Run) -> Tuned:
    _run_through(plan, run)
    point, value = _best(plan)
    at_end = [p for p in plan.space.parameters if p.name in point and p.edge(point[p.name])]
    tuned = Tuned(
        arm, point, value, plan.trials, plan.goals[0].budget, tuple(p.name for p in at_end), (), _choice(plan)
    )
    if not at_end:
        return tuned
    beyond = {p.name: p.extended(p.edge(point[p.name])) for p in at_end}
    further = _extended(plan, beyond)
    _run_through(further, run)
    new_point, new_value = _best(further)
    goal = plan.goals[0]
    better = new_value < value if goal.minimise else new_value > value
    extended = tuple(beyond)
    trials = plan.trials + further.trials
    if not better:
        # The value is no longer at the end of the searched range.
        return replace(tuned, trials=trials, edges=(), extended=extended)
    still = tuple(name for name, p in beyond.items() if _far_end(plan, p, new_point))
    return replace(tuned, point=new_point, value=new_value, trials=trials, edges=still, extended=extended)


def _choice(plan: PreparedSweep) -> str:
    evaluation = plan.config.evaluation
    if not evaluation.select_suite:
        return ""
    choice = choice_on(evaluation.select_suite, evaluation.allow_report)
    warning = ", which is for reporting: scores on it are too high" if choice.on_report else ""
    return f"chosen on the suite {choice.suite}{warning}"


def _far_end(plan: PreparedSweep, beyond: Parameter, point: Point) -> bool:
    """Return True if the value is at the outer end of an extension."""
    if beyond.name not in point:
        return False
    if beyond.points == 1:
        return True
    within = next(p for p in plan.space.parameters if p.name == beyond.name)
    return beyond.edge(point[beyond.name]) == ("high" if beyond.low >= within.high else "low")


def _extended(plan: PreparedSweep, beyond: dict[str, Parameter]) -> PreparedSweep:
    """Return the same search in the added part of the space: half the trials, or all new points of a grid."""
    space = Space(tuple(beyond.get(p.name, p) for p in plan.space.parameters))
    grid = plan.settings.sampler is SweepSampler.grid
    trials = len(space.grid()) if grid else max(1, plan.trials // 2)
    name = f"{plan.name}-extended"
    return replace(plan, name=name, folder=plan.folder.with_name(name), space=space, trials=trials)


def _best(plan: PreparedSweep) -> tuple[Point, float]:
    best = load_sweep(plan.folder).best
    if best is None:
        raise BenchError(f"{plan.folder}: no trial was completed, so there is no best one; see its report.md")
    return best.point, best.value
