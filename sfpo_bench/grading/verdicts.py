"""In a grading process: the reply to a request."""

from __future__ import annotations

from functools import lru_cache

from sfpo_bench.grading import algebra
from sfpo_bench.grading.answers import Answer, Either, Words, read
from sfpo_bench.grading.boxes import last_boxes
from sfpo_bench.grading.equality import readable, same
from sfpo_bench.grading.extraction import Extraction, extract, is_prose
from sfpo_bench.grading.notation import squeezed
from sfpo_bench.grading.numerals import Tolerance
from sfpo_bench.grading.records import Question, Reply, Request
from sfpo_bench.types import GradeStatus

LONGEST_ANSWER = 2000  # characters; a longer one is compared as text alone
_LONGEST_SHOWN = 500  # characters of an extracted answer that are reported


def warm_up() -> None:
    """Do what only the first request would have to wait for."""
    algebra.warm_up()


def reply(request: Request) -> Reply:
    """The verdict on one request. What goes wrong inside sympy on strange text makes an answer wrong, not an error."""
    if request.question is Question.read:
        return Reply(GradeStatus.correct if _readable(request.gold) else GradeStatus.gold_unparsable)
    tolerance = Tolerance(request.tolerance, request.relative_tolerance)
    if request.question is Question.compare:
        equal = squeezed(request.gold) == squeezed(request.text) or _same_text(request.gold, request.text, tolerance)
        return Reply(GradeStatus.correct if equal else GradeStatus.wrong)
    return _grade(request, tolerance)


def _grade(request: Request, tolerance: Tolerance) -> Reply:
    found = extract(request.text)
    if found is None:
        return Reply(GradeStatus.no_answer if _readable(request.gold) else GradeStatus.gold_unparsable)
    for text in found.texts:
        if any(squeezed(text) == squeezed(gold) != "" for gold in gold_texts(request.gold)):
            return Reply(GradeStatus.correct, _shown(text), found.rule)
    if not _readable(request.gold):
        return Reply(GradeStatus.gold_unparsable, _shown(found.texts[0]), found.rule)
    for text in found.texts:
        if any(_same_text(gold, text, tolerance) for gold in gold_texts(request.gold)):
            return Reply(GradeStatus.correct, _shown(text), found.rule)
    if _says_nothing(found):
        return Reply(GradeStatus.no_answer)
    return Reply(GradeStatus.wrong, _shown(found.texts[0]), found.rule)


def gold_texts(gold: str) -> tuple[str, ...]:
    r"""The answer in a gold, which may be a whole solution with `\boxed{}` or `####`; several readings at most."""
    boxes = last_boxes(gold)
    if boxes is not None:
        return tuple(dict.fromkeys((", ".join(boxes.tight), ", ".join(boxes.loose))))
    _, hashes, after = gold.rpartition("####")
    return (after.strip() if hashes and after.strip() else gold.strip(),)


def _says_nothing(found: Extraction) -> bool:
    """A short text that is words alone, and not those of the gold: `I do not know` is no answer, `1011_2` is."""
    return not found.marked and all(
        isinstance(answer := _read(text), Words) and not any(map(str.isdigit, answer.text)) for text in found.texts
    )


@lru_cache(maxsize=4096)
def _read(text: str) -> Answer:
    return read(text)


@lru_cache(maxsize=4096)
def _readable(gold: str) -> bool:
    """Some reading of the gold has formulas that parse, and is not a sentence with mathematics in it."""
    return any(
        0 < len(text) <= LONGEST_ANSWER
        and (isinstance(answer := _read(text), (Words, Either)) or not is_prose(text) or readable(answer))
        and readable(answer)
        for text in gold_texts(gold)
    )


def _same_text(gold: str, answer: str, tolerance: Tolerance) -> bool:
    if len(gold) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return False
    try:
        return same(_read(gold), _read(answer), tolerance)
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError):
        return False


def _shown(text: str) -> str:
    """Short, and such that it can be written as UTF-8."""
    return text[:_LONGEST_SHOWN].encode("utf-8", "replace").decode("utf-8")
