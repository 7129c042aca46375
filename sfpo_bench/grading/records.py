"""What goes into the grader, and what comes back from a process that grades."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.types import GradeStatus


@dataclass(frozen=True, slots=True)
class Pair:
    r"""A response and the gold answer it is held against: `Pair(r"\frac{1}{2}", r"Hence \boxed{0.5}.")`.

    Numbers may differ by `tolerance`, or by `relative_tolerance` times the gold's size, whichever is more; 0 and 0
    leave the rules for decimals (docs/grading.md).
    """

    gold: str
    response: str
    tolerance: float = 0.0
    relative_tolerance: float = 0.0


class Question(StrEnum):
    """A request to a grading process.

    `grade` a response, `compare` two bare answers, `read` a gold (can it be?), or what math-verify says (`second`).
    """

    grade = "grade"
    compare = "compare"
    read = "read"
    second = "second"


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `text` is the response, the other answer, or empty where the question is about the gold alone."""

    question: Question
    gold: str
    text: str
    tolerance: float = 0.0
    relative_tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The status (`correct` also for a gold that can be read), the extracted answer and the rule that found it."""

    status: GradeStatus
    extracted: str | None = None
    rule: str = ""
