"""What a launcher offers: seats, each of which trains one prepared run folder at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reply:
    """How a run's turn ended: `finished`, `interrupted`, `failed`, or `halted` (the machine failed, not the run), and
    why."""

    outcome: str
    message: str


class Seat(Protocol):
    """A place where one run is trained at a time."""

    def train(self, folder: Path) -> Reply | None:
        """Train the run in `folder` from its last checkpoint, and wait; None when its process died."""

    def stop(self, *, now: bool) -> None:
        """Ask the present run to end after its step and a checkpoint, or end its process `now`; from any thread."""

    def last_words(self) -> str:
        """What processes of this seat that died have left to read, and where, as the end of a sentence."""

    def close(self) -> None:
        """Give the seat back; nothing trains there any more."""


class Launcher(Protocol):
    """Where runs are trained."""

    def seat(self, number: int) -> Seat:
        """The seat of slot `number`; nothing is started before its first run."""

    def close(self) -> None:
        """Give everything back."""
