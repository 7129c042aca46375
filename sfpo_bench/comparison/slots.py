"""Slots that train runs side by side, each with a worker process of its own that a crash or a kill replaces."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.comparison.arms import PlannedRun


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run's turn ended: `finished`, `interrupted`, `failed`, or `died` (its worker was killed, too often)."""

    run: PlannedRun
    outcome: str
    message: str


class Slots:
    """Trains `runs` in the given order, `count` at a time.

    A worker that dies is replaced and its run taken up again from its checkpoint, at most `attempts` times.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        count: int,
        threads: int,
        log: Path,
        on_outcome: Callable[[Outcome], None],
        attempts: int = 3,
    ) -> None:
        self._runs: queue.SimpleQueue[PlannedRun] = queue.SimpleQueue()
        for run in runs:
            self._runs.put(run)
        self._threads = threads
        self._log = log
        self._on_outcome = on_outcome
        self._attempts = attempts
        self._stopping = threading.Event()
        self._workers: dict[int, subprocess.Popen[str]] = {}
        self._slots = [threading.Thread(target=self._serve, args=(n,), daemon=True) for n in range(count)]

    def start(self) -> None:
        for slot in self._slots:
            slot.start()

    def running(self) -> bool:
        """True while any slot still has work."""
        return any(slot.is_alive() for slot in self._slots)

    def stop(self, *, now: bool = False) -> None:
        """Ask every worker to end after its step and a checkpoint, or kill them `now`; no further run is started."""
        self._stopping.set()
        for worker in list(self._workers.values()):
            if now:
                worker.kill()
            else:
                worker.terminate()

    def join(self) -> None:
        for slot in self._slots:
            slot.join()

    def _serve(self, number: int) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    run = self._runs.get_nowait()
                except queue.Empty:
                    break
                self._on_outcome(self._attempt(number, run))
        finally:
            worker = self._workers.pop(number, None)
            if worker is not None and worker.stdin is not None:
                worker.stdin.close()
                worker.wait()

    def _attempt(self, number: int, run: PlannedRun) -> Outcome:
        for _ in range(self._attempts):
            reply = self._ask(self._worker(number), run)
            if reply is not None:
                return Outcome(run, reply["outcome"], reply["message"])
            self._workers.pop(number).wait()
            if self._stopping.is_set():
                return Outcome(run, "interrupted", "its process was stopped")
        return Outcome(run, "died", f"its process died {self._attempts} times; see {self._log}")

    def _ask(self, worker: subprocess.Popen[str], run: PlannedRun) -> dict[str, str] | None:
        """The worker's reply for one run; None when it died."""
        assert worker.stdin is not None and worker.stdout is not None
        try:
            worker.stdin.write(json.dumps({"folder": str(run.folder)}) + "\n")
            worker.stdin.flush()
        except BrokenPipeError:
            return None
        line = worker.stdout.readline()
        reply: dict[str, str] | None = json.loads(line) if line.endswith("\n") else None
        return reply

    def _worker(self, number: int) -> subprocess.Popen[str]:
        if number not in self._workers:
            environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}
            with open(self._log, "a", encoding="utf-8") as log:
                self._workers[number] = subprocess.Popen(
                    [sys.executable, "-m", "sfpo_bench.comparison.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    text=True,
                    # A Ctrl-C at the terminal reaches the parent alone, which then asks its workers to end.
                    start_new_session=True,
                )
        return self._workers[number]
