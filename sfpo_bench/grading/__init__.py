"""Grading of free-form mathematical answers: what is a response's final answer, and is it the gold answer?

`grade_math(gold, response)` is one grade; a `Grader` of your own has its own deadline, memory limit, processes and
cache, and grades many pairs side by side. It works in processes that are killed at the deadline.
"""

from sfpo_bench.grading.failures import GradingFailures, failures_so_far
from sfpo_bench.grading.grader import (
    DEADLINE_S,
    Grader,
    answers_equal,
    fingerprint,
    gold_is_readable,
    grade_math,
    shared_grader,
)
from sfpo_bench.grading.records import Pair

__all__ = [
    "DEADLINE_S",
    "Grader",
    "GradingFailures",
    "Pair",
    "answers_equal",
    "failures_so_far",
    "fingerprint",
    "gold_is_readable",
    "grade_math",
    "shared_grader",
]
