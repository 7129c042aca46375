"""Lines of `sfpo-bench list` for a sweep, printed once or until it ends."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.cli.progress import say
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.reports.sweep.load import states
from sfpo_bench.results.names import SWEEPS
from sfpo_bench.results.sweep import SweepFolder, SweepPlan
from sfpo_bench.search.trial_view import OVER, TrialView
from sfpo_bench.settings.search import Measure

_ORDER = (*OVER, "running", "waiting", "lost")
_WATCH_SECONDS = 2.0


def describe_sweep(folder: Path) -> str:
    """Return trial counts by state and the best trial as one line; trials whose process died are interrupted."""
    plan, trials = states(folder)
    counts = Counter(trial.state for trial in trials)
    said = ", ".join(
        f"{counts[state]} {'interrupted' if state == 'lost' else state}" for state in _ORDER if counts[state]
    )
    over = sum(counts[state] for state in OVER)
    return f"sweep {folder}  {over} of {plan.trials} trials: {said or 'none yet'}{_best(plan, trials)}"


def watch(root: Path, name: str) -> None:
    """Print the line of a sweep, and of each trial that ends, until all its trials are finished."""
    folder = next((path for path in (root / SWEEPS / name, Path(name)) if SweepFolder(path).exists()), None)
    if folder is None:
        known = ", ".join(sweep.path.name for sweep in SweepFolder.inside(root)) or "none"
        raise MissingDataError(f"watch = {name!r} is no sweep below {root}; there are: {known}")
    seen: dict[int, str] = {}
    line = ""
    while True:
        plan, trials = states(folder)
        for trial in trials:
            if seen.get(trial.number) != trial.state:
                seen[trial.number] = trial.state
                say(_trial(trial))
        if line != (line := describe_sweep(folder)):
            say(line)
        over = sum(state in OVER for state in seen.values())
        if over >= plan.trials:
            return
        time.sleep(_WATCH_SECONDS)


def _trial(trial: TrialView) -> str:
    point = ", ".join(f"{k} = {f'{v:.4g}' if isinstance(v, float) else v}" for k, v in trial.point.items())
    values = " ".join(f"{value:.4g}" for value in trial.values if math.isfinite(value))
    cause = f" ({trial.cause})" if trial.cause else ""
    return f"trial {trial.number} {trial.state} {values}{cause}: {point}"


def _best(plan: SweepPlan, trials: Sequence[TrialView]) -> str:
    [goal, *further] = plan.goals.values()
    values = [
        (t.values[0], t.number) for t in trials if t.state == "complete" and t.values and math.isfinite(t.values[0])
    ]
    if further or not values:
        return ""
    is_cost = goal["measure"] == Measure.cost.value
    value, number = min(values) if is_cost else max(values, key=lambda pair: (pair[0], -pair[1]))
    return f"; best {value:.4g} (trial {number})"
