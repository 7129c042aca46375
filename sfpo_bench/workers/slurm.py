"""Runs jobs on a Slurm cluster, submitted with submitit.

Slurm sends a signal some time before the time limit of a Slurm job. The run then finishes its step, writes a
checkpoint and ends as `interrupted`, and the slot (`WorkerSlots`) submits a new Slurm job that resumes it. A run in
several processes is started by torchrun inside the Slurm job. With `submit_on: local`, submitit runs the same jobs as
processes on this machine.
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
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.settings.launcher import SlurmLauncher
from sfpo_bench.workers.job import Job, JobEnding, JobReply, run_job
from sfpo_bench.workers.protocol import Worker

if TYPE_CHECKING:
    from submitit import Executor
    from submitit import Job as SlurmJob

_POLL_SECONDS = 0.5


class Slurm:
    """Launcher for a Slurm cluster."""

    def __init__(self, settings: SlurmLauncher, threads: int, logs: Path) -> None:
        self._threads = threads
        self._processes = settings.processes_per_run
        self.logs = logs
        self._executor = _executor(settings, logs)
        self._submitting = threading.Lock()

    def worker(self, number: int) -> Worker:
        return SlurmWorker(self)

    def submit(self, job: Job) -> SlurmJob[JobReply | None]:
        with self._submitting:
            return self._executor.submit(
                run_submitted, Job(job.function, job.folder.resolve()), self._threads, self._processes
            )

    def close(self) -> None:
        """Do nothing: workers cancel their jobs."""


class SlurmWorker:
    """Runs each job as one or more Slurm jobs."""

    def __init__(self, launcher: Slurm) -> None:
        self._launcher = launcher
        self._submitted: SlurmJob[JobReply | None] | None = None
        self._folder: Path | None = None

    def run(self, job: Job) -> JobReply | None:
        self._folder = job.folder
        submitted = self._submitted = self._launcher.submit(job)
        while not submitted.done():
            time.sleep(_POLL_SECONDS)
        self._submitted = self._folder = None
        if submitted.exception() is None:
            reply: JobReply | None = submitted.result()
            return reply
        # A killed Slurm job leaves its last checkpoint; if the run failed, its status holds the cause.
        status = RunFolder(job.folder).status()
        return JobReply(JobEnding.failed, status.cause) if status.state is RunState.failed else None

    def stop(self, *, now: bool) -> None:
        if self._folder is not None:
            RunFolder(self._folder).stop_file.touch()
        if now and self._submitted is not None:
            self._submitted.cancel(check=False)

    def log_hint(self) -> str:
        return f"see the logs of its jobs in {self._launcher.logs}"

    def close(self) -> None:
        self.stop(now=True)


def run_submitted(job: Job, threads: int, processes: int) -> JobReply | None:
    """Run the job inside a Slurm job."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    return run_job(job, processes=processes)


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
    """Return the shell command that starts Python in a Slurm job."""
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
