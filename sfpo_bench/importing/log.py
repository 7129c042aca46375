"""A run's log as rows of numbers, whichever program wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sfpo_bench.tracking.run_folder import RunState


@dataclass(frozen=True, slots=True)
class LogRow:
    """What was logged at once at `step`: finite numbers by name. `place` says where, for errors: `line 12`."""

    step: int
    values: Mapping[str, float]
    place: str


@dataclass(frozen=True, slots=True)
class RunLog:
    """One run: its method, its seed, what was logged in the order of logging, and how it ended.

    `source` names file or run in errors and in the provenance. `one_value_a_step`: of two values of a name at one step
    the later one counts, as in a tracking store; elsewhere they are an error.
    """

    arm: str
    seed: int
    source: str
    rows: tuple[LogRow, ...]
    state: RunState = RunState.finished
    one_value_a_step: bool = False
