"""Jobs: a function and the folder it is called with, and how a worker process runs one."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path

from sfpo_bench.core.errors import BenchError, Interrupted, RankLost
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.workers.machine_faults import is_of_machine

# A worker whose parent was killed finishes its step and checkpoint before it releases the file lock.
_ORPHAN_SECONDS = 600.0

Work = Callable[[Path, StopRequest], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A function, given by its import path, and the folder that it is called with.

        Job("sfpo_bench.training.run:train", Path("results/arithmetic/runs/sfpo/seed-0003"))

    The worker process calls `function(folder, stop)`. The function resumes from what the folder holds, returns when it
    is done, and raises `Interrupted` when `stop` has a reason. The folder has the status, lock and stop file of a run.
    """

    function: str
    folder: Path

    @classmethod
    def of(cls, work: Work, folder: Path) -> Job:
        """Return the job that calls `work`, a module-level function, with `folder`."""
        return cls(f"{work.__module__}:{work.__qualname__}", folder)

    def work(self) -> Work:
        """Import and return the function."""
        module, _, name = self.function.partition(":")
        found: Work = getattr(import_module(module), name)
        return found


class JobEnding(StrEnum):
    """How a job ended."""

    finished = "finished"
    interrupted = "interrupted"
    failed = "failed"
    halted = "halted"  # the machine failed, not the job
    died = "died"  # its process was killed, too often


@dataclass(frozen=True, slots=True)
class JobReply:
    """How a job ended, and why, as returned by a worker process."""

    ending: JobEnding
    message: str


def run_job(job: Job, parent: int | None = None, *, processes: int = 1, waits: bool = True) -> JobReply | None:
    """Run the job until it finishes, fails, or is stopped; return None if one of several ranks died.

    It is stopped by a signal, by its stop file or, if `parent` is given, by the exit of that process. With several
    `processes` it runs under torchrun. `waits`: first wait until no other process holds the folder's lock.
    """
    if processes > 1:
        from sfpo_bench.workers.torchrun import run_in_ranks

        return run_in_ranks(job, processes, parent)
    folder = RunFolder(job.folder)
    try:
        if waits:
            folder.wait_until_free(_ORPHAN_SECONDS)
        job.work()(job.folder, StopRequest(parent_pid=parent, file=folder.stop_file))
    except Interrupted as stopped:
        return JobReply(JobEnding.interrupted, str(stopped))
    except RankLost as lost:
        print(f"sfpo-bench: {lost}", file=sys.stderr)
        return None
    except BenchError as error:
        return JobReply(_ending(error), str(error))
    except Exception as error:
        # Boundary of a job: an unexpected error must not end the other jobs.
        cause = f"{type(error).__name__}: {error}"
        with suppress(OSError):  # the disk may have failed, which holds the log and the status
            traceback.print_exc()
            status = folder.status()
            folder.write_status(RunStatus(RunState.failed, status.step, status.steps, cause))
        return JobReply(_ending(error), cause)
    return JobReply(JobEnding.finished, "")


def _ending(error: Exception) -> JobEnding:
    return JobEnding.halted if is_of_machine(error) else JobEnding.failed
