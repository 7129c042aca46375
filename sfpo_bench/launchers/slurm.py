"""Runs as jobs of Slurm, submitted by submitit: each turn of a run is a job.

A job trains until the run is finished. Some time before its limit Slurm sends a signal: the run finishes its step,
writes a checkpoint and is `interrupted`; the slot then submits a new job that goes on from there (`Slots`). A run in
several processes is started by torchrun inside the job. With `submit_on: local` submitit runs the same jobs as
processes of this machine.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.core.child_processes import child_environment
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.launchers.protocol import Reply, Seat
from sfpo_bench.launchers.turn import take_turn
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.settings.launcher import SlurmLauncher

if TYPE_CHECKING:
    from submitit import Executor, Job

_POLL_SECONDS = 0.5


class Slurm:
    """The launcher of a cluster with Slurm."""

    def __init__(self, settings: SlurmLauncher, threads: int, logs: Path) -> None:
        self._threads = threads
        self._processes = settings.processes_per_run
        self.logs = logs
        self._executor = _executor(settings, logs)
        self._submitting = threading.Lock()

    def seat(self, number: int) -> Seat:
        return SlurmSeat(self)

    def submit(self, folder: Path) -> Job[Reply | None]:
        with self._submitting:
            return self._executor.submit(train_in_job, folder.resolve(), self._threads, self._processes)

    def close(self) -> None:
        """Jobs are ended by their seats."""


class SlurmSeat:
    """One job at a time."""

    def __init__(self, launcher: Slurm) -> None:
        self._launcher = launcher
        self._job: Job[Reply | None] | None = None
        self._folder: Path | None = None

    def train(self, folder: Path) -> Reply | None:
        self._folder = folder
        job = self._job = self._launcher.submit(folder)
        while not job.done():
            time.sleep(_POLL_SECONDS)
        self._job = self._folder = None
        if job.exception() is None:
            reply: Reply | None = job.result()
            return reply
        # A job that was cut off has left its last checkpoint; what it said of its end stands in its folder, if at all.
        status = RunFolder(folder).status()
        return Reply("failed", status.cause) if status.state is RunState.failed else None

    def stop(self, *, now: bool) -> None:
        if self._folder is not None:
            RunFolder(self._folder).stop_file.touch()
        if now and self._job is not None:
            self._job.cancel(check=False)

    def last_words(self) -> str:
        return f"see the logs of its jobs in {self._launcher.logs}"

    def close(self) -> None:
        self.stop(now=True)


def train_in_job(folder: Path, threads: int, processes: int) -> Reply | None:
    """What a job does."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    return take_turn(folder, processes=processes)


def _executor(settings: SlurmLauncher, logs: Path) -> Executor:
    import submitit

    if settings.submit_on not in ("slurm", "local"):
        raise ConfigError(f"launcher.submit_on = {settings.submit_on!r}; expected slurm or local")
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=settings.submit_on, **_python(settings.submit_on))
    except RuntimeError as error:
        raise ConfigError(
            f"launcher=slurm: {error}; run on a machine that has sbatch, or try it with launcher.submit_on=local"
        ) from error
    executor.update_parameters(**_parameters(settings))
    return executor


def _python(submit_on: str) -> dict[str, str]:
    """The command that starts Python in a job, as a line of a shell."""
    assigned = [f"{name}={value}" for name, value in child_environment({}).items()]
    return {f"{submit_on}_python": shlex.join(["env", *assigned, sys.executable])}


def _parameters(settings: SlurmLauncher) -> dict[str, object]:
    parameters: dict[str, object] = {
        "name": "sfpo_bench",
        "timeout_min": settings.time_minutes,
        "cpus_per_task": settings.cpus,
        "gpus_per_node": settings.gpus or None,
        "mem_gb": settings.memory_gb or None,
    }
    if settings.submit_on == "slurm":
        parameters["slurm_partition"] = settings.partition or None
        parameters["slurm_account"] = settings.account or None
        parameters["slurm_signal_delay_s"] = settings.signal_seconds
    return {key: value for key, value in parameters.items() if value is not None}
