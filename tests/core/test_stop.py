"""Stopping on request: which signals ask for a clean end."""

from __future__ import annotations

import os
import signal

import pytest

from sfpo_bench.core.stop import StopRequest


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_asks_for_a_clean_end_and_is_named(number: signal.Signals) -> None:
    found = signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup
    try:
        stop = StopRequest()
        with stop.listening():
            os.kill(os.getpid(), number)
            assert stop.reason == number.name
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, found)


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = StopRequest()
        with stop.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason is None
    finally:
        signal.signal(signal.SIGHUP, before)
