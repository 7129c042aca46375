"""Decides whether two calls belong to the same sweep.

Trials, and seeds of the best trials, may be added. Any other difference is refused with a message, since trials that
were chosen or judged differently cannot be part of one study.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from enum import Enum

from sfpo_bench.core.types import Split
from sfpo_bench.experiments.sweep.plan import PreparedSweep
from sfpo_bench.problems.sets import choice_on
from sfpo_bench.results.code_version import Work, code_version
from sfpo_bench.results.identity import refuse
from sfpo_bench.results.sweep import SCHEMA_VERSION, SweepFolder, SweepPlan
from sfpo_bench.settings.config import flatten, to_plain
from sfpo_bench.training.run import identity

# Settings that affect how the search is run, but not its results.
_FREE = (
    "trials", "top_trials", "top_seeds", "keep_pruned", "failures_in_a_row", "retry", "attach", "storage",
    "lease_seconds", "slots", "threads", "parameters", "goals",
)  # fmt: skip


def describe(plan: PreparedSweep) -> SweepPlan:
    """Return the plan of the sweep."""
    evaluation = plan.config.evaluation
    choice = choice_on(evaluation.select_suite, evaluation.allow_report) if evaluation.select_suite else None
    settings = {key: _plain(value) for key, value in asdict(plan.settings).items()}
    return SweepPlan(
        schema_version=SCHEMA_VERSION,
        name=plan.name,
        experiment=plan.config.description,
        trials=plan.trials,
        top_trials=plan.settings.top_trials,
        parameters={p.name: {k: _plain(v) for k, v in asdict(p).items()} for p in plan.space.parameters},
        chosen_on=choice.suite if choice else "",
        chosen_on_report=bool(choice and choice.on_report) or plan.settings.split is Split.report,
        goals={goal.name: {k: _plain(v) for k, v in asdict(goal).items()} for goal in plan.goals},
        search={key: value for key, value in settings.items() if key not in _FREE},
        settings=identity(flatten(to_plain(plan.base))).without(["seed"]).values,
        code_version=code_version(Work.sweep),
    )


def check(plan: PreparedSweep) -> None:
    """Raise `ComparisonChanged` with the differences if the folder holds another sweep; writes nothing."""
    there = SweepFolder(plan.folder)
    refuse(
        f"{plan.folder} holds another sweep",
        there.plan().differences(describe(plan)) if there.exists() else [],
        "Undo the change to continue it, or give this one another name (name=...)",
    )


def settle(plan: PreparedSweep) -> None:
    """Write sweep.json once this process may work on the sweep; raises the errors of `check`."""
    check(plan)
    there, new = SweepFolder(plan.folder), describe(plan)
    trials = max(there.plan().trials, plan.trials) if there.exists() else plan.trials
    there.write_plan(replace(new, trials=trials))


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
