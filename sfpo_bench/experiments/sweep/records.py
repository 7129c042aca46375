"""`trials.json`: every trial of a sweep as it stands, for `list`, reports and people; the study itself is elsewhere.

It is written by the processes that work on the sweep, whole each time, so that looking needs neither Optuna nor the
database of the study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.search.trial_view import TrialView

FILE = "trials.json"


def write(
    folder: Path, views: Sequence[TrialView], lease_until_unix_s: float, importances: Mapping[str, float]
) -> None:
    """`lease_until_unix_s` is when those who work on the sweep must have been heard of again."""
    content = {
        "schema_version": 1,
        "lease_until_unix_s": lease_until_unix_s,
        "importances": dict(importances),
        "trials": [view.plain() for view in views],
    }
    write_atomically(folder / FILE, json.dumps(content, ensure_ascii=False))
