"""Runs from an experiment of an MLflow store: arm and seed by tag or parameter, numbers from the metric history."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sfpo_bench.errors import ConfigError, MissingDataError
from sfpo_bench.importing.log import LogRow, RunLog
from sfpo_bench.tracking.run_folder import RunState
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


def mlflow_runs(uri: str, experiment: str, names: Names) -> list[RunLog]:
    """The runs of the experiment that logged anything, oldest first.

    Raises `MissingDataError` for an experiment without runs, `ConfigError` where a run does not tell its arm or seed or
    two tell the same, and `TrackingError` when the store fails.
    """
    store = stored_runs(uri)
    infos = [info for info in store.of_experiment(experiment) if info.latest]
    if not infos:
        raise MissingDataError(f"found no run with metrics in the experiment {experiment!r}; expected at least one")
    keys = [(_arm(info, names), _seed(info, names)) for info in infos]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise ConfigError(
            f"found several runs of arm {twice[0][0]!r} with seed {twice[0][1]}; expected one of each: name the tag or "
            f"parameter that tells them apart with arm=NAME or seed=NAME, one of {', '.join(_told(infos))}"
        )
    histories = store.histories(infos)
    return [
        RunLog(arm, seed, f"run {info.name or info.run_id}", _rows(history), _state(info), one_value_a_step=True)
        for (arm, seed), info, history in zip(keys, infos, histories, strict=True)
    ]


def _arm(info: StoredRunInfo, names: Names) -> str:
    if not names.arm:
        return info.name or info.run_id
    return _value(info, names.arm, "arm")


def _seed(info: StoredRunInfo, names: Names) -> int:
    text = _value(info, names.seed, "seed")
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"run {info.name}: {names.seed} is {text!r}; expected a whole number") from error


def _value(info: StoredRunInfo, name: str, what: str) -> str:
    found = info.tags.get(name, info.params.get(name))
    if found is None:
        raise ConfigError(
            f"run {info.name or info.run_id} has no tag or parameter {name!r}; expected one that tells its {what}: "
            f"{what}=NAME, one of {', '.join(_told([info])) or '(it has none)'}"
        )
    return found


def _told(infos: Sequence[StoredRunInfo]) -> list[str]:
    """Tags and parameters, without MLflow's own; at most 40."""
    found = dict.fromkeys(key for info in infos for key in (*info.tags, *info.params) if not key.startswith("mlflow."))
    return list(found)[:40]


def _rows(history: History) -> tuple[LogRow, ...]:
    """One row per step, steps rising; of two values of a metric at one step the later one counts."""
    steps: dict[int, dict[str, float]] = {}
    for key, step, value in zip(history.keys, history.steps, history.values, strict=True):
        if math.isfinite(value):
            steps.setdefault(int(step), {})[key] = float(value)
    return tuple(LogRow(step, steps[step], f"step {step}") for step in sorted(steps))


def _state(info: StoredRunInfo) -> RunState:
    return _STATES.get(info.status, RunState.running)
