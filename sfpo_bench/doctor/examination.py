"""Runs every check, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sfpo_bench.core.tracking import TrackingSettings
from sfpo_bench.doctor import hub
from sfpo_bench.doctor.devices import check_devices, check_engines
from sfpo_bench.doctor.findings import Finding, in_background
from sfpo_bench.doctor.storage import check_cache, check_disk
from sfpo_bench.doctor.store import check_tracking
from sfpo_bench.doctor.versions import check_versions, declared, tested_versions


def examine(
    output_root: Path, tracking: TrackingSettings, cache: Path, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield every finding as soon as it is known; the hub is queried in the background."""
    hub_answer = in_background(hub.check_hub, hub.not_reachable(f"no answer within {hub.SECONDS:g} s"), hub.SECONDS + 1)
    tested = tested_versions()
    yield from check_versions(declared(), tested)
    yield from check_devices(tested)
    yield from check_engines(tested)
    yield from check_cache(cache)
    yield from check_disk(output_root, cache)
    yield check_tracking(tracking, output_root, environ)
    yield hub_answer()
