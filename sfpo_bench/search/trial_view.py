"""A trial as anyone may see it, in memory and as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sfpo_bench.search.space import Value

OVER = ("complete", "pruned", "failed")  # the states of a trial that has ended


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial. `state` is running, lost, waiting, complete, pruned or failed; lost is a running one whose process has
    been silent too long. `values` are those of the goals, of a pruned trial what it had when it was given up; `rungs`
    are its reports."""

    number: int
    state: str
    point: Mapping[str, Value]
    values: tuple[float, ...]
    rungs: Mapping[int, float]
    cause: str
    censored: bool
    retry_of: int | None
    started_unix_s: float | None
    ended_unix_s: float | None

    def plain(self) -> dict[str, object]:
        """For JSON, which has no NaN."""
        return {
            "number": self.number,
            "state": self.state,
            "point": dict(self.point),
            "values": [value if math.isfinite(value) else None for value in self.values],
            "rungs": {str(step): value for step, value in sorted(self.rungs.items())},
            "cause": self.cause,
            "censored": self.censored,
            "retry_of": self.retry_of,
            "started_unix_s": self.started_unix_s,
            "ended_unix_s": self.ended_unix_s,
        }

    @classmethod
    def fields_of(cls, plain: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a view from what `plain` gave."""
        values = tuple(math.nan if value is None else float(value) for value in plain["values"])
        return {**plain, "values": values, "rungs": {int(step): float(v) for step, v in plain["rungs"].items()}}
