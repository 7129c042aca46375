"""Determines arm and seed of a run from its logged settings, its name, or the command line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing.log import RunLog, whole_number

_USUAL_SEED = "seed"
_PARTS = {"{arm}": r"(?P<arm>.+)", "{seed}": r"(?P<seed>[0-9]+)"}


@dataclass(frozen=True, slots=True)
class Names:
    """Columns, tags, parameters or settings with step, arm and seed; empty for the default of the kind of log.

    `run_name` extracts arm and seed from run names: `{arm}-seed{seed}`.
    """

    step: str = ""
    arm: str = ""
    seed: str = ""
    run_name: str = ""


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run with its name in the log, and its logged settings and tags.

    `log` does not have its final arm and seed yet."""

    name: str
    settings: Mapping[str, str]
    log: RunLog


def run_log(name: str, settings: Mapping[str, str], log: RunLog, names: Names, arm: str, seed: int | None) -> RunLog:
    """Return the log with its arm and seed; `arm` and `seed` are defaults (empty and None for none).

    The arm is the value of `names.arm`, else the one in the run's name, else `arm`, else the run's name. Raises
    `ConfigError` if the named value is missing, a name does not match `run_name`, or there is no seed.
    """
    parts = _parts(name, names.run_name)
    found = _setting(name, settings, names.arm, "arm").strip() if names.arm else parts.get("arm") or arm or name
    return replace(log, arm=found, seed=_seed(name, settings, names, parts, seed))


def _seed(name: str, settings: Mapping[str, str], names: Names, parts: Mapping[str, str], given: int | None) -> int:
    if not names.seed and "seed" in parts:
        return int(parts["seed"])
    if not names.seed and _USUAL_SEED not in settings and given is not None:
        return given
    key = names.seed or _USUAL_SEED
    text = _setting(name, settings, key, "seed")
    value = whole_number(text.strip())
    if value is None or value < 0:
        raise ConfigError(f"run {name}: {key} is {text!r}; expected a whole number, 0 or more")
    return value


def _parts(name: str, template: str) -> Mapping[str, str]:
    """Return arm and seed as the template matches them in a run's name."""
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


def _setting(name: str, settings: Mapping[str, str], key: str, what: str) -> str:
    found = settings.get(key)
    if found is None or not found.strip():
        by_name = "" if what == "arm" else ", or its name: run_name='{arm}-{seed}'"
        raise ConfigError(
            f"run {name} has no tag or parameter {key!r}; expected one that tells its {what}: {what}=NAME, one of "
            f"{', '.join(_own(settings)) or '(it has none)'}{by_name}"
        )
    return found


def identified(runs: Sequence[NamedRun], names: Names, arm: str = "", seed: int | None = None) -> list[RunLog]:
    """Return the logs of the runs with arm and seed; a single run without a seed gets seed 0.

    Raises `ConfigError` if two runs have the same arm and seed, with the settings that distinguish them.
    """
    given = seed if seed is not None else 0
    alone = len(runs) == 1
    logs = [run_log(one.name, one.settings, one.log, names, arm, given if alone else None) for one in runs]
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
    """Return the settings and tags that differ between runs; at most 40."""
    keys = dict.fromkeys(key for one in runs for key in one.settings)
    return _own(key for key in keys if len({one.settings.get(key) for one in runs}) > 1)


def _own(keys: Iterable[str]) -> list[str]:
    """Return at most 40 of the keys, except those that MLflow adds to every run."""
    return [key for key in keys if not key.startswith("mlflow.")][:40]
