"""Protocols of launchers and of the workers they provide."""

from __future__ import annotations

from typing import Protocol

from sfpo_bench.workers.job import Job, JobReply


class Worker(Protocol):
    """Runs one job at a time in a separate process; independent of what the job does."""

    def run(self, job: Job) -> JobReply | None:
        """Run the job, resuming from its folder, and block until it ends; return None if its process died."""

    def stop(self, *, now: bool) -> None:
        """Stop the current job after its step and a checkpoint, or kill its process if `now`; thread-safe."""

    def log_hint(self) -> str:
        """Return where to read the output of processes that died, as the end of a sentence."""

    def close(self) -> None:
        """End the process; no job may be run afterwards."""


class Launcher(Protocol):
    """Provides the workers that run jobs."""

    def worker(self, number: int) -> Worker:
        """Return the worker of slot `number`; its process starts with its first job."""

    def close(self) -> None:
        """Release all resources."""
