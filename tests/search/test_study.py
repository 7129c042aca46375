"""A study that is killed: whatever the moment, it goes on as if nothing had been, and counts no trial twice."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sfpo_bench.search.pruners import pruner_of
from sfpo_bench.search.samplers import sampler_of
from sfpo_bench.search.space import Point, Space, space_of
from sfpo_bench.search.storage import STUDY_FILE, FileLock, open_storage
from sfpo_bench.search.study import HeldTrial, SharedStudy
from sfpo_bench.settings.search import Kind, ParameterSettings, Pruner, SweepSampler, SweepSettings

SPACE = space_of(
    {
        "x": ParameterSettings("x", Kind.float, 0.0, 1.0, points=4),
        "y": ParameterSettings("y", Kind.log, 1e-4, 1e-1, points=3),
        "mode": ParameterSettings("mode", Kind.categorical, choices=["a", "b"]),
        "n": ParameterSettings("n", Kind.int, 1, 9, 4, when={"mode": ["b"]}),
    }
)
RUNGS = 3


class Killed(Exception):
    """Stands for SIGKILL: nothing that comes after it is done, no cleaning up of ours included."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def study(
    folder: Path, sampler: SweepSampler, clock: Callable[[], float], pruner: Pruner = Pruner.median
) -> SharedStudy:
    settings = SweepSettings(startup_trials=4, pruner=pruner, rungs=RUNGS, warmup_rungs=0)
    grid = SPACE.grid() if sampler is SweepSampler.grid else []
    return SharedStudy(
        folder,
        "s",
        open_storage("", folder),
        [False],
        sampler_of(sampler, 7, 4, grid),
        pruner_of(settings),
        30.0,
        clock,
    )


def value(point: Point) -> float:
    return -((float(str(point["x"])) - 0.3) ** 2) + (0.1 if point["mode"] == "b" else 0.0)


def space(number: int) -> Space:
    return SPACE


def work(one: SharedStudy, wanted: int, step: Callable[[], None] = lambda: None) -> None:
    """Every trial to its end; `step` is called between any two accesses of the study, and may kill."""
    step()
    while (held := one.take(space, wanted)) is not None:
        step()
        if not _rungs(one, held, step):
            one.complete(held, [value(held.point)], censored=False)
        step()


def _rungs(one: SharedStudy, held: HeldTrial, step: Callable[[], None]) -> bool:
    for rung in range(1, RUNGS + 1):
        gives_up = held.report(rung, value(held.point) * rung)
        step()
        if gives_up:
            one.prune(held, "hopeless")
            return True
    return False


def said(one: SharedStudy) -> list[tuple[object, ...]]:
    return [(v.number, v.state, dict(v.point), v.values, dict(v.rungs)) for v in one.views()]


@pytest.mark.parametrize("sampler", [SweepSampler.random, SweepSampler.grid, SweepSampler.tpe, SweepSampler.cmaes])
def test_killed_between_any_two_accesses_and_taken_up_it_equals_an_uninterrupted_study(
    sampler: SweepSampler, tmp_path: Path
) -> None:
    whole = study(tmp_path / "whole", sampler, Clock())
    work(whole, 14)
    clock, draw = Clock(), random.Random(3)
    kills = 0
    while True:
        left = draw.randrange(1, 12)

        def step() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        clock.now += 31.0  # the lease of the one that was killed has run out
        one = study(tmp_path / "killed", sampler, clock)
        try:
            work(one, 14, step)
        except Killed:
            kills += 1
            continue
        break
    assert kills > 3 and said(one) == said(whole)


def test_killed_inside_any_write_to_the_storage_it_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal ends after any of its lines, or within one: what a kill leaves of a write."""
    from optuna.storages.journal import JournalFileBackend

    whole = study(tmp_path / "whole", SweepSampler.tpe, Clock())
    work(whole, 8)
    draw, clock, kills = random.Random(5), Clock(), 0
    append = JournalFileBackend.append_logs
    left = 0

    def dying(self: JournalFileBackend, logs: list[dict[str, object]]) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            append(self, logs)
            file = tmp_path / "killed" / STUDY_FILE
            lines = file.read_bytes().splitlines(keepends=True)
            # All of the write is there, half a line of it, or nothing.
            end = draw.choice([lines[-1], lines[-1][: len(lines[-1]) // 2], b""])
            file.write_bytes(b"".join(lines[:-1]) + end)
            raise Killed
        append(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", dying)
    while True:
        left = draw.randrange(1, 14)
        clock.now += 31.0
        try:
            one = study(tmp_path / "killed", SweepSampler.tpe, clock)
            work(one, 8)
        except Killed:
            kills += 1
            continue
        break
    left = 10**9
    assert kills >= 5 and said(one) == said(whole)


def test_an_orphan_is_known_by_its_lease_and_not_before_it_ran_out(tmp_path: Path) -> None:
    clock = Clock()
    one, other = study(tmp_path, SweepSampler.random, clock), study(tmp_path, SweepSampler.random, clock)
    first = one.take(space, 1)
    assert first is not None and other.take(space, 1) is None
    clock.now += 29.0
    assert other.take(space, 1) is None and [view.state for view in other.views()] == ["running"]
    clock.now += 2.0
    assert [view.state for view in other.views()] == ["lost"]
    second = other.take(space, 1)
    assert second is not None and second.taken_over
    assert (second.number, second.point) == (first.number, first.point)
    # The first one was only asleep: what it says now counts no more.
    assert not one.owns(first) and not one.renew()
    one.complete(first, [1.0], censored=False)
    other.complete(second, [2.0], censored=False)
    assert [(view.state, view.values) for view in other.views()] == [("complete", (2.0,))]


def test_a_lease_that_was_released_lets_others_go_on_at_once(tmp_path: Path) -> None:
    clock = Clock()
    one, other = study(tmp_path, SweepSampler.random, clock), study(tmp_path, SweepSampler.random, clock)
    held = one.take(space, 1)
    one.release()
    taken = other.take(space, 1)
    assert held is not None and taken is not None and taken.number == held.number
    assert one.others_until() > clock.now and other.others_until() == 0.0


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_by_a_day_keeps_no_trial_from_others_and_takes_none_away(
    jump: float, tmp_path: Path
) -> None:
    clock = Clock()
    clock.now = 2e9
    one, other = study(tmp_path, SweepSampler.random, clock), study(tmp_path, SweepSampler.random, clock)
    held = one.take(space, 1)
    assert held is not None and other.take(space, 1) is None
    clock.now += jump
    one.renew()
    for _ in range(20):  # alive, it keeps its trial
        clock.now += 5.0
        assert one.renew() and other.take(space, 1) is None
    clock.now += jump
    one.renew()  # its last sign of life, at the new time; then the clock is set right
    clock.now -= jump
    late = study(tmp_path, SweepSampler.random, clock)
    assert late.others_until() <= clock.now + 30.0
    clock.now += 31.0
    taken = late.take(space, 1)
    assert taken is not None and taken.number == held.number


def test_failed_trials_are_tried_again_once_and_only_on_request(tmp_path: Path) -> None:
    one = study(tmp_path, SweepSampler.random, Clock())
    for _ in range(2):
        held = one.take(space, 2)
        assert held is not None
        one.fail(held, "out of memory")
    assert one.take(space, 2) is None
    assert one.retry_failed() == 2 and one.retry_failed() == 0
    again = one.take(space, 2)
    assert again is not None and again.number == 2 and again.point == one.views()[0].point
    one.complete(again, [0.5], censored=False)
    held = one.take(space, 2)
    assert held is not None and one.take(space, 2) is None
    one.fail(held, "out of memory")
    assert [view.retry_of for view in one.views()] == [None, None, 0, 1]
    assert one.retry_failed() == 1


def test_draws_depend_on_the_number_of_the_trial_and_not_on_who_asks(tmp_path: Path) -> None:
    alone, clock = study(tmp_path / "alone", SweepSampler.random, Clock()), Clock()
    one, other = (study(tmp_path / "two", SweepSampler.random, clock) for _ in range(2))
    for _ in range(4):
        for each in (one, other):
            assert each.take(space, 100) is not None
    for _ in range(8):
        assert alone.take(space, 100) is not None
    points = [view.point for view in alone.views()]
    assert [view.point for view in one.views()] == points
    assert len({point["x"] for point in points}) == 8


def test_a_grid_search_visits_every_point_once(tmp_path: Path) -> None:
    one, grid = study(tmp_path, SweepSampler.grid, Clock(), Pruner.none), SPACE.grid()
    work(one, len(grid))
    visited = [tuple(sorted(view.point.items())) for view in one.views()]
    assert sorted(map(str, visited)) == sorted(str(tuple(sorted(point.items()))) for point in grid)


def test_half_a_line_left_by_a_kill_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    file = tmp_path / STUDY_FILE
    file.write_bytes(b'{"a":1}\n{"b"')
    lock = FileLock(file)
    lock.acquire()
    lock.release()
    assert file.read_bytes() == b'{"a":1}\n'


TAKER = """
import sys
from pathlib import Path
from tests.search.test_study import *
one = study(Path(sys.argv[1]), SweepSampler.tpe, __import__("time").time)
work(one, 24)
"""


@pytest.mark.slow
def test_four_processes_that_share_a_study_end_with_exactly_the_trials_wanted(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", TAKER, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    views = study(tmp_path, SweepSampler.tpe, Clock()).views()
    assert len(views) == 24 and {view.state for view in views} <= {"complete", "pruned"}
    assert len({view.point["x"] for view in views}) == 24
