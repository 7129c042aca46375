"""Where runs are trained and shares of evaluations generated: on this machine, as jobs of Slurm, or on a Ray cluster.

Scheduling is theirs, not ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.core.options import option


@dataclass
class LocalLauncher:
    """A worker process per slot on this machine. GPUs are divided among the slots."""

    kind: str = option("local", "name of the launcher")
    gpus_per_run: int = option(
        0, "GPUs that each slot has for itself; 0: slots share them, slot n using GPU n modulo their number", low=0
    )
    processes_per_run: int = option(
        1, "processes that train a run together, one for each of its GPUs, started by torchrun", low=1
    )


@dataclass
class SlurmLauncher:
    """Jobs of Slurm, submitted by submitit; a long run takes several. The folder of results must be shared."""

    kind: str = option("slurm", "name of the launcher")
    partition: str = option("", "partition; empty: the cluster's default")
    account: str = option("", "account to charge; empty: the user's default")
    time_minutes: int = option(60, "time limit of a job; a run that needs more goes on in a further job", low=1)
    signal_seconds: int = option(
        120, "before the limit Slurm asks the run to end: it finishes its step and writes a checkpoint", low=1
    )
    cpus: int = option(1, "processor cores of a job", low=1)
    gpus: int = option(0, "GPUs of a job", low=0)
    processes_per_run: int = option(
        1, "processes that train a run together, one for each of its GPUs, started by torchrun", low=1
    )
    memory_gb: int = option(0, "memory of a job, GB; 0: the cluster's default", low=0)
    submit_on: str = option("slurm", "slurm, or local: the same jobs as processes here, to try things out")


@dataclass
class RayLauncher:
    """An actor of Ray per slot. The folder of results must be shared by the nodes."""

    kind: str = option("ray", "name of the launcher")
    address: str = option("", "cluster, such as ray://host:10001 or auto; empty: a cluster of this machine's own")
    cpus: float = option(1.0, "processor cores of a slot", above=0.0)
    gpus: float = option(0.0, "GPUs of a slot; a part of one is allowed", low=0.0)
    processes_per_run: int = option(
        1, "processes that train a run together, one for each of its GPUs, started by torchrun", low=1
    )


LauncherSettings = LocalLauncher | SlurmLauncher | RayLauncher
LAUNCHERS: dict[str, type] = {"local": LocalLauncher, "slurm": SlurmLauncher, "ray": RayLauncher}
