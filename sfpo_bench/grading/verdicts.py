"""In a grading process: the reply to a request."""

from __future__ import annotations

from functools import lru_cache

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading.boxes import last_boxes, loose_boxes
from sfpo_bench.grading.effort import limited
from sfpo_bench.grading.equality import same
from sfpo_bench.grading.expressions import is_prose
from sfpo_bench.grading.extraction import Extraction, extract, spoken
from sfpo_bench.grading.lexer import LONGEST, Unreadable, tokens_of
from sfpo_bench.grading.notation import clean
from sfpo_bench.grading.records import Question, Reply, Request
from sfpo_bench.grading.rounding import Tolerance
from sfpo_bench.grading.structure import read
from sfpo_bench.grading.terms import written
from sfpo_bench.grading.tree import Either, Node, Sequence, Words, walk

_LONGEST_SHOWN = 500  # characters of an extracted answer that are reported


def warm_up() -> None:
    """Do what only the first request would have to wait for."""
    for gold, answer in (
        (r"\frac{5\sqrt{42}}{27}", "1.2"),
        (r"\sin(x)^2", r"1 - \cos(x)^2"),
        ("[0, 1)", r"0 \le x < 1"),
    ):
        same(read(gold, is_gold=True), read(answer), Tolerance())


def reply(request: Request) -> Reply:
    """The verdict on one request. What goes wrong inside on strange text makes an answer wrong, not an error."""
    if request.question is Question.read:
        return Reply(GradeStatus.correct if _readable(request.gold) else GradeStatus.gold_unparsable)
    if request.question is Question.second:
        from sfpo_bench.grading.second_opinion import math_verify_accepts

        return Reply(GradeStatus.correct if math_verify_accepts(request.gold, request.text) else GradeStatus.wrong)
    tolerance = Tolerance(request.tolerance, request.relative_tolerance)
    if request.question is Question.compare:
        equal = _same_text(request.gold, (request.text,), tolerance)
        return Reply(GradeStatus.correct if equal else GradeStatus.wrong)
    return _grade(request, tolerance)


def _grade(request: Request, tolerance: Tolerance) -> Reply:
    found = extract(request.text)
    if found is None:
        return Reply(GradeStatus.no_answer if _readable(request.gold) else GradeStatus.gold_unparsable)
    shown = ", ".join(found.texts)[:_LONGEST_SHOWN].encode("utf-8", "replace").decode("utf-8")
    if not found.marked and _notation(request.gold) == _notation(spoken(request.text)[-LONGEST:]):
        return Reply(GradeStatus.correct, shown, found.rule)
    if any(_same_text(gold, found.texts, tolerance) for gold in gold_texts(request.gold)):
        return Reply(GradeStatus.correct, shown, found.rule)
    if not _readable(request.gold):
        return Reply(GradeStatus.gold_unparsable, shown, found.rule)
    if _says_nothing(found):
        return Reply(GradeStatus.no_answer)
    return Reply(GradeStatus.wrong, shown, found.rule)


def gold_texts(gold: str) -> tuple[str, ...]:
    r"""The answer in a gold, which may be a whole solution with `\boxed{}` or `####`; several readings at most."""
    boxes = last_boxes(gold)
    if boxes is not None:
        return tuple(dict.fromkeys((", ".join(boxes.contents), ", ".join(loose_boxes(gold) or boxes.contents))))
    _, hashes, after = gold.rpartition("####")
    return (after.strip() if hashes and after.strip() else gold.strip(),)


def _says_nothing(found: Extraction) -> bool:
    """A short text that is words alone, and not those of the gold: `I do not know` is no answer, `1011_2` is."""
    return not found.marked and all(
        isinstance(answer := _read(text), Words) and not any(map(str.isdecimal, answer.text)) for text in found.texts
    )


@lru_cache(maxsize=4096)
def _read(text: str, *, is_gold: bool = False) -> Node:
    return read(text, is_gold=is_gold)


@lru_cache(maxsize=4096)
def _readable(gold: str) -> bool:
    """Some reading of the gold is mathematics all through, or a few words and no sentence with mathematics in it."""
    return any(0 < len(text) <= LONGEST and _is_answer(_read(text, is_gold=True), text) for text in gold_texts(gold))


def _is_answer(node: Node, text: str) -> bool:
    if isinstance(node, Either):
        return any(_is_answer(reading, text) for reading in node.readings)
    words = [part for part in walk(node) if isinstance(part, Words)]
    if not words:
        return True
    if "?" in text:
        return False  # a question
    longest = max(len(part.text.split()) for part in words)
    plain = all(part.text.replace(" ", "").replace("-", "").replace("'", "").isalnum() for part in words)
    return longest <= 6 and (plain or not is_prose(text)) and "\\" not in "".join(part.text for part in words)


def _same_text(gold: str, answers: tuple[str, ...], tolerance: Tolerance) -> bool:
    """The answers are the gold: as the same notation, or as mathematics."""
    joined = ", ".join(answers)
    if (same_notation := _notation(gold)) is not None and same_notation == _notation(joined):
        return True
    if len(gold) > LONGEST or len(joined) > LONGEST:
        return False
    try:
        with limited():
            node = _read(gold, is_gold=True)
            if len(answers) == 1:
                return same(node, _read(answers[0]), tolerance)
            several = Sequence("", tuple(map(_read, answers)))
            return same(node, several, tolerance) or same(node, _read(joined), tolerance)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return False


@lru_cache(maxsize=4096)
def _notation(text: str) -> tuple[str, ...] | None:
    """The text as written, but for white space, dollar signs and fonts; None where nothing is left."""
    try:
        tokens = tokens_of(clean(text))
    except Unreadable:
        plain = text.replace("$", " ").split()
        return tuple(plain) or None
    found = tuple(
        piece
        for token in tokens
        for piece in (*((" ",) if token.space and token.kind == "number" else ()), *written((token,)))
    )
    return found or None
