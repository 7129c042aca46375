"""Progress display of a training run, and printing for the verbs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from sfpo_bench.core.output_names import is_written_through
from sfpo_bench.core.progress import Board
from sfpo_bench.core.types import EvaluationRecord, JournalRecord, Split, StepRecord


class RunProgress(Board):
    """Shows a run's progress from its journal: step, accuracy, reward, entropy, responses per second, time left."""

    def __init__(self, name: str, steps: int, console: Console | None = None) -> None:
        super().__init__(name, console)
        self._steps = steps
        self._accuracy = ""
        self._has_begun = False
        self._previous = (0, 0.0)

    def observe(self, record: JournalRecord) -> None:
        """Update the display with one journal record."""
        if isinstance(record, EvaluationRecord) and record.split is Split.report and record.mode == "sampled":
            self._accuracy = f"accuracy {record.accuracy:.3f} (n = {record.n}, step {record.step})"
            if not self.is_terminal:
                self.say(f"step {record.step}/{self._steps}  {self._accuracy}")
        elif isinstance(record, StepRecord):
            self._step(record)
        elif not isinstance(record, EvaluationRecord):
            self.say(f"step {record.step}: {record.event.replace('_', ' ')}")

    def _step(self, record: StepRecord) -> None:
        responses, seconds = record.costs.responses, record.costs.train_seconds
        rate = (responses - self._previous[0]) / max(seconds - self._previous[1], 1e-9)
        self._previous = (responses, seconds)
        numbers = (
            f"step {record.step}/{self._steps}  reward {record.metrics['reward_mean']:.3f}  "
            f"entropy {record.metrics['entropy']:.3f}  {rate:.0f} responses/s"
        )
        share, words = record.step / self._steps, "  ".join(part for part in (numbers, self._accuracy) if part)
        if self._has_begun:
            self.update(share, words)
        else:  # Start the clock at the first step: excludes model loading and steps before a resume.
            self._has_begun = True
            self.begin(share, words)
        if not self.is_terminal and record.step == self._steps:
            self.say(numbers)


def say(text: str) -> None:
    """Print one line to standard output."""
    print(text, file=sys.stdout, flush=True)


def say_beside(output: Path, text: str) -> None:
    """Print to standard output, or to standard error if `output` is standard output, which must stay parseable."""
    print(text, file=sys.stderr if _is_stdout(output) else sys.stdout, flush=True)


def _is_stdout(path: Path) -> bool:
    try:
        return is_written_through(path) and os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # Standard output may be closed or have no file descriptor.
        return False
