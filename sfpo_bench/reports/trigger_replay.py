"""Computes the step at which a trigger would have fired in finished runs, from their recorded entropies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from sfpo_bench.algorithms.triggers import Trigger
from sfpo_bench.reports.load import Comparison, SeedRun


def replayed(run: SeedRun, trigger: Trigger) -> int | None:
    """Return the step at which a new `trigger` fires on the run's entropies, or None.

    Exact until the run's own trigger fired; after that, another trigger would have led to other entropies.
    """
    series = run.metrics.get("entropy")
    if series is None:
        return None
    for step, entropy in zip(series.steps.tolist(), series.values.tolist(), strict=True):
        if trigger.observe(int(step), float(entropy)):
            return int(step)
    return None


def trigger_frame(comparison: Comparison, arm: str, triggers: Mapping[str, Callable[[], Trigger]]) -> pd.DataFrame:
    """Return one row per trigger: in how many of the arm's runs it fires, and the first, median and last such step.

    Raises `KeyError` for an unknown arm.
    """
    if arm not in comparison.plan.arms:
        raise KeyError(f"found no arm {arm!r}; expected one of {', '.join(comparison.plan.arms)}")
    runs = [run for run in comparison.of_arm(arm) if "entropy" in run.metrics]
    rows = []
    for name, make in triggers.items():
        fired = sorted(step for run in runs if (step := replayed(run, make())) is not None)
        median = float(pd.Series(fired, dtype="float64").median()) if fired else None
        ends = (fired[0], fired[-1]) if fired else (None, None)
        rows.append(
            {
                "trigger": name,
                "runs": len(runs),
                "fired": len(fired),
                "first": ends[0],
                "median": median,
                "last": ends[1],
            }
        )
    return pd.DataFrame(rows)
