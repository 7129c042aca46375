"""The collector that drops what is solved every time: its limits, its draws, and what it remembers."""

from __future__ import annotations

import pytest

from sfpo_bench.algorithms.collectors.drop_solved import DropSolved
from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.training.rollouts import ProblemSchedule
from tests.training.rollout_sources import ByKey, problems, source_of

SCHEDULE = ProblemSchedule(problems(12), prompts=4, seed=3)
EASY = ByKey(easy=frozenset(str(n) for n in range(6)), hard=frozenset(str(n) for n in range(6, 12)))


def step(collector: DropSolved | GroupCollector, number: int, task: ByKey = EASY) -> list[str]:
    """The problems of each response of a training step."""
    source, _, _ = source_of(SCHEDULE, 2, task, number)
    return [one.problem.id for one in collector.collect(source).trajectories]


def test_where_nothing_is_dropped_it_is_grpos_batch() -> None:
    never, group = DropSolved(share=0.0), GroupCollector()
    for number in range(1, 7):
        ours, _, _ = source_of(SCHEDULE, 2, EASY, number)
        theirs, _, _ = source_of(SCHEDULE, 2, EASY, number)
        assert never.collect(ours).trajectories == group.collect(theirs).trajectories


def test_what_is_solved_once_is_met_no_more_where_all_of_it_is_dropped_and_others_take_its_place() -> None:
    collector, solved = DropSolved(share=1.0), set[str]()
    for number in range(1, 9):
        met = step(collector, number)
        assert len(met) == 8 and len(set(met)) == 4 and not solved & set(met)
        solved |= set(met) & EASY.easy
        assert collector.state() == {"dropped": sorted(solved)}


def test_once_all_are_dropped_they_are_met_again() -> None:
    collector = DropSolved(share=1.0)
    every = ByKey(easy=frozenset(str(n) for n in range(12)))
    for number in range(1, 7):
        assert len(set(step(collector, number, every))) == 4
    assert len(collector._dropped) == 12


def test_where_the_others_are_too_few_none_is_met_twice_in_a_step() -> None:
    few, task = ProblemSchedule(problems(8), prompts=4, seed=1), ByKey(easy=frozenset(str(n) for n in range(6)))
    collector = DropSolved(share=1.0)
    for number in range(1, 8):
        source, _, _ = source_of(few, 2, task, number)
        assert len({one.problem.id for one in collector.collect(source).trajectories}) == 4


def test_the_grades_of_a_group_change_no_draw_of_another() -> None:
    schedule, every = ProblemSchedule(problems(40), prompts=40, seed=0), frozenset(str(n) for n in range(40))

    def dropped(task: ByKey) -> set[str]:
        collector = DropSolved(share=0.5)
        source, _, _ = source_of(schedule, 2, task)
        collector.collect(source)
        return collector._dropped

    hard = frozenset(str(n) for n in range(0, 40, 3))
    assert dropped(ByKey(easy=every - hard, hard=hard)) == dropped(ByKey(easy=every)) - hard


def test_a_group_that_is_not_all_right_is_never_dropped() -> None:
    collector = DropSolved(share=1.0)
    for number in range(1, 5):
        step(collector, number, ByKey(hard=frozenset(str(n) for n in range(12))))
    assert collector.state() == {"dropped": []}


def test_about_the_published_share_of_what_is_solved_is_dropped() -> None:
    wide = ProblemSchedule(problems(400), prompts=400, seed=0)
    collector = DropSolved()
    source, _, _ = source_of(wide, 2, ByKey(easy=frozenset(str(n) for n in range(400))))
    found = collector.collect(source)
    assert found.metrics == {"dropped_problems": pytest.approx(320, abs=32)}  # four standard deviations


def test_what_was_dropped_comes_back_from_its_state_and_the_draws_go_on_alike() -> None:
    trained, again = DropSolved(share=0.5), DropSolved(share=0.5)
    for number in (1, 2):
        step(trained, number)
    again.restore(trained.state())
    assert [step(trained, number) for number in (3, 4, 5)] == [step(again, number) for number in (3, 4, 5)]
    assert trained.state() == again.state()
