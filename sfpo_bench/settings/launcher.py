"""Settings of launchers for runs and evaluations: this machine, Slurm jobs, or a Ray cluster.

Slurm and Ray do the scheduling.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.core.options import option


@dataclass
class LocalLauncher:
    """A worker process per slot on this machine. GPUs are divided among the slots."""

    kind: str = option("local", "name of the launcher")
    gpus_per_run: int = option(
        0, "GPUs reserved for each slot; 0: slots share GPUs, slot n uses GPU n modulo their number", low=0
    )
    processes_per_run: int = option(1, "processes per run, one for each of its GPUs, started by torchrun", low=1)


@dataclass
class SlurmLauncher:
    """Slurm jobs, submitted by submitit; a long run takes several. The output folder must be on shared storage."""

    kind: str = option("slurm", "name of the launcher")
    partition: str = option("", "partition; empty: the cluster's default")
    account: str = option("", "account to charge; empty: the user's default")
    time_minutes: int = option(60, "time limit of a job; a longer run continues in another job", low=1)
    signal_seconds: int = option(
        120, "seconds before the limit at which Slurm signals the run to finish its step and write a checkpoint", low=1
    )
    cpus: int = option(1, "CPU cores per job", low=1)
    gpus: int = option(0, "GPUs per job", low=0)
    processes_per_run: int = option(1, "processes per run, one for each of its GPUs, started by torchrun", low=1)
    memory_gb: int = option(0, "memory per job, GB; 0: the cluster's default", low=0)
    submit_on: str = option("slurm", "slurm, or local: the same jobs as local processes, for tests")


@dataclass
class RayLauncher:
    """One Ray actor per slot. The output folder must be shared by the nodes."""

    kind: str = option("ray", "name of the launcher")
    address: str = option("", "cluster, such as ray://host:10001 or auto; empty: a local cluster")
    cpus: float = option(1.0, "CPU cores per slot", above=0.0)
    gpus: float = option(0.0, "GPUs per slot; may be a fraction", low=0.0)
    processes_per_run: int = option(1, "processes per run, one for each of its GPUs, started by torchrun", low=1)


LauncherSettings = LocalLauncher | SlurmLauncher | RayLauncher
LAUNCHERS: dict[str, type] = {"local": LocalLauncher, "slurm": SlurmLauncher, "ray": RayLauncher}
