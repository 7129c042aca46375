"""The campaign of many runs in one worker: its verdict, and a short form of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns.long_worker import Reading, readings, verdict


@pytest.mark.parametrize(
    ("growth_mb", "descriptors", "processes", "flat"),
    [(0.0, 0, 1, True), (0.05, 0, 1, True), (0.3, 0, 1, False), (0.0, 1, 1, False), (0.0, 0, 2, False)],
)
def test_the_verdict_sees_growth_and_a_second_process(
    growth_mb: float, descriptors: int, processes: int, flat: bool
) -> None:
    found = [
        Reading(runs, runs * processes // 201, 300 + growth_mb * runs, 20 + descriptors * runs // 100, 4)
        for runs in range(1, 201)
    ]
    said, found_flat = verdict(found)
    assert found_flat == flat and said.startswith("200 runs finished")


@pytest.mark.slow
def test_forty_runs_leave_a_worker_as_it_was(tmp_path: Path) -> None:
    said, flat = verdict(readings(tmp_path / "runs", 40))
    assert flat, said
