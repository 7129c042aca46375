"""Stop requests: the first Ctrl-C or SIGTERM requests a clean end, the second ends at once; a file can request it too.

SIGUSR1 and SIGUSR2 count as well, which schedulers send some time before a limit, and SIGHUP of a closed terminal.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# nohup starts a process that ignores SIGHUP, and some schedulers one that ignores SIGUSR1: that stays so.
_MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGUSR1)


@dataclass(slots=True)
class StopRequest:
    """Checked at the end of every step. A worker also stops when the process that started it is gone, and when
    `file` appears: that reaches runs on other machines, and never hits a process that has just ended its run."""

    parent_pid: int | None = None
    file: Path | None = None
    acknowledgement: str = ""  # what the terminal is told at once when a signal comes; empty: nothing
    _signal: int | None = field(default=None, init=False)

    @property
    def reason(self) -> str | None:
        """Why to stop, or None."""
        if self._signal is not None:
            return signal.Signals(self._signal).name
        if self.parent_pid is not None and os.getppid() != self.parent_pid:
            return "the parent process is gone"
        if self.file is not None and self.file.exists():
            return "asked to by its stop file"
        return None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle these signals inside the block; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ignored = [number for number in _MAY_BE_IGNORED if signal.getsignal(number) is signal.SIG_IGN]
        heeded = [number for number in _SIGNALS if number not in ignored]
        previous = {number: signal.signal(number, self._handle) for number in heeded}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._signal = number
        if self.acknowledgement:
            # A signal handler may interrupt a write to sys.stderr; the file descriptor has no lock of Python's.
            os.write(2, f"\nsfpo-bench: {self.acknowledgement}\n".encode())
