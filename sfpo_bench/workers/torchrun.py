"""Runs a job in several processes with torchrun, on the machine of the worker.

    worker process, Slurm job or actor -> torchrun (python -m torch.distributed.run) -> ranks (`workers.rank`)

Rank r writes its reply to `reply-r.json` in the job's folder. Only rank 0 takes the folder's lock.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sfpo_bench.core.child_processes import child_environment
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.workers.job import Job, JobEnding, JobReply

_POLL_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


def command(job: Job, processes: int) -> list[str]:
    """Return the command line that runs the job in `processes` ranks on this machine."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--max-restarts=0"]
    return [sys.executable, "-m", *torchrun, "-m", "sfpo_bench.workers.rank", job.function, str(job.folder)]


def run_in_ranks(job: Job, processes: int, parent: int | None) -> JobReply | None:
    """Run the job; return None if a rank died. A stop request reaches all ranks through the folder's stop file."""
    for old in job.folder.glob("reply-*.json"):
        old.unlink()
    stop, stop_file, mine = StopRequest(parent_pid=parent), RunFolder(job.folder).stop_file, False
    line, environ = command(job, processes), child_environment(os.environ)
    with stop.listening(), subprocess.Popen(line, env=environ, preexec_fn=_end_with_parent) as ranks:
        while ranks.poll() is None:
            if stop.reason and not stop_file.exists():
                mine = True
                stop_file.touch()
            time.sleep(_POLL_SECONDS)
    if mine:  # remove it: a remaining stop file would mean that the job must not be resumed
        stop_file.unlink(missing_ok=True)
    return _reply(job.folder)


def write_reply(folder: Path, rank: int, reply: JobReply) -> None:
    """Write a rank's reply to the file that `run_in_ranks` reads."""
    content = {"ending": reply.ending, "message": reply.message}
    write_atomically(folder / f"reply-{rank}.json", json.dumps(content))


def _reply(folder: Path) -> JobReply | None:
    """Return the reply of a rank that failed or was halted, since torchrun then kills the others; else rank 0's."""
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("reply-*.json"))}
    replies = [JobReply(JobEnding(one["ending"]), one["message"]) for one in found.values()]
    failed = [reply for reply in replies if reply.ending in (JobEnding.halted, JobEnding.failed)]
    if failed:
        return failed[0]
    return replies[0] if "reply-0.json" in found else None


def _end_with_parent() -> None:
    """Make torchrun, and thereby its ranks, end when its parent is killed; runs in torchrun's process before exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
