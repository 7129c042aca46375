"""Settings of a sweep. No Optuna here: configuration must answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sfpo_bench.core.costs import AXIS_KEYS, CostAxis
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Split


class Kind(StrEnum):
    """Scale of a parameter: float, log (float on a logarithmic scale), int, log_int, or categorical."""

    float = "float"
    log = "log"
    int = "int"
    log_int = "log_int"
    categorical = "categorical"


class SweepSampler(StrEnum):
    """How parameters are chosen: tpe (tree-structured Parzen estimator), random, grid, cmaes (CMA-ES), or nsga2
    (NSGA-II, for two goals)."""

    tpe = "tpe"
    random = "random"
    grid = "grid"
    cmaes = "cmaes"
    nsga2 = "nsga2"


class Pruner(StrEnum):
    """What ends a hopeless trial: median, percentile, successive_halving or hyperband over the cost of the goal;
    wilcoxon over seeds; none."""

    median = "median"
    percentile = "percentile"
    successive_halving = "successive_halving"
    hyperband = "hyperband"
    wilcoxon = "wilcoxon"
    none = "none"


class Measure(StrEnum):
    """area: mean accuracy over the budget. accuracy: accuracy at the budget. cost: cost at which a target accuracy is
    first reached, to be small."""

    area = "area"
    accuracy = "accuracy"
    cost = "cost"


@dataclass
class ParameterSettings:
    """One dimension of a space: which setting it changes, and to what."""

    key: str = option("", "the setting, such as learner.learning_rate, or a group, such as algorithm")
    kind: Kind = option(Kind.float, "float, log, int, log_int or categorical")
    low: Any = option(None, "smallest value")
    high: Any = option(None, "largest value")
    step: Any = option(None, "distance of values, from low on; empty: continuous, or 1 for integers")
    points: int = option(0, "values that a grid takes from a continuous range, ends included", low=0)
    choices: list[Any] = option([], "values of a categorical parameter")
    when: dict[str, Any] = option({}, "the parameter exists where these parameters have one of the listed values")


@dataclass
class GoalSettings:
    """What is to be made best, measured on select problems against a cost."""

    measure: Measure = option(Measure.area, "area, accuracy or cost")
    axis: CostAxis = option(CostAxis.responses, f"{', '.join(AXIS_KEYS[:-1])} or {AXIS_KEYS[-1]}")
    budget: float = option(
        0.0, "how much of the axis a run may spend; 0: what training.steps spend (prompts and responses only)", low=0.0
    )
    target: float = option(0.5, "accuracy whose cost is measured; used by cost alone", above=0.0, high=1.0)


@dataclass
class SweepSettings:
    """A space, a goal, and how the one is searched for the other. Read by `sweep`, ignored by `train`."""

    parameters: dict[str, Any] = option({}, "the space, by short name: key, kind, low, high, step, choices, when")
    goals: dict[str, Any] = option({}, "one goal by name, or two for nsga2: measure, axis, budget, target; empty: area")
    split: Split = option(Split.select, "problems the goals are measured on; choosing on report is refused")
    choose_on_report: bool = option(False, "allow split=report all the same; every table then says so")
    trials: int = option(20, "finished trials wanted, pruned and failed ones included; 0: the whole grid", low=0)
    seeds: int = option(1, "runs of a trial, each with a seed of its own", low=1)
    first_seed: int = option(100, "the first seed; the others follow it", low=0)
    top_trials: int = option(0, "best trials that get more seeds when the search is over", low=0)
    top_seeds: int = option(3, "seeds that each of these has in the end", low=1)
    sampler: SweepSampler = option(SweepSampler.tpe, "tpe, random, grid, cmaes or nsga2")
    sampler_seed: int = option(0, "seed of the parameters", low=0)
    startup_trials: int = option(
        10, "random trials before tpe or cmaes begin, and finished ones before any is pruned", low=1
    )
    pruner: Pruner = option(Pruner.median, "median, percentile, successive_halving, hyperband, wilcoxon or none")
    rungs: int = option(10, "equal parts of the budget after each of which a trial may be pruned", low=2)
    warmup_rungs: int = option(2, "rungs before a trial may be pruned", low=0)
    percentile: float = option(50.0, "percentile pruner: the best share that is kept, %", above=0.0, below=100.0)
    reduction_factor: int = option(3, "successive halving and Hyperband: one in so many goes on", low=2)
    p_threshold: float = option(0.1, "Wilcoxon pruner: p-value below which a trial is worse", above=0.0, below=1.0)
    keep_pruned: bool = option(True, "keep the checkpoints of pruned trials")
    failures_in_a_row: int = option(5, "trials failing one after another that stop the sweep", low=1)
    retry: bool = option(False, "try the parameters of failed trials once more")
    attach: bool = option(False, "join a sweep that another process is working on")
    storage: str = option(
        "", "database of the study, postgresql+psycopg://…; empty: a journal file in the sweep's folder"
    )
    lease_seconds: float = option(30.0, "silence after which a process of the sweep counts as gone", above=0.0)
    slots: int = option(0, "trials side by side; 0: one per processor core", low=0)
    threads: int = option(1, "threads of each run", low=1)
