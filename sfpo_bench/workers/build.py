"""Builds the launcher of a configuration; optional packages are imported only when they are needed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from sfpo_bench.core.child_processes import refuse_another_package
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.settings.launcher import LauncherSettings, LocalLauncher, RayLauncher, SlurmLauncher
from sfpo_bench.workers.local import Local, slots_for, visible_gpus
from sfpo_bench.workers.protocol import Launcher


def build_launcher(settings: LauncherSettings, threads: int, log: Path) -> Launcher:
    """Build the launcher that `settings` describe; its workers log to `log`.

    Raises `ConfigError` if the required package is not installed, or if worker processes would import a different
    package of this name.
    """
    _check(settings)
    if isinstance(settings, LocalLauncher):
        return Local(settings, threads, log, visible_gpus(os.environ))
    if isinstance(settings, SlurmLauncher):
        from sfpo_bench.workers.slurm import Slurm

        return Slurm(settings, threads, log.parent / "jobs")
    from sfpo_bench.workers.ray_cluster import RayCluster

    return RayCluster(settings, threads)


def slot_count(settings: LauncherSettings, wanted: int) -> int:
    """Return the number of slots: `wanted`, or with 0 one per core (one per GPU share if each run has its own GPUs).

    A cluster scheduler queues jobs itself; there 0 means 8. Raises the errors of `build_launcher`, before anything
    is prepared.
    """
    _check(settings)
    if isinstance(settings, LocalLauncher):
        return slots_for(settings, visible_gpus(os.environ), wanted)
    return wanted or 8


def _check(settings: LauncherSettings) -> None:
    for kind, package in ((SlurmLauncher, "submitit"), (RayLauncher, "ray")):
        if isinstance(settings, kind) and importlib.util.find_spec(package) is None:
            raise ConfigError(f"launcher={settings.kind} needs {package}: {install_extra(settings.kind)}")
    # Ray actors have the working directory first on their import path.
    refuse_another_package([str(Path.cwd())] if isinstance(settings, RayLauncher) else [])
