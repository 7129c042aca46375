"""Slots that train runs side by side: when one ends, the next may start. Whose turn it is decides the caller."""

from __future__ import annotations

import queue
import signal
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.errors import BenchError
from sfpo_bench.core.machine_faults import is_of_machine
from sfpo_bench.launchers.protocol import Launcher, Reply, Seat
from sfpo_bench.results.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run's turn ended: as in `Reply`, or `died`: its process was killed, too often."""

    folder: Path
    outcome: str
    message: str


class Slots:
    """`count` seats of a launcher, each with a thread that waits for its run.

    A process that dies is replaced and its run taken up again from its checkpoint, at most `attempts` times. A turn
    that ends unasked, by a job's time limit, is followed by the next.
    """

    def __init__(self, launcher: Launcher, count: int, attempts: int = 3) -> None:
        self._launcher = launcher
        self._seats = [launcher.seat(number) for number in range(count)]
        self._idle = deque(range(count))
        self._attempts = attempts
        self._stopping = threading.Event()
        self._ended: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()
        self._turns: dict[int, Path] = {}

    @property
    def free(self) -> int:
        """Seats without a run; none once they were told to stop."""
        return 0 if self._stopping.is_set() else len(self._idle)

    @property
    def busy(self) -> int:
        """Seats with a run."""
        return len(self._turns)

    def start(self, folder: Path) -> None:
        """Train a prepared run on a free seat."""
        number = self._idle.popleft()
        self._turns[number] = folder
        RunFolder(folder).stop_file.unlink(missing_ok=True)
        threading.Thread(target=self._turn, args=(number, folder), daemon=True).start()

    def ended(self, seconds: float) -> Iterator[Outcome]:
        """The turns that ended since the last call; waits at most `seconds` for the first."""
        try:
            number, outcome = self._ended.get(timeout=seconds)
            while True:
                del self._turns[number]
                self._idle.append(number)
                yield outcome
                number, outcome = self._ended.get_nowait()
        except queue.Empty:
            return

    def end(self, folder: Path) -> None:
        """Ask one run to end after its step and a checkpoint; its seat takes the next."""
        RunFolder(folder).stop_file.touch()

    def stop(self, *, now: bool = False) -> None:
        """Ask every run to end after its step and a checkpoint, or end their processes `now`; none is started again."""
        self._stopping.set()
        for number in list(self._turns):
            self._seats[number].stop(now=now)

    def close(self) -> None:
        """Give the seats back; runs that still train are ended first."""
        if self._turns:
            self.stop(now=True)
            while self._turns:
                list(self.ended(1.0))
        for seat in self._seats:
            seat.close()
        self._launcher.close()

    def _turn(self, number: int, folder: Path) -> None:
        try:
            outcome = self._attempt(self._seats[number], folder)
        except BenchError as error:
            outcome = Outcome(folder, "failed", str(error))
        except Exception as error:  # The boundary of a scheduler: its failure is this run's, and no other's.
            kind = "halted" if is_of_machine(error) else "failed"
            outcome = Outcome(folder, kind, f"{type(error).__name__}: {error}")
        self._ended.put((number, outcome))

    def _attempt(self, seat: Seat, folder: Path) -> Outcome:
        deaths, step = 0, -1
        while deaths < self._attempts:
            reply: Reply | None = seat.train(folder)
            if reply is None and self._stopping.is_set():
                return Outcome(folder, "interrupted", "its process was stopped")
            if reply is None:
                deaths += 1
            elif reply.outcome != "interrupted" or self._asked(folder):
                return Outcome(folder, reply.outcome, reply.message)
            else:
                # Its place ended the turn, as a job's time limit does: another one, if this came any further.
                before, step = step, RunFolder(folder).status().step
                if step <= before:
                    return Outcome(folder, "failed", f"turns end before a step is done ({reply.message}); allow more")
        return Outcome(folder, "died", f"its process died {self._attempts} times; {seat.last_words()}")

    def _asked(self, folder: Path) -> bool:
        return self._stopping.is_set() or RunFolder(folder).stop_file.exists()


def stop_on_signal(slots: Slots) -> None:
    """Ask every run to end; the next Ctrl-C or SIGTERM ends the workers at once, and their last checkpoints hold."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: slots.stop(now=True))
    slots.stop()
