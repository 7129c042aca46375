"""The seam between a task and everything that trains or evaluates on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sfpo_bench.types import Completion, Grade, Problem, Prompt, Split


class Task(Protocol):
    """Problems, how they are put to a model, and how a response is graded.

    A task is a dataclass whose fields are its settings (`sfpo_bench.options.option`); its `kind` names it in the
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
