"""Finds the comparison, sweep or study that a folder is or lies in."""

from __future__ import annotations

from pathlib import Path

from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.study import StudyFolder
from sfpo_bench.results.sweep import SweepFolder

Container = StudyFolder | ComparisonFolder | SweepFolder
_KINDS: tuple[type[StudyFolder] | type[ComparisonFolder] | type[SweepFolder], ...] = (
    StudyFolder,
    ComparisonFolder,
    SweepFolder,
)
# The files that identify a container.
PLAN_FILES = frozenset(kind(Path()).plan_file.name for kind in _KINDS)


def container_at(path: Path) -> Container | None:
    """Return the study, comparison or sweep in this folder, or None if it is none of them."""
    return next((found for kind in _KINDS if (found := kind(path)).exists()), None)


def container_of(run: RunFolder) -> Container | None:
    """Return the comparison or sweep of a run (`COMPARISON/runs/ARM/SEED`, `SWEEP/trials/TRIAL/SEED`), or None."""
    above = run.above(levels=3)
    return container_at(above) if above is not None else None


def study_of(container: ComparisonFolder | SweepFolder) -> StudyFolder | None:
    """Return the study of a comparison (`STUDY/comparison`) or a sweep (`STUDY/sweeps/NAME`), or None."""
    above = RunFolder(container.path).above(levels=1 if isinstance(container, ComparisonFolder) else 2)
    return StudyFolder(above) if above is not None and StudyFolder(above).exists() else None
