"""Evaluations ask what they say, on problems that do not move."""

from __future__ import annotations

from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.training.evaluation import quizzes
from sfpo_bench.training.settings import EvaluationSettings
from sfpo_bench.types import Problem, Split


def problems(split: str, count: int) -> list[EncodedProblem]:
    return [EncodedProblem(Problem(f"{split}/{n}", "", "1"), (n,)) for n in range(count)]


def test_responses_are_spread_over_as_many_problems_as_there_are() -> None:
    settings = EvaluationSettings(responses=100, select_responses=30, greedy_problems=20)
    report, select, greedy = quizzes(settings, problems("report", 500), problems("select", 12))
    assert (report.split, report.mode, len(report.problems), report.samples) == (Split.report, "sampled", 100, 1)
    # 12 problems x 3 samples are the first multiple of 12 that is at least 30
    assert (select.split, select.mode, len(select.problems), select.samples) == (Split.select, "sampled", 12, 3)
    assert (greedy.split, greedy.mode, len(greedy.problems), greedy.samples) == (Split.report, "greedy", 20, 1)


def test_every_run_is_asked_the_same_problems() -> None:
    settings = EvaluationSettings(responses=50)
    first, second = (quizzes(settings, problems("report", 300), problems("select", 9))[0] for _ in range(2))
    assert first == second
    assert len({item.problem.id for item in first.problems}) == 50


def test_nothing_asked_is_nothing_measured() -> None:
    settings = EvaluationSettings(responses=0, select_responses=5, greedy_problems=0)
    assert [quiz.split for quiz in quizzes(settings, problems("report", 3), problems("select", 5))] == [Split.select]
