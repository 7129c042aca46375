"""Finds problems of one set that occur in another, independent of spelling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sfpo_bench.core.types import Problem
from sfpo_bench.problems.canonical import asked_text, canonical_answer, countdown_gold


@dataclass(frozen=True, slots=True)
class Overlap:
    """A problem that occurs in both an evaluation set and a training set."""

    evaluation_id: str
    training_id: str
    evaluation_answer: str
    training_answer: str

    @property
    def same_answer(self) -> bool:
        """False when the two sets have different answers to the problem, after normalization."""
        if countdown_gold(self.evaluation_answer) is not None:
            return countdown_gold(self.evaluation_answer) == countdown_gold(self.training_answer)
        return canonical_answer(self.evaluation_answer) == canonical_answer(self.training_answer)


def overlaps(evaluation: Sequence[Problem], training: Iterable[Problem]) -> tuple[Overlap, ...]:
    """Every pair of problems with equal `asked_text`, in the order of `evaluation`, then of `training`.

    Near matches (a number changed, a sentence added) are not found.
    """
    places: dict[str, list[Problem]] = {}
    for problem in training:
        places.setdefault(asked_text(problem), []).append(problem)
    return tuple(
        Overlap(problem.id, other.id, problem.answer, other.answer)
        for problem in evaluation
        for other in places.get(asked_text(problem), ())
    )


def without(problems: Sequence[Problem], ids: Iterable[str]) -> tuple[Problem, ...]:
    """`problems` without those with one of `ids`."""
    left_out = frozenset(ids)
    return tuple(problem for problem in problems if problem.id not in left_out)
