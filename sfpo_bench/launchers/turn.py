"""One turn of one piece of work in the process that does it, whoever started that process.

A piece of work is a folder: that of a run, which is trained, or of a share of an evaluation, which is generated.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from pathlib import Path

from sfpo_bench.core.errors import BenchError, Interrupted, RankLost
from sfpo_bench.core.machine_faults import is_of_machine
from sfpo_bench.evaluation.share import generate_share, is_share
from sfpo_bench.launchers.protocol import Reply
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.training.run import train
from sfpo_bench.training.stop import StopRequest

# A worker whose parent was killed still finishes its step and its checkpoint before it lets go of a run.
_ORPHAN_SECONDS = 600.0


def take_turn(folder: Path, parent: int | None = None, *, processes: int = 1, waits: bool = True) -> Reply | None:
    """Work in the folder until it is finished, fails, or is asked to stop: by a signal, by its stop file, or, with a
    `parent`, by the end of that process. None when one of several `processes` died, here and in those that are left.

    `waits`: first wait for whoever has the folder's lock.
    """
    if processes > 1:
        from sfpo_bench.launchers.torchrun import take_turn_in_ranks

        return take_turn_in_ranks(folder, processes, parent)
    run = RunFolder(folder)
    work = generate_share if is_share(folder) else train
    try:
        if waits:
            run.wait_until_free(_ORPHAN_SECONDS)
        work(folder, StopRequest(parent_pid=parent, file=run.stop_file))
    except Interrupted as stopped:
        return Reply("interrupted", str(stopped))
    except RankLost as lost:
        print(f"sfpo-bench: {lost}", file=sys.stderr)
        return None
    except BenchError as error:
        return Reply(_kind(error), str(error))
    except Exception as error:
        # The boundary of a run: one that breaks in an unforeseen way must not take others along.
        cause = f"{type(error).__name__}: {error}"
        with suppress(OSError):  # The disk may be what failed: the log and the status lie there.
            traceback.print_exc()
            run.write_status(RunStatus(RunState.failed, run.status().step, run.status().steps, cause))
        return Reply(_kind(error), cause)
    return Reply("finished", "")


def _kind(error: Exception) -> str:
    return "halted" if is_of_machine(error) else "failed"
