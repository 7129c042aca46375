"""Stop requests: the first Ctrl-C or SIGTERM requests a clean stop, the second kills the process; a file works too.

SIGUSR1 and SIGUSR2, which schedulers send some time before a limit, and SIGHUP of a closed terminal also count.
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
# nohup makes a process ignore SIGHUP, and some schedulers SIGUSR1; these stay ignored.
_MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGUSR1)


@dataclass(slots=True)
class StopRequest:
    """A stop request, checked at the end of every step.

    A worker also stops when its parent process has ended, and when `file` appears. The file works for runs on other
    machines and cannot hit a process that has just finished its run.
    """

    parent_pid: int | None = None
    file: Path | None = None
    acknowledgement: str = ""  # printed immediately when a signal arrives; empty: nothing
    _signal: int | None = field(default=None, init=False)

    @property
    def reason(self) -> str | None:
        """The reason to stop, or None."""
        if self._signal is not None:
            return signal.Signals(self._signal).name
        if self.parent_pid is not None and os.getppid() != self.parent_pid:
            return "the parent process is gone"
        if self.file is not None and self.file.exists():
            return "asked to by its stop file"
        return None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside the block; does nothing outside the main thread."""
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
            # A signal handler may interrupt a write to sys.stderr, whose lock os.write does not need.
            os.write(2, f"\nsfpo-bench: {self.acknowledgement}\n".encode())
