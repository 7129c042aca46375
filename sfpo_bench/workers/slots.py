"""Slots that run jobs in parallel. The caller decides which job starts next."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.errors import BenchError
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.workers.job import Job, JobEnding, JobReply
from sfpo_bench.workers.machine_faults import is_of_machine
from sfpo_bench.workers.protocol import Launcher, Worker


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The folder of a job, how it ended, and why."""

    folder: Path
    ending: JobEnding
    message: str


class WorkerSlots:
    """`count` workers of a launcher, each with a thread that waits for its job.

    If a worker process dies, its job is resumed from its checkpoint in a new process, at most `attempts` times. A job
    that was interrupted from outside, for example by a scheduler's time limit, is resumed likewise.
    """

    def __init__(self, launcher: Launcher, count: int, attempts: int = 3) -> None:
        self._launcher = launcher
        self._workers = [launcher.worker(number) for number in range(count)]
        self._idle = deque(range(count))
        self._attempts = attempts
        self._stopping = threading.Event()
        self._ended: queue.SimpleQueue[tuple[int, JobOutcome]] = queue.SimpleQueue()
        self._jobs: dict[int, Job] = {}

    @property
    def free(self) -> int:
        """Slots without a job; none after `stop`."""
        return 0 if self._stopping.is_set() else len(self._idle)

    @property
    def busy(self) -> int:
        """Slots with a job."""
        return len(self._jobs)

    @property
    def is_stopping(self) -> bool:
        """True after `stop`."""
        return self._stopping.is_set()

    def start(self, job: Job) -> None:
        """Start a job in a free slot."""
        number = self._idle.popleft()
        self._jobs[number] = job
        RunFolder(job.folder).stop_file.unlink(missing_ok=True)
        threading.Thread(target=self._run, args=(number, job), daemon=True).start()

    def ended(self, seconds: float) -> Iterator[JobOutcome]:
        """Yield the jobs that ended since the last call; wait at most `seconds` for the first one."""
        try:
            number, outcome = self._ended.get(timeout=seconds)
            while True:
                del self._jobs[number]
                self._idle.append(number)
                yield outcome
                number, outcome = self._ended.get_nowait()
        except queue.Empty:
            return

    def end(self, folder: Path) -> None:
        """Stop one job after its step and a checkpoint; its slot is then free."""
        RunFolder(folder).stop_file.touch()

    def stop(self, *, now: bool = False) -> None:
        """Stop every job after its step and a checkpoint, or kill the processes if `now`; no job is restarted."""
        self._stopping.set()
        for number in list(self._jobs):
            self._workers[number].stop(now=now)

    def close(self) -> None:
        """Release the workers; kill jobs that are still running."""
        if self._jobs:
            self.stop(now=True)
            while self._jobs:
                list(self.ended(1.0))
        for worker in self._workers:
            worker.close()
        self._launcher.close()

    def _run(self, number: int, job: Job) -> None:
        try:
            outcome = self._attempt(self._workers[number], job)
        except BenchError as error:
            outcome = JobOutcome(job.folder, JobEnding.failed, str(error))
        except Exception as error:  # Boundary of a launcher: its error fails only this job.
            ending = JobEnding.halted if is_of_machine(error) else JobEnding.failed
            outcome = JobOutcome(job.folder, ending, f"{type(error).__name__}: {error}")
        self._ended.put((number, outcome))

    def _attempt(self, worker: Worker, job: Job) -> JobOutcome:
        deaths, step, folder = 0, -1, job.folder
        while deaths < self._attempts:
            reply: JobReply | None = worker.run(job)
            if reply is None and self._stopping.is_set():
                return JobOutcome(folder, JobEnding.interrupted, "its process was stopped")
            if reply is None:
                deaths += 1
            elif reply.ending != JobEnding.interrupted or self._is_to_end(folder):
                return JobOutcome(folder, reply.ending, reply.message)
            else:
                # Interrupted from outside, for example by a scheduler's time limit: resume unless it made no progress.
                before, step = step, RunFolder(folder).status().step
                if step <= before:
                    limit = f"its process is stopped before a step is done ({reply.message}); allow more time"
                    return JobOutcome(folder, JobEnding.failed, limit)
        return JobOutcome(folder, JobEnding.died, f"its process died {self._attempts} times; {worker.log_hint()}")

    def _is_to_end(self, folder: Path) -> bool:
        return self._stopping.is_set() or RunFolder(folder).stop_file.exists()
