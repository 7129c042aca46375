"""Rewards that are added to the task's in training; evaluations do not use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Prompt, Split
from sfpo_bench.problems.protocol import Task, grade_all


@dataclass(frozen=True, slots=True)
class WrongAnswersRewarded:
    """`task` with `reward` added for a complete response with a wrong answer (0.1 in SFPO's released code).

    A truncated response, or one without an answer, keeps its reward.
    """

    task: Task
    reward: float

    def problems(self, split: Split) -> Sequence[Problem]:
        return self.task.problems(split)

    def prompt(self, problem: Problem) -> Prompt:
        return self.task.prompt(problem)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.grade_many([problem], [completion])[0]

    def grade_many(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        grades = grade_all(self.task, problems, completions)
        return [self._rewarded(grade, made) for grade, made in zip(grades, completions, strict=True)]

    def _rewarded(self, grade: Grade, completion: Completion) -> Grade:
        given = completion.finish_reason is FinishReason.stopped and grade.status is GradeStatus.wrong
        return replace(grade, reward=grade.reward + self.reward) if given else grade


def in_training(task: Task, wrong_answer_reward: float) -> Task:
    """The task that grades rollouts in training; `task` itself where `wrong_answer_reward` is 0."""
    return WrongAnswersRewarded(task, wrong_answer_reward) if wrong_answer_reward else task
