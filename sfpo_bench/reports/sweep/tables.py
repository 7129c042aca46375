"""The report of a sweep as text and tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from sfpo_bench.reports.document import (
    Block,
    Part,
    Picture,
    bold,
    bullets,
    heading,
    line,
    paragraph,
    paragraphs,
    table,
)
from sfpo_bench.reports.formats import count_text
from sfpo_bench.reports.sweep.load import Axis, Sweep, SweepTrial
from sfpo_bench.search.goals import Goal
from sfpo_bench.search.space import Value
from sfpo_bench.settings.search import Measure
from sfpo_bench.statistics import Interval, mean_interval

_SHOWN = 10
_EDGE = 0.02


def goal_text(goal: Goal) -> str:
    """Return a description of a goal: `mean accuracy over 15,360 responses`."""
    unit = goal.axis.value.replace("_", " ")
    budget = f"{count_text(goal.budget)} {unit}"
    if goal.measure is Measure.area:
        return f"mean accuracy over {budget}"
    if goal.measure is Measure.accuracy:
        return f"accuracy at {budget}"
    return f"{unit} to accuracy {goal.target:g}, within {budget}"


def value_text(value: Value) -> str:
    """Return a parameter or goal value with at most four digits."""
    if value is None:
        return "null"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def goal_value_text(value: float) -> str:
    """Return a goal's value: four decimals for an accuracy, four digits for a cost."""
    return f"{value:.4f}" if abs(value) < 1 else value_text(value)


def goal_interval(goal: Goal, values: Sequence[float]) -> Interval | None:
    """Return the 95 % t interval of a goal over seeds, cut to [0, 1] for shares; None with fewer than two seeds."""
    interval = mean_interval(values).interval if values else None
    if interval is None or goal.minimise:
        return interval
    return Interval(max(0.0, interval.low), min(1.0, interval.high))


def trials_table(sweep: Sweep) -> pd.DataFrame:
    """Return one row per trial, sorted by number: state, parameters, goals, seeds, cause."""
    rows = []
    for trial in sweep.trials:
        row: dict[str, object] = {"trial": trial.number, "state": trial.state}
        row |= {axis.name: trial.point.get(axis.name) for axis in sweep.axes}
        row |= {
            goal.name: trial.values[index] if index < len(trial.values) else math.nan
            for index, goal in enumerate(sweep.goals)
        }
        row |= {"censored": trial.censored, "seeds": len(trial.seed_values), "rungs": len(trial.rungs)}
        row |= {"cause": trial.cause, "retry_of": trial.retry_of}
        rows.append(row)
    return pd.DataFrame(rows)


def sweep_blocks(sweep: Sweep, figures: Sequence[tuple[str, str]]) -> list[Block]:
    """Return the report as blocks; `figures` are (caption, file name)."""
    found: list[Block] = [heading(1, sweep.name), *paragraphs(_summary(sweep)), *_best(sweep)]
    found += [Picture(words, name) for words, name in figures]
    return [*found, *_importance(sweep), *_all(sweep), *_method(sweep)]


def _summary(sweep: Sweep) -> Iterator[Part]:
    counts = Counter(trial.state for trial in sweep.trials)
    said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    yield f"{sweep.experiment}. {len(sweep.trials)} trials of {sweep.wanted} wanted: {said or 'none yet'}."
    yield f"Searched: {' and '.join(goal_text(goal) for goal in sweep.goals)}, on {sweep.problems}."
    if any(goal.minimise for goal in sweep.goals):
        yield (
            "A cost to an accuracy is that of a curve's first crossing. Noisy curves cross early, trials that are "
            "evaluated more often or with fewer responses the earlier; costs are not corrected for it."
        )
    if sweep.on_report:
        yield bold("These settings were chosen on the problems that are reported: numbers on them are too good.")
    best = sweep.best
    if best is None:
        return
    if len(sweep.goals) > 1:
        yield f"{len(sweep.front())} trials are beaten by no other in both goals; with two goals there is no best one."
        return
    equal = [trial.number for trial in sweep.complete if trial.value == best.value and trial is not best]
    if equal:
        numbers = ", ".join(str(number) for number in equal)
        same = f" trials {numbers} have exactly the value of trial {best.number}, the first of them."
        yield line(bold("Tied:"), same)
    point = ", ".join(f"{name} = {value_text(value)}" for name, value in best.point.items())
    shown = (bold(f"trial {best.number}"), f" with {point}: ", bold(_values(sweep, best)[0]))
    yield line("Best: ", *shown, _fresh(sweep, best))
    if any(trial.censored for trial in sweep.complete):
        yield (
            "A score marked `not reached` is no cost: in at least one run of that trial the accuracy was not reached "
            "within the budget B. Such a run scores B x (2 - best accuracy / target), which only ranks trials."
        )
    edges = [text for axis in sweep.axes if (text := _edge(axis, best))]
    if edges:
        yield line(bold("At the edge of the space:"), f" {'; '.join(edges)}. A better value may lie beyond.")


def _values(sweep: Sweep, trial: SweepTrial) -> list[str]:
    """Return the value of each goal; of a cost that was not reached it is a score, and says so."""
    is_score = [trial.censored and goal.minimise for goal in sweep.goals]
    return [
        f"{goal_value_text(value)} (score: not reached)" if scored else goal_value_text(value)
        for value, scored in zip(trial.values, is_score, strict=True)
    ]


def _fresh(sweep: Sweep, trial: SweepTrial) -> str:
    """Describe the selection bias of the best value, or its unbiased mean over new seeds."""
    values = sweep.fresh_values(trial)
    if not values:
        return ". It is the best of many noisy values, hence too good; sweep.top_trials gives the best ones new seeds."
    return f"; {goal_value_text(mean_interval(values).point)} over {len(values)} seeds that had no part in the choice."


def _edge(axis: Axis, trial: SweepTrial) -> str:
    value = trial.point.get(axis.name)
    if axis.choices or value is None or isinstance(value, (str, bool)):
        return ""
    share = axis.share(value)
    end = "low" if share <= _EDGE else "high" if share >= 1 - _EDGE else ""
    return f"{axis.name} = {value_text(value)}, the {end} end" if end else ""


def _best(sweep: Sweep) -> Iterator[Block]:
    shown = sweep.front() if len(sweep.goals) > 1 else sweep.complete[:_SHOWN]
    if not shown:
        return
    yield heading(2, "Trials that no other beats in both goals" if len(sweep.goals) > 1 else "Best trials")
    header = ["trial", *(axis.name for axis in sweep.axes), *(goal.name for goal in sweep.goals)]
    more = any(sweep.fresh_values(trial) for trial in shown)
    header += ["new seeds", "mean over new seeds", "95 % interval, all seeds"] if more else []
    yield table(header, [_row(sweep, trial, more) for trial in shown], left=0)


def _row(sweep: Sweep, trial: SweepTrial, more: bool) -> list[str]:
    point = [value_text(trial.point[axis.name]) if axis.name in trial.point else "" for axis in sweep.axes]
    cells = [str(trial.number), *point, *_values(sweep, trial)]
    if more:
        fresh = sweep.fresh_values(trial)
        interval = goal_interval(sweep.goal, list(trial.seed_values.values()))
        cells += [str(len(fresh)), goal_value_text(mean_interval(fresh).point) if fresh else ""]
        cells.append(f"{goal_value_text(interval.low)} to {goal_value_text(interval.high)}" if interval else "")
    return cells


def _importance(sweep: Sweep) -> Iterator[Block]:
    if sweep.importances:
        yield heading(2, "Importance")
        yield paragraph(
            "How much each parameter tells good trials from all (PED-ANOVA, shares). Of few trials it is a hint, and "
            "it says nothing of direction."
        )
        ranked = sorted(sweep.importances.items(), key=lambda item: -item[1])
        yield table(["parameter", "share"], [[name, f"{share:.2f}"] for name, share in ranked], left=1)


def _all(sweep: Sweep) -> Iterator[Block]:
    if not sweep.trials:
        return
    yield heading(2, "All trials")
    header = ["trial", "state", *(axis.name for axis in sweep.axes), *(goal.name for goal in sweep.goals), "why"]
    rows = []
    for trial in sweep.trials:
        point = [value_text(trial.point[axis.name]) if axis.name in trial.point else "" for axis in sweep.axes]
        values = _values(sweep, trial) if trial.values else [""] * len(sweep.goals)
        why = trial.cause if trial.retry_of is None else f"{trial.cause} (trial {trial.retry_of} again)".strip()
        rows.append([str(trial.number), trial.state, *point, *values, why])
    yield table(header, rows, left=(1, len(header) - 1))


def _method(sweep: Sweep) -> Iterator[Block]:
    search = sweep.search
    yield heading(2, "How")
    seeds = "one run" if sweep.searched_seeds == 1 else f"{sweep.searched_seeds} runs, averaged"
    yield from bullets(
        [
            f"Sampler {search['sampler']}, pruner {search['pruner']}; a trial is {seeds}, first seed "
            f"{search['first_seed']}.",
            "The value of a pruned trial is what it had when it was given up, not comparable with complete ones.",
            f"Code version {str(sweep.code_version)[:12]}.",
        ]
    )
