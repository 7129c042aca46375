"""The scheduling loop shared by everything that runs jobs in parallel slots."""

from __future__ import annotations

import signal
from collections.abc import Callable

from sfpo_bench.workers.job import Job
from sfpo_bench.workers.slots import JobOutcome, WorkerSlots

STOPPING = "stopping: every run finishes its step and writes a checkpoint; once more to stop at once"
_POLL_SECONDS = 0.1


def drive(
    slots: WorkerSlots,
    pending: list[Job],
    on_end: Callable[[JobOutcome], None],
    must_stop: Callable[[], bool],
    *,
    each_pass: Callable[[], bool | None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Run the jobs of `pending` in order; return when all slots are free and no job is left.

    `each_pass` is called several times per second, before jobs are started. It may start jobs itself, and returns True
    while more may follow that are not in `pending`. Once `must_stop()` is true, `on_stop` is called, running jobs stop
    after their step and a checkpoint, and no further job is started.
    """
    while True:
        follow = each_pass()
        while pending and slots.free:
            slots.start(pending.pop(0))
        if not (follow or slots.busy):
            return
        for outcome in slots.ended(_POLL_SECONDS):
            on_end(outcome)
        if must_stop() and not slots.is_stopping:
            on_stop()
            _stop_on_signal(slots)


def _stop_on_signal(slots: WorkerSlots) -> None:
    """Stop every job after its step; the next Ctrl-C or SIGTERM kills the workers, which keep their last checkpoint."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: slots.stop(now=True))
    slots.stop()
