"""In a grading process: what to reply to a request."""

from __future__ import annotations

import re

from math_verify import parse, verify

from sfpo_bench.grading.records import Question, Reply, Request
from sfpo_bench.types import GradeStatus

# What may stand between two boxes of one answer, as in `\boxed{1} \text{ and } \boxed{2}`.
_BETWEEN_BOXES = re.compile(r"(?:[\s,;$&]|\\q?quad|\\[,;! ]|\\text\s*\{[^{}]*\}|\b(?:and|or)\b)*")
_BRACES = re.compile(r"\\boxed\{|\\.|[{}]", re.DOTALL)
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_ANSWER_IS = re.compile(r"\banswer(?:\s+is\b|\s*[:=])[ \t:=]*(\S[^\n]*)", re.IGNORECASE)
_DOLLAR = re.compile(r"(?<!\\)\$")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_LONGEST_BARE = 100  # characters of a response that is taken as an answer as it stands
_E_NOTATION = re.compile(r"(?<![A-Za-z0-9\\])([0-9]+(?:\.[0-9]*)?)[eE]([+-]?[0-9]+)(?![A-Za-z0-9])")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,\\!|\\,)\s*(?=[0-9]{3}(?![0-9]))")


def warm_up() -> None:
    """Do what only the first request would have to wait for."""
    parse("$1$", parsing_timeout=None)


def reply(request: Request) -> Reply:
    if request.question is Question.compare:
        answer: str | None = request.text
    else:
        answer = final_answer(request.text)
    if request.question is not Question.read and answer is not None and _squeeze(answer) == _squeeze(request.gold):
        return Reply(GradeStatus.correct, answer, "marked")
    gold = parse(_in_dollars(request.gold), parsing_timeout=None)
    if not any(not isinstance(item, str) for item in gold):
        return Reply(GradeStatus.gold_unparsable, answer)
    if request.question is Question.read:
        return Reply(GradeStatus.correct)
    text = _as_mathematics(request.text) if answer is None else _in_dollars(answer)
    found = parse(text, parsing_timeout=None)
    if not found or not (answer is not None or any(not isinstance(item, str) for item in found)):
        return Reply(GradeStatus.no_answer)
    equal = verify(gold, found, timeout_seconds=None)
    status = GradeStatus.correct if equal else GradeStatus.wrong
    return Reply(
        status, answer if answer is not None else str(found[-1]), "last expression" if answer is None else "marked"
    )


def final_answer(response: str) -> str | None:
    r"""What the response marks as its final answer; None when it marks nothing.

    In this order: the content of the last `\boxed{…}`, braces nested, joined by commas with the boxes just before it
    that only punctuation, `and` or `or` separate; the rest of the line after the last `####`; the rest of the line
    after the last `answer is` or `answer:`, unless that is prose.
    """
    boxes = _last_boxes(response)
    if boxes:
        return ", ".join(boxes)
    for pattern in (_HASHES, _ANSWER_IS):
        found = pattern.findall(response)
        if found:
            answer = str(found[-1]).lstrip("* ").rstrip("*. ")
            if answer and not _WORD.search(answer):
                return answer
    return None


def _last_boxes(text: str) -> list[str]:
    """Contents of the last box and of those that belong to it, in the order of the text."""
    boxes: list[str] = []
    limit = len(text)
    for start, end in reversed(_boxes(text)):
        after = end + 1
        if boxes and not (after <= limit and _BETWEEN_BOXES.fullmatch(text, after, limit)):
            break
        content = text[start + len("\\boxed{") : end].strip()
        if content:
            boxes.append(content)
        limit = start
    return boxes[::-1]


def _boxes(text: str) -> list[tuple[int, int]]:
    r"""Start and closing brace of each `\boxed{…}` that closes, by start; `\{` and `\}` are not braces."""
    open_braces: list[int | None] = []
    boxes: list[tuple[int, int]] = []
    for token in _BRACES.finditer(text):
        if token.group() == "}":
            start = open_braces.pop() if open_braces else None
            if start is not None:
                boxes.append((start, token.start()))
        elif token.group().endswith("{") and token.group() != "\\{":
            open_braces.append(token.start() if token.group() != "{" else None)
    return sorted(boxes)


def _squeeze(text: str) -> str:
    return "".join(text.split()).strip("$")


def _in_dollars(text: str) -> str:
    r"""`text` as LaTeX that math-verify looks into: in dollar signs unless it has some.

    What it stumbles over is written otherwise: `4.5e33`, the thousands of `29,\!322`, punctuation at the end.
    """
    text = _E_NOTATION.sub(r"\1 \\times 10^{\2}", _THOUSANDS.sub("", text).strip().rstrip(".,;"))
    return text if _DOLLAR.search(text) else f"${text}$"


def _as_mathematics(response: str) -> str:
    """A short line without words is mathematics as it stands; in anything else math-verify looks for the last."""
    line = response.strip()
    bare = line and len(line) <= _LONGEST_BARE and "\n" not in line and not _WORD.search(line)
    return _in_dollars(line) if bare else response
