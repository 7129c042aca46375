"""The seam between a task and everything that trains or evaluates on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from sfpo_bench.core.plugins import Check, many
from sfpo_bench.core.types import Completion, Grade, GradeStatus, Problem, Prompt, Split


class Task(Protocol):
    """Problems, how they are put to a model, and how a response is graded.

    A task is a dataclass whose fields are its settings (`sfpo_bench.core.options.option`); its `kind` names it in the
    configuration. All three methods are deterministic. `problems` raises `MissingDataError` when its data is not
    there and `ConfigError` when it is not usable, before any model is loaded.
    """

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, in a fixed order; the three splits share none."""
        ...

    def prompt(self, problem: Problem) -> Prompt:
        """What the model is shown."""
        ...

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        """Verdict, reward and extracted answer. Never raises for anything a model can write."""
        ...


def check_prompt(found: object, *_: object) -> str:
    """What a prompt was expected to be; empty when `found` is one."""
    wanted = "a sfpo_bench.core.types.Prompt, its content a text or a tuple of sfpo_bench.core.types.Message"
    if not isinstance(found, Prompt) or not isinstance(found.problem_id, str):
        return wanted
    turns = found.content if isinstance(found.content, tuple) else ()
    texts = [found.content] if not turns else [text for turn in turns for text in (turn.role, turn.content)]
    return "" if all(isinstance(text, str) for text in texts) else wanted


def check_grade(found: object, *_: object) -> str:
    """What a grade was expected to be; empty when `found` is one."""
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


# What the methods of a user's own task must return.
TASK_CHECKS: Mapping[str, Check] = {
    "problems": _check_problems,
    "prompt": check_prompt,
    "grade": check_grade,
    "grade_many": many(Grade, like=0),
}


@runtime_checkable
class GradesMany(Protocol):
    """What a task may offer beside `Task`: many grades at once, where that is faster than one after another."""

    def grade_many(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        """As `grade` for each problem and completion, in their order."""
        ...


def grade_all(task: Task, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
    """The grade of each completion of the problem at the same place, in the fastest way the task offers."""
    if isinstance(task, GradesMany):
        return task.grade_many(problems, completions)
    return [task.grade(problem, completion) for problem, completion in zip(problems, completions, strict=True)]
