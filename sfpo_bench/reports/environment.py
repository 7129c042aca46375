"""Settings and environment of a comparison as rows of text: shared values first, then differing ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sfpo_bench.reports.load import Comparison
from sfpo_bench.reports.summary import ArmSummary

Row = tuple[str, ...]

# Values of a process rather than the comparison; they do not affect its numbers.
_OF_THE_PROCESS = frozenset({"started_unix_s", "command", "tracking_uri"})
_ABSENT = "(none)"


def setting_rows(arms: Sequence[ArmSummary]) -> tuple[list[Row], list[Row]]:
    """Return the settings that all arms share, as (key, value), and the others, as (key, value per arm...)."""
    same: list[Row] = []
    different: list[Row] = []
    for key in dict.fromkeys(key for arm in arms for key in arm.settings):
        values = tuple(_text(arm.settings[key]) if key in arm.settings else _ABSENT for arm in arms)
        if len(set(values)) == 1:
            same.append((key, values[0]))
        else:
            different.append((key, *values))
    return same, different


def environment_rows(comparison: Comparison) -> list[Row]:
    """Return the runs' provenance as (key, value, number of runs), one row per value found."""
    found: dict[str, dict[str, int]] = {}
    recorded = [run for run in comparison.runs if run.provenance]
    for run in recorded:
        for key, value in _flat(run.provenance):
            counts = found.setdefault(key, {})
            counts[value] = counts.get(value, 0) + 1
    return [
        (key, value, f"{count} of {len(recorded)}") for key, counts in found.items() for value, count in counts.items()
    ]


def _flat(provenance: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in provenance.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in _OF_THE_PROCESS:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows


def _text(value: object) -> str:
    """Return a value as text: strings unchanged, None as `(none)`, anything else as JSON."""
    if value is None:
        return _ABSENT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
