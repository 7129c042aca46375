"""Writes a run's journal, stored samples, status and process log; only rank 0 writes."""

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
from sfpo_bench.results.run_tables import write_curves_table, write_samples_table

Observer = Callable[[JournalRecord], None]


@dataclass(frozen=True, slots=True)
class Covered:
    """The lengths of journal and samples that a checkpoint covers, in bytes."""

    journal_bytes: int = 0
    samples_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """What the journal records of a run so far; `total_seconds` includes work that a kill undid."""

    total_seconds: float = 0.0
    evaluations: tuple[EvaluationRecord, ...] = ()
    failures: GradingFailures = field(default_factory=GradingFailures)


class Logbook(Protocol):
    """The writer of a run's records."""

    def opened(self) -> AbstractContextManager[None]:
        """Hold the file lock of the run's folder; raises `RunLocked` when another process holds it."""
        ...

    def take_up(self, covered: Covered, first_step: int) -> Past:
        """Truncate the records to a checkpoint's and return what is left; training continues at `first_step`."""
        ...

    def write(self, records: Sequence[JournalRecord]) -> None:
        """Append to the journal."""
        ...

    def write_samples(self, samples: Sequence[SampleRecord]) -> None:
        """Append to the stored responses."""
        ...

    def covered(self) -> Covered:
        """Sync what was written and return its length."""
        ...

    def status(self, state: RunState, cause: str = "", step: int | None = None, *, at_target: bool = False) -> None:
        """Write the status of the run, and before `finished` its tables; without `step` the last step is kept.

        `at_target` is True when the stop rule ended the run.
        """
        ...


class FolderLogbook:
    """Writes into the run's folder and calls `observe` with every journal record."""

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
            evaluations=tuple(record for record in kept if isinstance(record, EvaluationRecord)),
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

    def status(self, state: RunState, cause: str = "", step: int | None = None, *, at_target: bool = False) -> None:
        if state is RunState.finished:
            # Whoever finds a run finished finds its tables too: a delivery, a report, the same command again.
            write_curves_table(self._folder)
            write_samples_table(self._folder)
        done = self._folder.status().step if step is None else step
        self._folder.write_status(RunStatus(state, done, self._steps, cause, at_target))


class NoLogbook:
    """The logbook of every rank but the first: it writes nothing."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        yield

    def take_up(self, covered: Covered, first_step: int) -> Past:
        return Past()

    def write(self, records: Sequence[JournalRecord]) -> None:
        """Do nothing; rank 0 writes."""

    def write_samples(self, samples: Sequence[SampleRecord]) -> None:
        """Do nothing; rank 0 writes."""

    def covered(self) -> Covered:
        return Covered()

    def status(self, state: RunState, cause: str = "", step: int | None = None, *, at_target: bool = False) -> None:
        """Do nothing; rank 0 writes."""
