"""The seam between a task and everything that trains or evaluates on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
