"""What is said of long work: the time left, and a line a minute where there is no terminal."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from sfpo_bench.core.progress import Board, duration_text
from sfpo_bench.evaluation.sample_board import SampleBoard


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def board(clock: Clock, line_seconds: float = 60.0) -> tuple[Board, io.StringIO]:
    out = io.StringIO()
    return Board("work", Console(file=out), line_seconds=line_seconds, clock=clock), out


@pytest.mark.parametrize("before", (0.0, 0.25, 0.5))
@pytest.mark.parametrize("share", (0.01, 0.3, 0.9))
def test_at_a_constant_speed_the_time_left_is_what_the_rest_takes(before: float, share: float) -> None:
    """Whatever was done before work began, and whenever it is asked."""
    clock, seconds = Clock(), 4000.0
    shown, _ = board(clock)
    clock.now += 500.0  # a model is loaded
    shown.begin(before, "a")
    clock.now += share * seconds
    shown.update(before + (1 - before) * share, "b")
    assert f"about {duration_text((1 - share) * seconds)} left" in shown.line()
    clock.now += 20.0  # nothing new was heard, but time went on
    assert f"about {duration_text(max((1 - share) * seconds - 20, 1.0))} left" in shown.line()


def test_nothing_done_says_nothing_of_the_time_left_and_all_done_needs_none() -> None:
    clock = Clock()
    shown, _ = board(clock)
    shown.begin(0.5, "half")
    clock.now += 60
    assert shown.line() == "half, 1 min so far, time left not known yet"
    shown.update(1.0, "all")
    assert shown.line() == "all, 1 min so far"


def test_work_that_stands_still_says_so() -> None:
    clock = Clock()
    shown, _ = board(clock)
    shown.begin(0.0)
    clock.now += 10
    shown.update(0.1, "x")
    clock.now += 119
    shown.update(0.1, "x")
    assert "no change" not in shown.line()
    clock.now += 1
    assert shown.line().endswith("no change for 2 min")


def test_lines_come_while_the_caller_waits_and_end_with_the_work() -> None:
    """Each of them is one line, however long; none comes on a terminal, which has a bar."""
    shown, out = board(Clock(), line_seconds=0.02)
    with shown:
        shown.begin(0.0, "words " * 40)
        deadline = time.monotonic() + 10
        while out.getvalue().count("\n") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    said = out.getvalue()
    assert said.count("\n") >= 3 and all(line.startswith("work: words") for line in said.splitlines())
    time.sleep(0.06)
    assert out.getvalue() == said

    terminal = io.StringIO()
    with Board("work", Console(file=terminal, force_terminal=True, width=200), line_seconds=0.01) as shown:
        shown.begin(0.0, "words")
        time.sleep(0.05)
    assert "work: words" not in terminal.getvalue() and "words" in terminal.getvalue()


def test_durations_are_rounded_to_what_matters() -> None:
    texts = {0.4: "0 s", 59.4: "59 s", 60: "1 min", 3569: "59 min", 3600: "1 h 00 min", 11100: "3 h 05 min"}
    assert {seconds: duration_text(seconds) for seconds in texts} == texts
    assert duration_text(4.1 * 86400) == "4 d 2 h"


def test_a_state_that_is_followed_is_read_at_most_once_a_second() -> None:
    """It may lie in many files; whoever waits calls as often as it likes."""
    clock, done = Clock(), [0]
    shown, _ = board(clock)
    reads = []

    def state() -> tuple[float, str]:
        reads.append(clock.now)
        return done[0] / 10, f"{done[0]} of 10"

    shown.refresh()  # nothing is followed yet
    shown.follow(state)
    for tenths in range(1, 36):
        clock.now, done[0] = 1000 + tenths / 10, min(tenths, 9)
        shown.refresh()
    assert reads == [1000.0, 1001.0, 1002.0, 1003.0]
    assert shown.line().startswith("9 of 10, 4 s so far")


def test_an_evaluation_shows_its_samples_from_the_first_to_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    with SampleBoard("model on suite") as shown:
        shown.start(missing=6, asked=10)
        assert shown.line().startswith("4 of 10 samples")
        shown.done(2)
        shown.refresh()  # the loop over slots may call it; nothing else is followed
        assert shown.line().startswith("6 of 10 samples")
        shown.done(4)
    said = capsys.readouterr().err
    assert "model on suite: 4 of 10 samples are there" in said and "10 of 10 samples" in said
