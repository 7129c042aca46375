"""What `sfpo-bench list` says of a sweep, once or until it ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfpo_bench.cli.progress import say
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.reports.sweep.load import states
from sfpo_bench.search.trial_view import OVER

_ORDER = (*OVER, "running", "waiting", "lost")
_WATCH_SECONDS = 2.0


def describe_sweep(folder: Path) -> str:
    """Counts of the states, and the best trial so far, in one line. Trials whose process is gone are interrupted."""
    about, found = states(folder)
    counts = Counter(trial["state"] for trial in found["trials"])
    said = ", ".join(
        f"{counts[state]} {'interrupted' if state == 'lost' else state}" for state in _ORDER if counts[state]
    )
    over = sum(counts[state] for state in OVER)
    return f"sweep {folder}  {over} of {about['trials']} trials: {said or 'none yet'}{_best(about, found)}"


def watch(root: Path, name: str) -> None:
    """Print the line of a sweep, and of each trial that ends, until all its trials are over."""
    folder = next((path for path in (root / "sweeps" / name, Path(name)) if (path / "sweep.json").is_file()), None)
    if folder is None:
        known = ", ".join(sorted(path.parent.name for path in root.glob("sweeps/*/sweep.json"))) or "none"
        raise MissingDataError(f"watch = {name!r} is no sweep below {root}; there are: {known}")
    seen: dict[int, str] = {}
    line = ""
    while True:
        about, found = states(folder)
        for trial in found["trials"]:
            if seen.get(trial["number"]) != trial["state"]:
                seen[trial["number"]] = trial["state"]
                say(_trial(trial))
        if line != (line := describe_sweep(folder)):
            say(line)
        over = sum(state in OVER for state in seen.values())
        if over >= int(about["trials"]):
            return
        time.sleep(_WATCH_SECONDS)


def _trial(trial: Mapping[str, Any]) -> str:
    point = ", ".join(f"{k} = {f'{v:.4g}' if isinstance(v, float) else v}" for k, v in trial["point"].items())
    values = " ".join(f"{value:.4g}" for value in trial["values"] if value is not None)
    cause = f" ({trial['cause']})" if trial["cause"] else ""
    return f"trial {trial['number']} {trial['state']} {values}{cause}: {point}"


def _best(about: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    [goal, *further] = about["goals"].values()
    values = [
        (t["values"][0], t["number"])
        for t in found["trials"]
        if t["state"] == "complete" and t["values"][0] is not None
    ]
    if further or not values:
        return ""
    value, number = min(values) if goal["measure"] == "cost" else max(values, key=lambda pair: (pair[0], -pair[1]))
    return f"; best {value:.4g} (trial {number})"
