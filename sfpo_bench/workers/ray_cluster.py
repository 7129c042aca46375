"""Runs jobs on a Ray cluster: one actor per slot, placed by Ray where the requested cores and GPUs are free."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings.launcher import RayLauncher
from sfpo_bench.workers.job import Job, JobEnding, JobReply, run_job
from sfpo_bench.workers.protocol import Worker


class JobActor:
    """Runs jobs inside a Ray actor; arguments and results are strings, which all Python versions can exchange."""

    def __init__(self, threads: int, processes: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._processes = processes

    def run(self, function: str, folder: str) -> tuple[str, str] | None:
        """Run a job; return how it ended and why, or None if one of its processes died."""
        reply = run_job(Job(function, Path(folder)), processes=self._processes)
        return (reply.ending.value, reply.message) if reply is not None else None


class RayCluster:
    """Launcher for a Ray cluster: an existing one, or a local one that is shut down on close."""

    def __init__(self, settings: RayLauncher, threads: int) -> None:
        self._settings = settings
        self._threads = threads
        self._ray = _connected(settings)

    def worker(self, number: int) -> Worker:
        return RayWorker(self)

    def actor(self) -> Any:
        remote = self._ray.remote(num_cpus=self._settings.cpus, num_gpus=self._settings.gpus)(JobActor)
        return remote.remote(self._threads, self._settings.processes_per_run)

    def wait(self, reference: Any) -> JobReply | None:
        """Return the reply to a call, or None if its actor died."""
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayActorError:
            return None
        return JobReply(JobEnding(found[0]), found[1]) if found is not None else None

    def kill(self, actor: Any) -> None:
        self._ray.kill(actor)

    def close(self) -> None:
        self._ray.shutdown()


class RayWorker:
    """Runs jobs in one actor, which is replaced if it died."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster
        self._actor: Any = None
        self._folder: Path | None = None

    def run(self, job: Job) -> JobReply | None:
        self._folder = job.folder
        if self._actor is None:
            self._actor = self._cluster.actor()
        reply = self._cluster.wait(self._actor.run.remote(job.function, str(job.folder.resolve())))
        self._folder = None
        if reply is None:
            self._actor = None
        return reply

    def stop(self, *, now: bool) -> None:
        actor = self._actor
        if self._folder is not None:
            RunFolder(self._folder).stop_file.touch()
        if now and actor is not None:
            self._cluster.kill(actor)

    def log_hint(self) -> str:
        return "see what Ray has logged of its actors (`ray logs`)"

    def close(self) -> None:
        actor, self._actor = self._actor, None
        if actor is not None:
            self._cluster.kill(actor)


def _connected(settings: RayLauncher) -> Any:
    import ray

    try:
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        ray.init(address=settings.address or None, **quiet)
    except ConnectionError as error:
        raise ConfigError(
            f"launcher.address = {settings.address!r} does not answer: {error}; start the cluster"
        ) from error
    return ray
