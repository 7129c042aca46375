"""Reads runs from an MLflow experiment: arm and seed from tags or parameters, numbers from metric histories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.importing.log import LogRow, RunLog
from sfpo_bench.importing.naming import NamedRun, Names, identified
from sfpo_bench.results.run_folder import RunState
from sfpo_bench.tracking.stored_runs import History, StoredRunInfo, stored_runs

_STATES = {
    "FINISHED": RunState.finished,
    "FAILED": RunState.failed,
    "KILLED": RunState.interrupted,
    "RUNNING": RunState.running,
}


KIND = "an MLflow experiment"
SETTINGS = frozenset({"uri", "arm", "seed", "run_name"})


def mlflow_runs(uri: str, experiment: str, names: Names, later_wins: bool = False) -> list[RunLog]:
    """Return the runs of the experiment that logged a metric, oldest first.

    Of two values of a metric at one step the later one is used, with a note. `later_wins`: if the steps of a metric go
    back, the run was resumed, and earlier values from that step on are dropped. Raises `MissingDataError` for an
    experiment without runs, `ConfigError` if a run lacks arm or seed or two runs have the same, and `TrackingError` if
    the store fails.
    """
    store = stored_runs(uri)
    everyone = store.of_experiment(experiment)
    infos = [info for info in everyone if info.latest]
    if not infos:
        there = store.experiments()
        found = f"has no experiment {experiment!r}"
        if experiment in there:
            found = f"has no run with metrics in the experiment {experiment!r}"
        raise MissingDataError(f"the tracking store {found}; its experiments are {', '.join(there) or '(none)'}")
    idle = [one for one in everyone if not one.latest]
    silent = tuple(f"run {one.name or one.run_id} logged no metric and is left out" for one in idle)
    runs = [
        NamedRun(info.name or info.run_id, _tags_and_params(info), _log(info, history, later_wins))
        for info, history in zip(infos, store.histories(infos), strict=True)
    ]
    logs = identified(runs, names)
    return [replace(logs[0], notes=(*silent, *logs[0].notes)), *logs[1:]]


def _log(info: StoredRunInfo, history: History, later_wins: bool) -> RunLog:
    source = f"run {info.name or info.run_id}"
    metrics, again = _by_metric(history, later_wins)
    names = ", ".join(list(again)[:5]) + (f" and {len(again) - 5} more" if len(again) > 5 else "")
    what = "steps that were logged again or undone" if later_wins else "steps that were logged again"
    notes = (
        (f"{source}: {sum(again.values())} values at {what} were replaced by later ones, of {names}",) if again else ()
    )
    rows = _rows(metrics, source)
    state = _STATES.get(info.status, RunState.running)
    return RunLog("", 0, source, rows, state, one_value_a_step=True, notes=notes)


def _tags_and_params(info: StoredRunInfo) -> Mapping[str, str]:
    """Return tags and parameters; a tag overrides a parameter of the same name."""
    return {**info.tags, **{key: value for key, value in info.params.items() if key not in info.tags}}


def _by_metric(history: History, later_wins: bool) -> tuple[dict[str, dict[int, float]], dict[str, int]]:
    """Return every metric's values by step, and the number of its values that later, different ones replaced."""
    found: dict[str, dict[int, float]] = {}
    last: dict[str, int] = {}
    again: dict[str, int] = {}
    points = zip(history.times_ms, history.keys, history.steps, history.values, strict=True)
    for _, key, step, value in sorted(points, key=lambda point: point[0]):
        own = found.setdefault(key, {})
        undone = [at for at in own if at > step] if later_wins and step < last.get(key, step) else []
        undone += [step] if step in own and repr(own[step]) != repr(value) else []
        for at in undone:
            del own[at]
        if undone:
            again[key] = again.get(key, 0) + len(undone)
        own[step], last[key] = value, step
    return found, again


def _rows(metrics: Mapping[str, Mapping[int, float]], source: str) -> tuple[LogRow, ...]:
    """Return one row per step, in increasing order."""
    values: dict[int, dict[str, float]] = {}
    unread: dict[int, dict[str, str]] = {}
    for key, own in metrics.items():
        for step, value in own.items():
            values.setdefault(step, {})
            if math.isfinite(value):
                values[step][key] = float(value)
            else:
                unread.setdefault(step, {})[key] = repr(value)
    return tuple(LogRow(step, values[step], f"{source}, step {step}", unread.get(step, {})) for step in sorted(values))
