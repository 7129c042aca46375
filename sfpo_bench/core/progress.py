"""Progress of long work: a bar with the remaining time on a terminal, elsewhere one line per minute."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

_LINE_SECONDS = 60.0
_REFRESH_SECONDS = 1.0

# The completed share of the work, and a description of it.
State = tuple[float, str]


class Board:
    """Shows the progress of one piece of work while it is entered; the caller reports the completed share.

    A background thread prints the lines, so that they appear also while the caller waits. The remaining time is
    estimated from the speed since `begin`, without work done before.
    """

    def __init__(
        self,
        name: str,
        console: Console | None = None,
        *,
        line_seconds: float = _LINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._console = console or Console(stderr=True)
        self._line_seconds = line_seconds
        self._clock = clock
        self._words = ""
        self._followed: Callable[[], State] | None = None
        self._refreshed_at = -math.inf
        self._began_at = self._changed_at = clock()
        self._began_with = self._share = 0.0
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._write_lines, daemon=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _BoardLine(self),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=1.0)

    @property
    def is_terminal(self) -> bool:
        return self._console.is_terminal

    def __enter__(self) -> Self:
        self._bar.start()
        if not self.is_terminal:
            self._lines.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._bar.stop()
        if self._lines.is_alive():
            self._lines.join()

    def begin(self, share: float, words: str = "") -> None:
        """Start the work, with this share already completed."""
        self._began_at = self._changed_at = self._clock()
        self._began_with = self._share = share
        self._show(words)

    def update(self, share: float, words: str) -> None:
        """Set the completed share and its description."""
        if share != self._share:
            self._share, self._changed_at = share, self._clock()
        self._show(words)

    def follow(self, state: Callable[[], State]) -> None:
        """Start the work; `refresh` then shows what `state` returns."""
        self._followed, self._refreshed_at = state, self._clock()
        self.begin(*state())

    def refresh(self) -> None:
        """Show the followed state, at most once per second, since reading it may open many files."""
        if self._followed is not None and self._clock() - self._refreshed_at >= _REFRESH_SECONDS:
            self._refreshed_at = self._clock()
            self.update(*self._followed())

    def line(self) -> str:
        """The description, elapsed time and remaining time in one line, without the name."""
        now = self._clock()
        parts = [self._words, f"{duration_text(now - self._began_at)} so far", self._left_text(now)]
        still = now - self._changed_at
        if self._share < 1 and still >= 2 * self._line_seconds:
            parts.append(f"no change for {duration_text(still)}")
        return ", ".join(part for part in parts if part)

    def say(self, text: str) -> None:
        """Print a separate line of text."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _left_text(self, now: float) -> str:
        done = self._share - self._began_with
        if self._share >= 1:
            return ""
        if done <= 0:
            return "time left not known yet"
        left = (self._changed_at - self._began_at) * (1 - self._share) / done - (now - self._changed_at)
        return f"about {duration_text(max(left, 1.0))} left"

    def _show(self, words: str) -> None:
        self._words = words
        self._bar.update(self._task, completed=self._share)

    def _write_lines(self) -> None:
        while not self._ended.wait(self._line_seconds):
            self.say(f"{self._name}: {self.line()}")


class _BoardLine(ProgressColumn):
    """The line of a board after its bar, rendered at every refresh."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board

    def render(self, task: Task) -> Text:
        return Text(self._board.line())


def duration_text(seconds: float) -> str:
    """A duration as text: `40 s`, `12 min`, `3 h 05 min`, `4 d 2 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{hours // 24} d {hours % 24} h"
