"""What a run writes about itself as it goes: journal, stored samples, status, who worked on it. One rank writes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sfpo_bench.core.types import EvaluationRecord, EventRecord, JournalRecord, SampleRecord
from sfpo_bench.grading import GradingFailures, failures_so_far
from sfpo_bench.results.journal import JournalWriter, cut, read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus

Observer = Callable[[JournalRecord], None]


@dataclass(frozen=True, slots=True)
class Covered:
    """How much of journal and samples a checkpoint covers, bytes."""

    journal_bytes: int = 0
    samples_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """What the journal says of a run's past. `total_seconds` includes work that a kill undid: it was spent all the
    same. `evaluated` is the last evaluated step, -1 for none."""

    total_seconds: float = 0.0
    evaluated: int = -1
    failures: GradingFailures = field(default_factory=GradingFailures)


class Logbook(Protocol):
    """What the trainer tells about a run."""

    def opened(self) -> AbstractContextManager[None]:
        """Hold the run's folder: nobody else writes there; raises `RunLocked` when somebody does."""
        ...

    def take_up(self, covered: Covered, first_step: int) -> Past:
        """Drop what no checkpoint covers and say what is left; work goes on with `first_step`."""
        ...

    def write(self, records: Sequence[JournalRecord]) -> None:
        """Append to the journal."""
        ...

    def write_samples(self, samples: Sequence[SampleRecord]) -> None:
        """Append to the stored responses."""
        ...

    def covered(self) -> Covered:
        """Make what was written durable; how much that is."""
        ...

    def status(self, state: RunState, cause: str = "", step: int | None = None) -> None:
        """Where the run stands; without `step` it is the step it stood at."""
        ...


class FolderLogbook:
    """Writes into the run's folder. `observe` is told every journal record as it is written."""

    def __init__(self, folder: RunFolder, steps: int, observe: Observer) -> None:
        self._folder = folder
        self._steps = steps
        self._observe = observe

    @contextmanager
    def opened(self) -> Iterator[None]:
        self._open: list[JournalWriter] = []
        with self._folder.locked():
            try:
                yield
            finally:
                for writer in self._open:
                    writer.close()

    def take_up(self, covered: Covered, first_step: int) -> Past:
        folder = self._folder
        spent = [r.costs.total_seconds for r in read_journal(folder.journal) if not isinstance(r, EventRecord)]
        cut(folder.journal, covered.journal_bytes)
        cut(folder.samples, covered.samples_bytes)
        kept = list(read_journal(folder.journal))
        with open(folder.sessions, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"time_unix_s": time.time(), "pid": os.getpid(), "first_step": first_step}) + "\n")
        self.status(RunState.running, step=first_step - 1)
        self._journal, self._samples = self._open = [JournalWriter(folder.journal), JournalWriter(folder.samples)]
        return Past(
            total_seconds=max(spent, default=0.0),
            evaluated=max((r.step for r in kept if isinstance(r, EvaluationRecord)), default=-1),
            failures=failures_so_far(kept),
        )

    def write(self, records: Sequence[JournalRecord]) -> None:
        self._journal.append(records)
        for record in records:
            self._observe(record)

    def write_samples(self, samples: Sequence[SampleRecord]) -> None:
        self._samples.append(samples)

    def covered(self) -> Covered:
        return Covered(self._journal.length(), self._samples.length())

    def status(self, state: RunState, cause: str = "", step: int | None = None) -> None:
        done = self._folder.status().step if step is None else step
        self._folder.write_status(RunStatus(state, done, self._steps, cause))


class NoLogbook:
    """That of every rank but the first: it tells nothing."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        yield

    def take_up(self, covered: Covered, first_step: int) -> Past:
        return Past()

    def write(self, records: Sequence[JournalRecord]) -> None:
        """Rank 0 does."""

    def write_samples(self, samples: Sequence[SampleRecord]) -> None:
        """Rank 0 does."""

    def covered(self) -> Covered:
        return Covered()

    def status(self, state: RunState, cause: str = "", step: int | None = None) -> None:
        """Rank 0 does."""
