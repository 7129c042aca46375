"""A read-only record of a trial, and its plain form for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sfpo_bench.search.space import Value

OVER = ("complete", "pruned", "failed")  # final states


@dataclass(frozen=True, slots=True)
class TrialView:
    """A trial. `state` is running, lost, waiting, complete, pruned or failed.

    A running trial whose process's lease has expired is lost. `values` are those of the goals; for a pruned trial,
    those at the time of pruning. `rungs` are its reports.
    """

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
        """Return the fields for JSON, with NaN as None."""
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
        """Return the fields of a view from the result of `plain`."""
        values = tuple(math.nan if value is None else float(value) for value in plain["values"])
        return {**plain, "values": values, "rungs": {int(step): float(v) for step, v in plain["rungs"].items()}}
