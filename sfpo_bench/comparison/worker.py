"""A worker process: trains one run after another, as told on standard input, in one line of JSON each.

    parent -> worker   {"folder": "results/arithmetic/runs/sfpo/seed-0003"}
    worker -> parent   {"folder": ..., "outcome": "finished" | "interrupted" | "failed", "message": ...}

Standard output belongs to this exchange; whatever a library prints there goes to standard error, which the parent
keeps in a file. The worker never talks to the tracking store.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from sfpo_bench.errors import BenchError, Interrupted
from sfpo_bench.run import train
from sfpo_bench.tracking.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.training.stop import StopRequest

# A worker whose parent was killed still finishes its step and its checkpoint before it lets go of a run.
_ORPHAN_SECONDS = 600.0


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    parent = os.getppid()
    for line in sys.stdin:
        folder = str(json.loads(line)["folder"])
        outcome, message = _train(Path(folder), parent)
        print(json.dumps({"folder": folder, "outcome": outcome, "message": message}), file=replies, flush=True)


def _train(folder: Path, parent: int) -> tuple[str, str]:
    try:
        RunFolder(folder).wait_until_free(_ORPHAN_SECONDS)
        train(folder, StopRequest(parent_pid=parent))
    except Interrupted as stopped:
        return "interrupted", str(stopped)
    except BenchError as error:
        return "failed", str(error)
    except (
        Exception
    ) as error:  # The boundary of a run: one that breaks in an unforeseen way must not take others along.
        traceback.print_exc()
        cause = f"{type(error).__name__}: {error}"
        run = RunFolder(folder)
        run.write_status(RunStatus(RunState.failed, run.status().step, run.status().steps, cause))
        return "failed", cause
    return "finished", ""


if __name__ == "__main__":
    main()
