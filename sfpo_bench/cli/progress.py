"""What a person sees while things run: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sfpo_bench.types import EvaluationRecord, JournalRecord, Split, StepRecord

_PLAIN_SECONDS = 5.0


class RunProgress:
    """Follows one run by its journal records: step, accuracy, reward, entropy, responses per second, time left."""

    def __init__(self, name: str, steps: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._steps = steps
        self._accuracy = ""
        self._last_line = 0.0
        self._previous = (0, 0.0)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=steps, numbers="")

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()

    def observe(self, record: JournalRecord) -> None:
        """Take in one journal record."""
        if isinstance(record, EvaluationRecord) and record.split is Split.report and record.mode == "sampled":
            self._accuracy = f"accuracy {record.accuracy:.3f} (n = {record.n}, step {record.step})"
            if not self._console.is_terminal:
                self._say(f"step {record.step}/{self._steps}  {self._accuracy}")
        elif isinstance(record, StepRecord):
            self._step(record)
        elif not isinstance(record, EvaluationRecord):
            self._say(f"step {record.step}: {record.event.replace('_', ' ')}")

    def _step(self, record: StepRecord) -> None:
        responses, seconds = record.costs.responses, record.costs.train_seconds
        rate = (responses - self._previous[0]) / max(seconds - self._previous[1], 1e-9)
        self._previous = (responses, seconds)
        numbers = (
            f"reward {record.metrics['reward_mean']:.3f}  entropy {record.metrics['entropy']:.3f}  "
            f"{rate:.0f} responses/s"
        )
        self._bar.update(self._task, completed=record.step, numbers=f"{self._accuracy}  {numbers}")
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last_line > _PLAIN_SECONDS or record.step == self._steps):
            self._last_line = now
            self._say(f"step {record.step}/{self._steps}  {numbers}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)


def say(text: str) -> None:
    """One plain line on standard output."""
    print(text, file=sys.stdout, flush=True)
