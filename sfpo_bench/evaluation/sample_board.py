"""Progress display of an evaluation."""

from __future__ import annotations

from sfpo_bench.core.progress import Board


class SampleBoard(Board):
    """Shows the progress of the generation in samples."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._title = name
        self._counts = (0, 0)

    def start(self, missing: int, asked: int) -> None:
        """Show the number of existing samples."""
        self._counts = (asked - missing, asked)
        self.begin(*self._state())
        self.say(f"{self._title}: {asked - missing} of {asked} samples are there")

    def done(self, samples: int) -> None:
        """Add a batch of written samples."""
        there, asked = self._counts
        self._counts = (there + samples, asked)
        self.update(*self._state())
        if there + samples == asked:
            self.say(f"{asked} of {asked} samples")

    def _state(self) -> tuple[float, str]:
        there, asked = self._counts
        return there / max(asked, 1), f"{there:,} of {asked:,} samples"
