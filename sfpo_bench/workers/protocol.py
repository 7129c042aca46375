"""What a launcher offers: workers, each of which does one job at a time."""

from __future__ import annotations

from typing import Protocol

from sfpo_bench.workers.job import Job, JobReply


class Worker(Protocol):
    """Does one job at a time, in a process of its own; knows nothing of what the job is."""

    def run(self, job: Job) -> JobReply | None:
        """Do the job, continuing what is in its folder, and wait; None when its process died."""

    def stop(self, *, now: bool) -> None:
        """Have the present job end after its step and a checkpoint, or end its process `now`; from any thread."""

    def log_hint(self) -> str:
        """Where the output of processes that died can be read, as the end of a sentence."""

    def close(self) -> None:
        """End the process; no job is run here any more."""


class Launcher(Protocol):
    """Where jobs are run."""

    def worker(self, number: int) -> Worker:
        """The worker of slot `number`; no process is started before its first job."""

    def close(self) -> None:
        """Release everything."""
