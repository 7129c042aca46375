"""The task interface for training and evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from sfpo_bench.core.plugins import Check, many
from sfpo_bench.core.types import Completion, Grade, GradeStatus, Problem, Prompt, Split


class Task(Protocol):
    """Problems, their prompts, and the grading of responses.

    A task is a dataclass whose fields are its settings (`sfpo_bench.core.options.option`); `kind` is its name in the
    configuration. All three methods are deterministic. `problems` raises `MissingDataError` for missing data and
    `ConfigError` for unusable data, before any model is loaded.
    """

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, in a fixed order; the splits are disjoint."""
        ...

    def prompt(self, problem: Problem) -> Prompt:
        """The prompt of a problem."""
        ...

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        """Verdict, reward and extracted answer; must not raise for any model output."""
        ...


def check_prompt(found: object, *_: object) -> str:
    """The expected form of a prompt, or an empty text if `found` is valid."""
    wanted = "a sfpo_bench.core.types.Prompt, its content a text or a tuple of sfpo_bench.core.types.Message"
    if not isinstance(found, Prompt) or not isinstance(found.problem_id, str):
        return wanted
    turns = found.content if isinstance(found.content, tuple) else ()
    texts = [found.content] if not turns else [text for turn in turns for text in (turn.role, turn.content)]
    return "" if all(isinstance(text, str) for text in texts) else wanted


def check_grade(found: object, *_: object) -> str:
    """The expected form of a grade, or an empty text if `found` is valid."""
    wanted = "a sfpo_bench.core.types.Grade(status: GradeStatus, reward: finite number, extracted: text or None)"
    if not isinstance(found, Grade) or not isinstance(found.status, GradeStatus):
        return wanted
    is_number = isinstance(found.reward, (int, float)) and math.isfinite(found.reward)
    return "" if is_number and isinstance(found.extracted, (str, type(None))) else wanted


def _check_problems(found: object, *_: object) -> str:
    wanted = "a list of sfpo_bench.core.types.Problem, whose id, text and answer are texts, and solution text or None"
    if not isinstance(found, Sequence) or not all(isinstance(one, Problem) for one in found):
        return wanted
    texts = (text for one in found for text in (one.id, one.text, one.answer, one.solution or ""))
    return "" if all(isinstance(text, str) for text in texts) else wanted


# Checks of the results of a user-defined task's methods.
TASK_CHECKS: Mapping[str, Check] = {
    "problems": _check_problems,
    "prompt": check_prompt,
    "grade": check_grade,
    "grade_many": many(Grade, like=0),
}


@runtime_checkable
class GradesMany(Protocol):
    """An optional extension of `Task` that grades many responses at once."""

    def grade_many(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        """The grades of all pairs of problem and completion, in order."""
        ...


def grade_all(task: Task, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
    """The grade of each completion of the problem at the same index, with `grade_many` if the task has it."""
    if isinstance(task, GradesMany):
        return task.grade_many(problems, completions)
    return [task.grade(problem, completion) for problem, completion in zip(problems, completions, strict=True)]
