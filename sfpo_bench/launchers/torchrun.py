"""A turn of a run in several processes, which torchrun starts on the machine that has the turn.

    seat -> worker, job or actor -> torchrun (python -m torch.distributed.run) -> ranks (`launchers.rank`)

Rank r leaves its reply in `reply-r.json` of the run's folder. The run's lock is held by whoever writes there, rank 0;
leases of a sweep are renewed by its parent and know of no rank.
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
from sfpo_bench.launchers.protocol import Reply
from sfpo_bench.results.run_folder import RunFolder, write_atomically
from sfpo_bench.training.stop import StopRequest

_POLL_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


def command(folder: Path, processes: int) -> list[str]:
    """The command line that trains the run in `folder` in `processes` processes of this machine."""
    started = ["--standalone", f"--nproc-per-node={processes}", "--max-restarts=0"]
    return [sys.executable, "-m", "torch.distributed.run", *started, "-m", "sfpo_bench.launchers.rank", str(folder)]


def take_turn_in_ranks(folder: Path, processes: int, parent: int | None) -> Reply | None:
    """One turn; None when a rank died. A request to stop reaches all ranks by the run's stop file."""
    for old in folder.glob("reply-*.json"):
        old.unlink()
    stop, stop_file, mine = StopRequest(parent_pid=parent), RunFolder(folder).stop_file, False
    asked, environ = command(folder, processes), child_environment(os.environ)
    with stop.listening(), subprocess.Popen(asked, env=environ, preexec_fn=_end_with_parent) as ranks:
        while ranks.poll() is None:
            if stop.reason and not stop_file.exists():
                mine = True
                stop_file.touch()
            time.sleep(_POLL_SECONDS)
    if mine:  # It asked these processes alone; one that is there after a turn says that the run was asked to end.
        stop_file.unlink(missing_ok=True)
    return _reply(folder)


def write_reply(folder: Path, rank: int, reply: Reply) -> None:
    """Leave what a rank has to say of its turn."""
    content = {"outcome": reply.outcome, "message": reply.message}
    write_atomically(folder / f"reply-{rank}.json", json.dumps(content))


def _reply(folder: Path) -> Reply | None:
    """That of a rank that failed or was halted, for the others were then ended; else that of rank 0."""
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("reply-*.json"))}
    replies = [Reply(one["outcome"], one["message"]) for one in found.values()]
    failed = [reply for reply in replies if reply.outcome in ("halted", "failed")]
    if failed:
        return failed[0]
    return replies[0] if "reply-0.json" in found else None


def _end_with_parent() -> None:
    """Called in torchrun's process: it ends, and its ranks with it, when the process that has the turn is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
