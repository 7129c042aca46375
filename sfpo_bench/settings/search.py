"""Settings of a sweep, without Optuna, so that configuration loads fast."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sfpo_bench.core.costs import AXIS_KEYS, CostAxis
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Split


class Kind(StrEnum):
    """The type of a parameter: float, log (float on a logarithmic scale), int, log_int, or categorical."""

    float = "float"
    log = "log"
    int = "int"
    log_int = "log_int"
    categorical = "categorical"


class SweepSampler(StrEnum):
    """The sampler: tpe (tree-structured Parzen estimator), random, grid, cmaes (CMA-ES), or nsga2 (for two goals)."""

    tpe = "tpe"
    random = "random"
    grid = "grid"
    cmaes = "cmaes"
    nsga2 = "nsga2"


class Pruner(StrEnum):
    """The pruner of trials.

    median, percentile, successive_halving and hyperband compare over the goal's cost, wilcoxon over seeds; none is off.
    """

    median = "median"
    percentile = "percentile"
    successive_halving = "successive_halving"
    hyperband = "hyperband"
    wilcoxon = "wilcoxon"
    none = "none"


class Measure(StrEnum):
    """The measure of a goal.

    area is the mean accuracy over the budget, accuracy that at the budget, and cost (minimised) the cost at which the
    target accuracy is first reached.
    """

    area = "area"
    accuracy = "accuracy"
    cost = "cost"


@dataclass
class ParameterSettings:
    """One dimension of the search space: a setting and its values."""

    key: str = option("", "the setting, such as learner.learning_rate, or a group, such as algorithm")
    kind: Kind = option(Kind.float, "float, log, int, log_int or categorical")
    low: Any = option(None, "smallest value")
    high: Any = option(None, "largest value")
    step: Any = option(None, "step size from low on; empty: continuous, or 1 for integers")
    points: int = option(0, "grid points of a continuous range, including its ends", low=0)
    choices: list[Any] = option([], "values of a categorical parameter")
    when: dict[str, Any] = option({}, "condition: other parameters and the values for which this one exists")


@dataclass
class GoalSettings:
    """A goal of the sweep, measured on select problems against a cost axis."""

    measure: Measure = option(Measure.area, "area, accuracy or cost")
    axis: CostAxis = option(CostAxis.responses, f"{', '.join(AXIS_KEYS[:-1])} or {AXIS_KEYS[-1]}")
    budget: float = option(
        0.0, "budget of a run on the axis; 0: that of training.steps (prompts and responses only)", low=0.0
    )
    target: float = option(0.5, "target accuracy; used by the measure cost only", above=0.0, high=1.0)


@dataclass
class SweepSettings:
    """Search space, goals and search of a sweep; read by `sweep`, ignored by `train`."""

    parameters: dict[str, Any] = option({}, "parameters by short name: key, kind, low, high, step, choices, when")
    goals: dict[str, Any] = option({}, "one goal by name, or two for nsga2: measure, axis, budget, target; empty: area")
    split: Split = option(Split.select, "split of the goals; report is refused")
    choose_on_report: bool = option(False, "allow split=report; every table then says so")
    trials: int = option(20, "number of trials, including pruned and failed ones; 0: the whole grid", low=0)
    seeds: int = option(1, "runs per trial, each with its own seed", low=1)
    first_seed: int = option(100, "first seed; the others follow", low=0)
    top_trials: int = option(0, "best trials that get more seeds after the search", low=0)
    top_seeds: int = option(3, "total seeds of each of these", low=1)
    sampler: SweepSampler = option(SweepSampler.tpe, "tpe, random, grid, cmaes or nsga2")
    sampler_seed: int = option(0, "seed of the sampler", low=0)
    startup_trials: int = option(
        10, "random trials before tpe or cmaes start, and finished ones before any is pruned", low=1
    )
    pruner: Pruner = option(Pruner.median, "median, percentile, successive_halving, hyperband, wilcoxon or none")
    rungs: int = option(10, "number of equal parts of the budget after which a trial may be pruned", low=2)
    warmup_rungs: int = option(2, "rungs before the first pruning", low=0)
    percentile: float = option(50.0, "percentile pruner: share of best trials that is kept, %", above=0.0, below=100.0)
    reduction_factor: int = option(3, "successive halving and Hyperband: one in this many trials continues", low=2)
    p_threshold: float = option(0.1, "Wilcoxon pruner: p-value below which a trial is worse", above=0.0, below=1.0)
    keep_pruned: bool = option(True, "keep the checkpoints of pruned trials")
    failures_in_a_row: int = option(5, "consecutive failed trials that stop the sweep", low=1)
    retry: bool = option(False, "retry the parameters of failed trials once")
    attach: bool = option(False, "join a sweep that another process is running")
    storage: str = option(
        "", "database of the study, postgresql+psycopg://…; empty: a journal file in the sweep's folder"
    )
    lease_seconds: float = option(
        30.0, "heartbeat timeout after which a process of the sweep counts as dead", above=0.0
    )
    slots: int = option(0, "parallel trials; 0: one per CPU core", low=0)
    threads: int = option(1, "threads of each run", low=1)
