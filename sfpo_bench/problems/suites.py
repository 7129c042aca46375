"""Suites: benchmarks that are run together, and the permitted use of their scores.

A suite's role is `select` or `report`. Curves and scores may be shown for either. Choosing by a score (a checkpoint, a
setting, a sweep's goal) requires a `select` suite, since a score that was selected on is biased.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from omegaconf import MISSING

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.problems.card import card, known_sets, named_file, read_entry


class Role(StrEnum):
    """The use of a suite's scores: model selection, or reporting."""

    select = "select"
    report = "report"


@dataclass
class SuiteEntry:
    """One benchmark of a suite, with the number of its problems (0: all) and the ids left out."""

    name: str = MISSING
    problems: int = 0
    leave_out: list[str] = field(default_factory=list)


@dataclass
class Suite:
    """Benchmarks that are run together."""

    name: str = MISSING
    title: str = MISSING
    role: Role = MISSING
    benchmarks: list[SuiteEntry] = MISSING
    notes: str = ""


@dataclass(frozen=True, slots=True)
class SuiteChoice:
    """A choice by the scores of a suite; `on_report` for a report suite, which needs explicit permission."""

    suite: str
    role: Role

    @property
    def on_report(self) -> bool:
        return self.role is Role.report

    @property
    def note(self) -> str:
        """The note on every table of the chosen result."""
        if self.on_report:
            return (
                f"chosen by its scores on {self.suite}, a suite for reporting: these scores are the best of several "
                "tries and too high"
            )
        return f"chosen by its scores on {self.suite}, a suite for choosing"


@cache
def suite(name: str, setting: str = "") -> Suite:
    """The suite of that name, or a one-benchmark report suite for a benchmark's name.

    Raises `ConfigError` for unknown names and for a suite with an unknown benchmark.
    """
    if name in known_sets("benchmarks"):
        return Suite(name, card(name).title, Role.report, [SuiteEntry(name)])
    found = read_entry(named_file(("suites", "benchmarks"), name, "a suite or a benchmark", setting), Suite)
    for entry in found.benchmarks:
        card(entry.name)
    return found


def choice_on(name: str, allow_report: str = "", setting: str = "", permission: str = "allow_report") -> SuiteChoice:
    """The choice by a suite's scores; `setting` and `permission` are the keys for error messages.

    Raises `ConfigError` for a report suite unless `allow_report` is its name.
    """
    found = suite(name, setting)
    if found.role is Role.report and allow_report != name:
        select = [other for other in known_sets("suites") if suite(other).role is Role.select]
        raise ConfigError(
            f"{name} is a suite for reporting: what is chosen by its scores makes them too high. Choose on "
            f"{' or '.join(select)}; or ask for it by name, {permission}={name}, and every table will say so"
        )
    return SuiteChoice(name, found.role)
