"""The table of settings that a verb overrules or does not read, with the reason and remedy.

Such a key is an error wherever it was written for that verb: command line, file, arm, or sweep parameter. Files shared
by several verbs, such as experiments, may contain another verb's section, and a setting that only `train` reads beside
the one that replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.tracking import TrackingStore
from sfpo_bench.settings.config import RunConfig


class SettingsReader(StrEnum):
    """A reader of settings: a verb, or a part of its configuration with further settings."""

    train = "train"
    compare = "compare"
    sweep = "sweep"
    budgeted_sweep = "sweep with a budget"  # all its goals have a budget
    study = "study"
    suite_design = "study.design=suite"
    league_design = "study.design=league"
    reposition_design = "study.design=reposition"
    arm = "comparison.arms"
    parameter = "sweep.parameters"
    tuning = "comparison.tune"


@dataclass(frozen=True, slots=True)
class Overruled:
    """The reason why a setting has no effect, and the remedy; `instead` are the settings that replace it."""

    reason: str
    instead: tuple[str, ...] = ()
    remedy: str = ""
    is_section: bool = False  # of another verb; allowed in shared files

    def advice(self) -> str:
        """The remedy as text."""
        return self.remedy or f"set {' and '.join(self.instead)} instead"


@dataclass(frozen=True, slots=True)
class Written:
    """A setting that the user wrote, with its place; `is_shared` for a file shared by several verbs."""

    key: str
    value: object
    place: str
    is_shared: bool = False


def own_settings(seed: int, run_name: str) -> dict[str, object]:
    """The settings that differ between runs of a comparison or sweep."""
    return {"seed": seed, "run_name": run_name}


def common_settings(threads: int) -> dict[str, object]:
    """The settings that all runs of a comparison or sweep share; the parent process delivers and reports."""
    return {**{section: {} for section in _SECTIONS}, "threads": threads, "tracking.store": TrackingStore.none.value}


_SECTIONS = ("comparison", "sweep", "study")
_SEED, _RUN_NAME = "every run has a seed of its own", "every run has a name of its own"
_COMPARISON = ("comparison.first_seed", "comparison.seeds")
_SWEEP = ("sweep.first_seed", "sweep.seeds")
_BUDGET = Overruled("the budget of the sweep's goals fixes how long a run is", ("sweep.goals.NAME.budget",))


def _section(verb: str, note: str = "") -> Overruled:
    return Overruled(f"only `{verb}` reads it", remedy=f"use sfpo-bench {verb}{note}, or leave it out", is_section=True)


def _each(seeds: tuple[str, ...], threads: str) -> dict[str, Overruled]:
    return {
        "seed": Overruled(_SEED, seeds),
        "run_name": Overruled(_RUN_NAME, ("name",)),
        "threads": Overruled("every run has the same threads", (threads,)),
    }


def _whole(what: str, outside: str) -> dict[str, Overruled]:
    """Settings with one value for all runs of a comparison or sweep, not allowed in arms or parameters."""
    keys = ("name", "description", "output_root", "tracking", "launcher", *_SECTIONS)
    return {
        key: Overruled(f"{what} has one for all its runs", remedy=f"give it one value, outside of {outside}")
        for key in keys
    }


_TUNED_BY_FILE = Overruled("comparison.tune searches by the sweep's own file", remedy="set it in that file")
_NOT_TUNED = Overruled(
    "comparison.tune reads `sweep` and `evaluation` of that file, and searches with the comparison's other settings",
    remedy="set it in the comparison, or leave it out",
)
_OTHER_DESIGN = Overruled(
    "another design of a study reads it", remedy="choose that design (study.design), or leave it out", is_section=True
)
_OWN_ARMS = Overruled("the design makes its arms", remedy="leave it out", is_section=True)
_SCORING = ("study.evaluation", "study.data", "study.budget_axis", "study.model")
_READ_BY_TUNING = ("name", "description", "sweep", "evaluation")  # the first two belong to the file's own sweep
OVERRULED: Mapping[SettingsReader, Mapping[str, Overruled]] = {
    SettingsReader.train: {
        "comparison": _section("compare"),
        "sweep": _section("sweep", " or train --multirun"),
        "study": _section("study"),
        "launcher": Overruled(
            "`train` trains where it is called",
            remedy="start it there (torchrun for several processes), or use sfpo-bench compare, or leave it out",
            is_section=True,
        ),
    },
    SettingsReader.compare: {
        **_each(_COMPARISON, "comparison.threads"),
        "sweep": _TUNED_BY_FILE,
        "study": _section("study"),
    },
    SettingsReader.sweep: {
        **_each(_SWEEP, "sweep.threads"),
        "comparison": _section("compare"),
        "study": _section("study"),
    },
    SettingsReader.study: {
        **_each(_COMPARISON, "comparison.threads"),
        "sweep": _TUNED_BY_FILE,
    },
    SettingsReader.suite_design: {key: _OTHER_DESIGN for key in ("study.league", "study.reposition")},
    SettingsReader.league_design: {
        **{key: _OTHER_DESIGN for key in (*_SCORING, "study.reposition")},
        "comparison.arms": _OWN_ARMS,
    },
    SettingsReader.reposition_design: {
        **{key: _OTHER_DESIGN for key in (*_SCORING, "study.league")},
        "comparison.arms": _OWN_ARMS,
    },
    SettingsReader.arm: {
        **_each(_COMPARISON, "comparison.threads"),
        "training.steps": Overruled(
            "all arms are trained for the same number of steps", remedy="set training.steps outside of the arms"
        ),
        "training.stop_at": Overruled(
            "all arms end at the same accuracy", remedy="set training.stop_at outside of the arms"
        ),
        **_whole("the comparison", "the arms"),
    },
    SettingsReader.parameter: {
        **_each(_SWEEP, "sweep.threads"),
        "training.steps": _BUDGET,
        "training.stop_at": Overruled(
            "all trials end at the same accuracy", remedy="give it one value, outside of sweep.parameters"
        ),
        **_whole("the sweep", "sweep.parameters"),
    },
    SettingsReader.tuning: {
        "sweep.slots": Overruled("the comparison's slots train the trials", ("comparison.slots",)),
        **{field.name: _NOT_TUNED for field in fields(RunConfig) if field.name not in _READ_BY_TUNING},
    },
}
OVERRULED = {**OVERRULED, SettingsReader.budgeted_sweep: {**OVERRULED[SettingsReader.sweep], "training.steps": _BUDGET}}


def overruled(reader: SettingsReader, key: str) -> tuple[str, Overruled] | None:
    """The table's key that equals or contains `key`, with its entry; None when `key` is effective."""
    found = (name for name in OVERRULED[reader] if f"{key}.".startswith(f"{name}."))
    return next(((name, OVERRULED[reader][name]) for name in found), None)


def refuse_overruled(
    reader: SettingsReader, written: Iterable[Written], has: Mapping[str, object] | None = None
) -> None:
    """Raise `ConfigError` for the first setting without effect; `has` are the runs' actual values.

    A shared file may contain a setting that equals the actual value.
    """
    written = list(written)
    keys = {one.key for one in written}
    for one in written:
        found = overruled(reader, one.key)
        if found is None:
            continue
        name, entry = found
        agrees = (has or {}).get(name, one) == one.value or keys & set(entry.instead)
        if one.is_shared and (entry.is_section or agrees):
            continue
        raise ConfigError(f"{one.place}: {one.key} has no effect here: {entry.reason}; {entry.advice()}")
