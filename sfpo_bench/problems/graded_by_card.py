"""Grading by a problem set's card, equal in training and evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Grade, Problem
from sfpo_bench.grading import Pair, fingerprint, shared_grader
from sfpo_bench.problems.countdown import grade_countdown
from sfpo_bench.problems.sets import AnswerType, Card, ProblemSet

# Increased when `grade_countdown` changes its grades.
_COUNTDOWN_VERSION = 1


def grade_responses(
    card: Card, problems: Sequence[Problem], responses: Sequence[str], deadline_s: float | None = None
) -> list[Grade]:
    """One grade for each response to the problem at the same index, computed in parallel on all cores.

    A grade that takes longer than `deadline_s` seconds (None: the grader's default) is a timeout.
    """
    if card.answer_type is AnswerType.countdown:
        return [grade_countdown(problem.answer, text) for problem, text in zip(problems, responses, strict=True)]
    pairs = [Pair(p.answer, text, card.tolerance_of(p.id)) for p, text in zip(problems, responses, strict=True)]
    return shared_grader().grade_many(pairs, deadline_s=deadline_s)


def require_readable_golds(found: ProblemSet) -> None:
    """Raise `ConfigError` for gold answers that the grader cannot read, which no response could match.

    A verified set is not checked: its unreadable gold answers are listed among its card's label errors.
    """
    if found.verified or found.card.answer_type is AnswerType.countdown:
        return
    readable = shared_grader().readable_many([problem.answer for problem in found.problems])
    known = {error.id for error in found.card.label_errors}
    bad = [p for p, good in zip(found.problems, readable, strict=True) if not good and p.id not in known]
    if bad:
        shown = "; ".join(f"{p.id}: {p.answer!r}" for p in bad[:5])
        raise ConfigError(
            f"{found.origin}: the grader cannot read {len(bad)} of {len(found.problems)} gold answers ({shown}"
            f"{' …' if len(bad) > 5 else ''}), expected all of them to be mathematics. Fix or remove them"
        )


def same_answers(card: Card, pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """True for each pair of extracted answers that are equal; Countdown answers are compared as text."""
    if card.answer_type is AnswerType.countdown:
        return ["".join(first.split()) == "".join(second.split()) for first, second in pairs]
    return shared_grader().equal_many(pairs)


def grader_version(card: Card) -> str:
    """The version of the set's grader, which changes whenever grades may change."""
    if card.answer_type is AnswerType.countdown:
        return f"countdown-{_COUNTDOWN_VERSION}"
    return f"math-{fingerprint()}"
