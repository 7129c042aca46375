"""`trials.json`: every trial of a sweep as it stands, for `list`, reports and people; the study itself is elsewhere.

It is written by the processes that work on the sweep, whole each time, so that looking needs neither Optuna nor the
database of the study.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.search.study import TrialView
from sfpo_bench.tracking.run_folder import write_atomically

FILE = "trials.json"


def write(
    folder: Path, views: Sequence[TrialView], lease_until_unix_s: float, importances: Mapping[str, float]
) -> None:
    """`lease_until_unix_s` is when those who work on the sweep must have been heard of again."""
    content = {
        "schema_version": 1,
        "lease_until_unix_s": lease_until_unix_s,
        "importances": dict(importances),
        "trials": [_plain(view) for view in views],
    }
    write_atomically(folder / FILE, json.dumps(content, ensure_ascii=False))


def _plain(view: TrialView) -> dict[str, object]:
    return {
        "number": view.number,
        "state": view.state,
        "point": dict(view.point),
        "values": [value if math.isfinite(value) else None for value in view.values],
        "rungs": {str(step): value for step, value in sorted(view.rungs.items())},
        "cause": view.cause,
        "censored": view.censored,
        "retry_of": view.retry_of,
        "started_unix_s": view.started_unix_s,
        "ended_unix_s": view.ended_unix_s,
    }
