"""The launcher of a configuration; what a kind needs beyond this package is imported when it is chosen."""

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
    """Raises `ConfigError` when the package of the chosen kind is not installed, and when its processes would import
    another package of this name."""
    _check(settings)
    if isinstance(settings, LocalLauncher):
        return Local(settings, threads, log, visible_gpus(os.environ))
    if isinstance(settings, SlurmLauncher):
        from sfpo_bench.workers.slurm import Slurm

        return Slurm(settings, threads, log.parent / "jobs")
    from sfpo_bench.workers.ray_cluster import RayCluster

    return RayCluster(settings, threads)


def slot_count(settings: LauncherSettings, wanted: int) -> int:
    """Runs side by side: as wanted, or with 0 as many as the machine has cores (or GPUs, where each run has its own).

    A scheduler decides itself how many of its jobs run; there 0 means 8 at a time. Raises what `build_launcher` raises,
    before anything is prepared.
    """
    _check(settings)
    if isinstance(settings, LocalLauncher):
        return slots_for(settings, visible_gpus(os.environ), wanted)
    return wanted or 8


def _check(settings: LauncherSettings) -> None:
    for kind, package in ((SlurmLauncher, "submitit"), (RayLauncher, "ray")):
        if isinstance(settings, kind) and importlib.util.find_spec(package) is None:
            raise ConfigError(f"launcher={settings.kind} needs {package}: {install_extra(settings.kind)}")
    # Ray has its actors look in the present folder before anywhere else.
    refuse_another_package([str(Path.cwd())] if isinstance(settings, RayLauncher) else [])
