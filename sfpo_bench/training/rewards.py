"""Rewards that replace the task's in training; evaluations do not use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.seeding import stream_key, uniforms
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Prompt, Split
from sfpo_bench.grading.failures import failed
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


@dataclass(frozen=True, slots=True)
class FlippedRewards:
    """Label noise: flips a reward r to 1 - r with `probability`, drawn per response from its names.

    Verdicts remain the task's, so metrics report correctness. Responses that could not be graded are not flipped.
    """

    probability: float
    seed: int

    def applied(self, step: int, completions: Sequence[Completion], grades: Sequence[Grade]) -> list[Grade]:
        """The grades of a step's completions, some of them flipped; raises `RunFailed` for a reward outside [0, 1]."""
        keys = [stream_key(self.seed, "flipped_rewards", step, one.problem_id, one.sample) for one in completions]
        draws = uniforms(keys, 1)[:, 0].tolist()
        return [
            self._flipped(grade) if draw < self.probability and not failed(grade.status) else grade
            for grade, draw in zip(grades, draws, strict=True)
        ]

    def _flipped(self, grade: Grade) -> Grade:
        if not 0 <= grade.reward <= 1:
            raise RunFailed(
                f"the reward {grade.reward:g} cannot be flipped to 1 - r; expected rewards between 0 and 1 with "
                "training.reward_flip_probability above 0: set it to 0, or fix the reward"
            )
        return replace(grade, reward=1 - grade.reward)
