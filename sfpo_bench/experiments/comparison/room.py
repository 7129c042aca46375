"""Checks the disk space for all runs of a comparison before the first one starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.core.errors import BenchError
from sfpo_bench.experiments.plan import ResourcePlan, plan
from sfpo_bench.models.load import shape_of
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.training.checkpoint import require_space


def require_room(folder: Path, runs: Sequence[RunConfig], slots: int) -> None:
    """Raise `DiskFullError` if `folder` lacks space for what these runs keep and what `slots` of them write.

    Runs of a model of unknown size are not counted here; each of them checks its own space."""
    plans = [found for config in runs if (found := _plan(config)) is not None]
    written = sorted((one.checkpoint_bytes for one in plans), reverse=True)[:slots]
    if plans:
        require_space(folder, sum(one.kept_bytes for one in plans) + sum(written))


def _plan(config: RunConfig) -> ResourcePlan | None:
    try:
        return plan(config, shape_of(config.model))
    except BenchError:
        return None
