"""The loop that keeps slots busy, for everything that runs jobs side by side."""

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
    """Run the jobs of `pending` in their order; returns when every slot is free and no job is to follow.

    `each_pass` is called some times a second, before jobs are started. It may start jobs itself, and then returns True
    while some may follow that are not in `pending`. Once `must_stop()` is true, `on_stop` is called, the jobs end after
    their step and a checkpoint, and none is started any more.
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
    """Have every job end; the next Ctrl-C or SIGTERM ends the workers at once, and their last checkpoints hold."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: slots.stop(now=True))
    slots.stop()
