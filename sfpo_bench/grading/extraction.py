"""Where a response has its final answer. Every rule has a name; the first that finds something decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.grading.boxes import last_boxes
from sfpo_bench.grading.denials import another_behind, denied_in_sentence, scaled, taken_back, unstated
from sfpo_bench.grading.expressions import Piece, expressions, is_prose, pieces
from sfpo_bench.grading.sentences import DENIES, alternatives_before, chosen_letter, denied_before, first_clause, stated


class Rule(StrEnum):
    """How the final answer was found, in the order in which it is looked for."""

    final_answer_is = "final_answer_is"
    boxed = "boxed"
    hashes = "hashes"
    answer_is = "answer_is"
    whole = "whole"
    last_expression = "last_expression"


@dataclass(frozen=True, slots=True)
class Extraction:
    """The final answer: one text, or those of several boxes that are one list.

    `marked` is True when the response itself says that this is its answer.
    """

    rule: Rule
    texts: tuple[str, ...]

    @property
    def marked(self) -> bool:
        return self.rule not in (Rule.whole, Rule.last_expression)


_FINAL_CHANNEL = re.compile(r"<\|channel\|>final[^<]{0,40}<\|message\|>")
_ANY_CHANNEL = re.compile(r"<\|channel\|>")
_END = re.compile(
    r"<\|(?!channel|message|start\|)[A-Za-z_]{2,30}\|>|<\uff5c[^\uff5c>]{2,40}\uff5c>|</s>|<eos>|<end_of_turn>|<pad>"
    r"|\[/INST\]"
)
_OPENED = re.compile(
    r"<(?:think|thinking|thought|reasoning)>|\u25c1think\u25b7|\[THINK\]|<\|begin_of_thought\|>", re.IGNORECASE
)
_CLOSED = re.compile(
    r"</(?:think|thinking|thought|reasoning)>|\u25c1/think\u25b7|\[/THINK\]|<\|end_of_thought\|>", re.IGNORECASE
)
_LONGEST_TAIL = 4000  # characters at the end in which answers that nothing marks are looked for


def extract(response: str) -> Extraction | None:
    """The final answer of a response; None when there is none."""
    text = spoken(response)
    boxes = last_boxes(text)
    statement = _last_statement(text)
    if statement is not None and boxes is not None and statement.replaces(boxes.start):
        return Extraction(Rule.final_answer_is, (statement.text,))
    if boxes is not None and boxes.denied and statement is not None and statement.start > boxes.start:
        boxes = None
    if boxes is not None:
        texts = boxes.contents if not boxes.denied else (f"not {', '.join(boxes.contents)}",)
        return Extraction(Rule.boxed, texts)
    if (hashed := _behind_hashes(text)) is not None:
        return Extraction(Rule.hashes, (hashed,))
    if statement is not None:
        return Extraction(Rule.answer_is, (statement.text,))
    return _unmarked(text)


def spoken(response: str) -> str:
    """The response without what follows its end token, and without thoughts, finished or not.

    A thought that never ends, or with nothing behind it, leaves what stands before it.
    """
    if channels := list(_FINAL_CHANNEL.finditer(response)):
        response = response[channels[-1].end() :]
    elif _ANY_CHANNEL.search(response):
        return ""
    closed = list(_CLOSED.finditer(response))
    begin = closed[-1].end() if closed else 0
    text = response[begin:]
    if opened := _OPENED.search(text):
        text = text[: opened.start()]
    end = _END.search(text)
    while end is not None and not text[: end.start()].strip():
        text = text[end.end() :]
        end = _END.search(text)
    return text[: end.start()] if end else text


_HASHES = re.compile(r"^[ \t]*####[ \t]*([^\n#]{1,999})$", re.MULTILINE)
_HEADING = re.compile(
    r"\W*(?:\d{1,3}[.):]\s|step\b|case\b|part\b|answer\b|final answer\b|solution\b|conclusion\b)", re.IGNORECASE
)


def _behind_hashes(text: str) -> str | None:
    """The text behind the last `####`, unless that is a heading."""
    found = list(_HASHES.finditer(text))
    if not found:
        return None
    content = found[-1][1].strip().strip("*").strip()
    last_line = not text[found[-1].end() :].strip()
    if not content.strip(" *.$") or _HEADING.match(content):
        return None
    if is_prose(content):
        if not last_line or not expressions(content):
            return None
        return stated(content)
    return content


_ANSWER = (
    r"(?:answers?|correct\s+(?:option|choice)|ans|r[ée]ponse(?:\s+finale)?|respuesta(?:\s+final)?|resposta|risposta|"
    r"antwort|odpowied[zź]|\u043e\u0442\u0432\u0435\u0442|\u7b54\u6848|\u7b54\u3048|\u7b54|\u6b63\u89e3|"
    r"\uc815\ub2f5|\ub2f5|"
    r"\u0627\u0644\u062c\u0648\u0627\u0628|\u0627\u0644\u0625\u062c\u0627\u0628\u0629)"
)
_STATEMENT = re.compile(
    rf"(?P<final>final\s+|finale?\s+)?\b{_ANSWER}\**(?:"
    r"\s*(?:\uc740|\ub294|\u662f|\u4e3a|\u70ba|\u306f|\u0647\u0648|\u0647\u064a)\s*[:\uff1a=]?"
    r"|\s*\**\s*[:\uff1a=]\s*\**"
    r"|\s+(?:is|are|was|would\s+be|should\s+be|must\s+be|est|es|ist|\u00e8|\u00e9)\b\s*[:\uff1a]?"
    r"|\s+(?P<denied>is\s+not|isn't|cannot\s+be|can't\s+be|could\s+be|may\s+be|might\s+be)\b"
    r"|[^\n.:]{1,60}?\s(?:is|are)\s*[:\uff1a]"
    r"|\s*\n)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Statement:
    start: int
    final: bool
    text: str

    def replaces(self, box_start: int) -> bool:
        """True for an explicit final answer behind the last box; a remark about the box is prose."""
        return self.final and self.start > box_start and not is_prose(self.text)


def _last_statement(text: str) -> _Statement | None:
    """The last `the answer is …`, `Answer: …` or the same in another language that states anything."""
    tail_start = max(0, len(text) - 4 * _LONGEST_TAIL)
    denied: _Statement | None = None
    for match in reversed(list(_STATEMENT.finditer(text, tail_start))):
        rest = text[match.end() : match.end() + 1000]
        clause = first_clause(rest)
        if match["denied"]:
            return denied or _Statement(match.start(), False, f"{match['denied']} {clause}")
        found = stated(rest)
        if not found:
            continue
        behind = rest[rest.find(clause) + len(clause) :]
        retracted = taken_back(behind) or another_behind(behind)
        if retracted or unstated(text[: match.start()]) or re.match(r"[\s$)*]*[?\uff1f]", behind):
            denied = denied or _Statement(match.start(), False, f"not {found}")
            if retracted:
                return denied
            continue
        at_line = not text[: match.start()].rpartition("\n")[2].strip(" *#_")
        is_final = (bool(match["final"]) or (":" in match.group() and at_line)) and "\n" not in match.group()
        return _Statement(match.start(), is_final and not is_prose(clause), found)
    return denied


_LONGEST_WHOLE = 200
_SIGNS = "\\\u221e\u2205"  # of LaTeX, infinity, the empty set
_EMPTY_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{?\s*\}?")


def _unmarked(text: str) -> Extraction | None:
    """The whole of a short text that is an answer and nothing else, otherwise the last expression of the text, or the
    only letter of a choice in it."""
    line = text.strip().removeprefix("<answer>").removesuffix("</answer>").strip()
    short = 0 < len(line) <= _LONGEST_WHOLE and "\n\n" not in line
    says_something = any(character.isalnum() or character in _SIGNS for character in _EMPTY_BOX.sub("", line))
    asked = f"maybe {line}"
    if short and says_something and not is_prose(line):
        return Extraction(Rule.whole, (asked if line[-1] in "?\uff1f" else line,))
    tail = text[-_LONGEST_TAIL:]
    found = pieces(tail)
    if found:
        return Extraction(Rule.last_expression, (_last(tail, found[-1]),))
    letter = chosen_letter(tail[-500:])
    if letter is not None:
        return Extraction(Rule.last_expression, (letter,))
    if short and says_something and len(line.split()) <= 8:
        return Extraction(Rule.whole, (asked if line[-1] in "?\uff1f" else line,))
    return None


def _last(tail: str, piece: Piece) -> str:
    """The last expression, with the word before it that denies, bounds or changes it, or with its alternative."""
    if alternative := alternatives_before(tail, piece):
        return alternative
    found = scaled(piece.text, tail[piece.end :])
    if denied_before(tail, piece.start):
        words = list(DENIES.finditer(tail[max(0, piece.start - 40) : piece.start]))
        return f"{words[-1].group()} {found}"
    return f"not {found}" if denied_in_sentence(tail, piece.start, piece.end) else found
