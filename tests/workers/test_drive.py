"""The loop that keeps slots busy: every job once, none after a stop, and jobs that come while others run."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.workers.drive import drive
from sfpo_bench.workers.job import Job, JobEnding, JobReply
from sfpo_bench.workers.protocol import Worker
from sfpo_bench.workers.slots import JobOutcome, WorkerSlots


class Sleeping:
    """A launcher whose jobs last as long as their function's name says; counts how many run at once."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self._counting = threading.Lock()

    def worker(self, number: int) -> Worker:
        return self

    def run(self, job: Job) -> JobReply | None:
        with self._counting:
            self.running += 1
            self.most = max(self.most, self.running)
        end, stopped = time.monotonic() + float(job.function), False
        while time.monotonic() < end and not stopped:
            stopped = RunFolder(job.folder).stop_file.exists()
            time.sleep(0.005)
        with self._counting:
            self.running -= 1
        return JobReply(JobEnding.interrupted, "stop file") if stopped else JobReply(JobEnding.finished, "")

    def stop(self, *, now: bool) -> None:
        """Ends by the stop files that the test leaves."""

    def log_hint(self) -> str:
        return "no log"

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture(autouse=True)
def _handlers() -> object:
    """A stop leaves handlers of its own behind, which the caller's `StopRequest.listening` replaces again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def jobs(folder: Path, *seconds: float) -> list[Job]:
    made = [Job(str(each), folder / str(number)) for number, each in enumerate(seconds)]
    for job in made:
        job.folder.mkdir()
    return made


@pytest.mark.parametrize("count", (1, 2, 5))
def test_every_job_is_run_once_and_never_more_at_a_time_than_there_are_slots(count: int, tmp_path: Path) -> None:
    launcher, ended = Sleeping(), list[JobOutcome]()
    pending = jobs(tmp_path, 0.06, 0.02, 0.02, 0.02, 0.02)
    drive(WorkerSlots(launcher, count), list(pending), ended.append, lambda: False)
    assert sorted(outcome.folder for outcome in ended) == [job.folder for job in pending]
    assert launcher.most == count


def test_jobs_may_come_while_others_run_and_while_no_slot_is_busy(tmp_path: Path) -> None:
    launcher, ended, to_come = Sleeping(), list[JobOutcome](), jobs(tmp_path, 0.02, 0.02, 0.02)
    slots = WorkerSlots(launcher, 2)

    def each_pass() -> bool:
        if to_come and not slots.busy:  # one after the other, though there is room for two
            slots.start(to_come.pop(0))
        return bool(to_come)

    drive(slots, [], ended.append, lambda: False, each_pass=each_pass)
    assert [outcome.folder.name for outcome in ended] == ["0", "1", "2"] and launcher.most == 1


def test_after_a_stop_what_runs_ends_and_nothing_is_started(tmp_path: Path) -> None:
    """`must_stop` turns true while the second of three jobs runs."""
    ended, said, pending = list[JobOutcome](), list[str](), jobs(tmp_path, 0.02, 60.0, 60.0)

    def on_stop() -> None:
        said.append("stopping")
        RunFolder(tmp_path / "1").stop_file.touch()

    drive(WorkerSlots(Sleeping(), 1), pending, ended.append, lambda: len(pending) == 1, on_stop=on_stop)
    assert [(outcome.folder.name, outcome.ending) for outcome in ended] == [("0", "finished"), ("1", "interrupted")]
    assert said == ["stopping"] and [job.folder.name for job in pending] == ["2"]
