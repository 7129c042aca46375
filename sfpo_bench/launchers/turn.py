"""One turn of one run in the process that trains it, whoever started that process."""

from __future__ import annotations

import traceback
from pathlib import Path

from sfpo_bench.errors import BenchError, Interrupted
from sfpo_bench.launchers.protocol import Reply
from sfpo_bench.run import train
from sfpo_bench.tracking.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.training.stop import StopRequest

# A worker whose parent was killed still finishes its step and its checkpoint before it lets go of a run.
_ORPHAN_SECONDS = 600.0


def take_turn(folder: Path, parent: int | None = None) -> Reply:
    """Train the run until it is finished, fails, or is asked to stop: by a signal, by its stop file, or, with a
    `parent`, by the end of that process."""
    run = RunFolder(folder)
    try:
        run.wait_until_free(_ORPHAN_SECONDS)
        train(folder, StopRequest(parent_pid=parent, file=run.stop_file))
    except Interrupted as stopped:
        return Reply("interrupted", str(stopped))
    except BenchError as error:
        return Reply("failed", str(error))
    except (
        Exception
    ) as error:  # The boundary of a run: one that breaks in an unforeseen way must not take others along.
        traceback.print_exc()
        cause = f"{type(error).__name__}: {error}"
        run.write_status(RunStatus(RunState.failed, run.status().step, run.status().steps, cause))
        return Reply("failed", cause)
    return Reply("finished", "")
