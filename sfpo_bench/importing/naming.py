"""Which arm and seed a run of a log is of: by what was logged of its settings, by its name, or as it was given."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing.log import RunLog, number

_USUAL_SEED = "seed"
_PARTS = {"{arm}": r"(?P<arm>.+)", "{seed}": r"(?P<seed>[0-9]+)"}


@dataclass(frozen=True, slots=True)
class Names:
    """What tells step, arm and seed in a log: a column, tag, parameter or setting; empty, as the kind of log has it.

    `run_name` takes arm and seed out of the names of runs: `{arm}-seed{seed}`.
    """

    step: str = ""
    arm: str = ""
    seed: str = ""
    run_name: str = ""


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run with its name in the log, and the settings and tags that were logged of it; `log` has no arm or seed yet
    but what it was given under."""

    name: str
    told: Mapping[str, str]
    log: RunLog


def run_log(name: str, told: Mapping[str, str], log: RunLog, names: Names, arm: str, seed: int | None) -> RunLog:
    """The log with its arm and seed; `arm` and `seed` hold where the log tells none (empty and None: nothing does).

    The arm is what `names.arm` names, else that of the run's name, else `arm`, else the run's name. Raises
    `ConfigError` where what was named is not there, a name does not fit `run_name`, or nothing tells the seed.
    """
    parts = _parts(name, names.run_name)
    found = _told(name, told, names.arm, "arm").strip() if names.arm else parts.get("arm") or arm or name
    return replace(log, arm=found, seed=_seed(name, told, names, parts, seed))


def _seed(name: str, told: Mapping[str, str], names: Names, parts: Mapping[str, str], given: int | None) -> int:
    if not names.seed and "seed" in parts:
        return int(parts["seed"])
    if not names.seed and _USUAL_SEED not in told and given is not None:
        return given
    key = names.seed or _USUAL_SEED
    text = _told(name, told, key, "seed")
    value = number(text.strip())
    if value is None or value != int(value) or value < 0:
        raise ConfigError(f"run {name}: {key} is {text!r}; expected a whole number, 0 or more")
    return int(value)


def _parts(name: str, template: str) -> Mapping[str, str]:
    """Arm and seed as the template finds them in a run's name."""
    if not template:
        return {}
    if "{arm}" not in template and "{seed}" not in template:
        raise ConfigError(
            f"run_name = {template!r} has no {{arm}} and no {{seed}}; expected such as '{{arm}}-{{seed}}'"
        )
    pattern = "".join(_PARTS.get(part, re.escape(part)) for part in re.split(r"(\{arm\}|\{seed\})", template))
    found = re.fullmatch(pattern, name)
    if found is None:
        raise ConfigError(
            f"run {name!r} has not the form run_name = {template!r}; expected every run's name to have it"
        )
    return found.groupdict()


def _told(name: str, told: Mapping[str, str], key: str, what: str) -> str:
    found = told.get(key)
    if found is None or not found.strip():
        by_name = "" if what == "arm" else ", or its name: run_name='{arm}-{seed}'"
        raise ConfigError(
            f"run {name} has no tag or parameter {key!r}; expected one that tells its {what}: {what}=NAME, one of "
            f"{', '.join(_own(told)) or '(it has none)'}{by_name}"
        )
    return found


def identified(runs: Sequence[NamedRun], names: Names, arm: str = "", seed: int | None = None) -> list[RunLog]:
    """The logs of the runs with arm and seed; a run that is the only one has the seed 0 where nothing tells it.

    Raises `ConfigError` where two are of the same, with the settings that tell the runs apart.
    """
    given = seed if seed is not None else 0
    alone = len(runs) == 1
    logs = [run_log(one.name, one.told, one.log, names, arm, given if alone else None) for one in runs]
    counted = Counter((log.arm, log.seed) for log in logs)
    twice = [key for key, count in counted.items() if count > 1]
    if twice:
        raise ConfigError(
            f"found several runs of arm {twice[0][0]!r} with seed {twice[0][1]}; expected one of each: name the tag or "
            "parameter that tells them apart with arm=NAME or seed=NAME, one of "
            f"{', '.join(_differing(runs)) or '(none)'}"
        )
    return logs


def _differing(runs: Sequence[NamedRun]) -> list[str]:
    """Settings and tags that are not alike in all runs; at most 40."""
    keys = dict.fromkeys(key for one in runs for key in one.told)
    return _own(key for key in keys if len({one.told.get(key) for one in runs}) > 1)


def _own(keys: Iterable[str]) -> list[str]:
    """At most 40 of the keys, without those that MLflow adds to every run."""
    return [key for key in keys if not key.startswith("mlflow.")][:40]
