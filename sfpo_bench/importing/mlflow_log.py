"""Runs from an experiment of an MLflow store: arm and seed by tag or parameter, numbers from the metric history."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.log import LogRow, RunLog, number
from sfpo_bench.results.run_folder import RunState
from sfpo_bench.tracking.stored_runs import History, StoredRunInfo, stored_runs

_STATES = {
    "FINISHED": RunState.finished,
    "FAILED": RunState.failed,
    "KILLED": RunState.interrupted,
    "RUNNING": RunState.running,
}


@dataclass(frozen=True, slots=True)
class Names:
    """The tags or parameters that tell arm and seed; an empty `arm` takes the run's name."""

    arm: str = ""
    seed: str = "seed"


def mlflow_runs(uri: str, experiment: str, names: Names, later_wins: bool = False) -> list[RunLog]:
    """The runs of the experiment that logged anything, oldest first.

    Of two values of a metric at one step the later one counts, and that is noted. `later_wins`: a metric whose steps
    fall back was resumed there, and what it had logged from that step on is left out. Raises `MissingDataError` for an
    experiment without runs, `ConfigError` where a run does not tell its arm or seed or two tell the same, and
    `TrackingError` when the store fails.
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
    keys = [(_arm(info, names), _seed(info, names)) for info in infos]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise ConfigError(
            f"found several runs of arm {twice[0][0]!r} with seed {twice[0][1]}; expected one of each: name the tag or "
            f"parameter that tells them apart with arm=NAME or seed=NAME, one of {', '.join(_told(infos))}"
        )
    idle = [one for one in everyone if not one.latest]
    silent = tuple(f"run {one.name or one.run_id} logged no metric and is left out" for one in idle)
    logs = [
        _log(key, info, history, later_wins)
        for key, info, history in zip(keys, infos, store.histories(infos), strict=True)
    ]
    return [replace(logs[0], notes=(*silent, *logs[0].notes)), *logs[1:]]


def _log(key: tuple[str, int], info: StoredRunInfo, history: History, later_wins: bool) -> RunLog:
    source = f"run {info.name or info.run_id}"
    metrics, again = _by_metric(history, later_wins)
    names = ", ".join(list(again)[:5]) + (f" and {len(again) - 5} more" if len(again) > 5 else "")
    what = "steps that were logged again or undone" if later_wins else "steps that were logged again"
    notes = (f"{source}: {sum(again.values())} values at {what} gave way to later ones, of {names}",) if again else ()
    rows = _rows(metrics, source)
    return RunLog(*key, source, rows, _STATES.get(info.status, RunState.running), one_value_a_step=True, notes=notes)


def _arm(info: StoredRunInfo, names: Names) -> str:
    if not names.arm:
        return info.name or info.run_id
    return _value(info, names.arm, "arm").strip()


def _seed(info: StoredRunInfo, names: Names) -> int:
    text = _value(info, names.seed, "seed")
    value = number(text.strip())
    if value is None or value != int(value) or value < 0:
        raise ConfigError(f"run {info.name}: {names.seed} is {text!r}; expected a whole number, 0 or more")
    return int(value)


def _value(info: StoredRunInfo, name: str, what: str) -> str:
    found = info.tags.get(name, info.params.get(name))
    if found is None or not found.strip():
        raise ConfigError(
            f"run {info.name or info.run_id} has no tag or parameter {name!r}; expected one that tells its {what}: "
            f"{what}=NAME, one of {', '.join(_told([info])) or '(it has none)'}"
        )
    return found


def _told(infos: Sequence[StoredRunInfo]) -> list[str]:
    """Tags and parameters, without MLflow's own; at most 40."""
    found = dict.fromkeys(key for info in infos for key in (*info.tags, *info.params) if not key.startswith("mlflow."))
    return list(found)[:40]


def _by_metric(history: History, later_wins: bool) -> tuple[dict[str, dict[int, float]], dict[str, int]]:
    """Every metric's values by step, and how many of it gave way to a later one that differs."""
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
    """One row per step, steps rising."""
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
