r"""Detects text around an answer that denies it, asks for it, supposes it, or takes it back."""

from __future__ import annotations

import re

from sfpo_bench.grading.expressions import expressions
from sfpo_bench.grading.number_words import SCALES

_OPENED = r"[\s$\\(\[:*{]{0,10}"  # delimiters between a word and the formula behind it
_CLOSED = r"[\s$)\]},.*\\]{0,12}"
_HELPERS = r"(?:(?:be|been|is|equals?|equal\s+to|the|possibly|really|actually|simply|answer|solution)\s+){0,4}"
_NOT = r"(?:\bnot|n't|\bcannot|\bnever|\bneither|\bnor)"
_EXCLUDE = (
    r"(?:exclud(?:e|es|ed|ing)|rul(?:e|es|ed|ing)\s+out|reject(?:s|ed|ing)?|discard(?:s|ed|ing)?|"
    r"eliminat(?:e|es|ed|ing))"
)
_NO_SENTENCE_END = r"(?:(?!\b(?:so|then|hence|thus|therefore|giving|gives|but)\b)[^.,;:?!\n]){0,60}"
_DENIED_BEFORE = re.compile(
    rf"{_NOT}\s+{_HELPERS}{_OPENED}$"
    rf"|{_NOT}\s+(?:think|believe|expect|agree|claim|say)\b{_NO_SENTENCE_END}$"
    r"|\b(?:doubt|unlikely|false|untrue|unclear|unsure|not\s+(?:true|clear|sure|certain|the\s+case))\s+"
    rf"(?:that|if|whether)?{_NO_SENTENCE_END}$"
    rf"|\bimpossible\s+(?:that|for\s+(?:it|this|that|the\s+\w+)\s+to\s+be)\b{_NO_SENTENCE_END}$"
    rf"|\b{_EXCLUDE}\s+{_OPENED}$"
    r"|(?:\\neq?|\\not\s?=|\u2260)\s?$"
    r"|\b(?:minus|negative|twice|double|triple|half|half\s+of|(?:square|cube)(?:\s+root)?\s+of|reciprocal\s+of|"
    rf"opposite\s+of|inverse\s+of)\s+{_OPENED}$"
    rf"|(?<!\bno )(?<!\bnot )\b(?:less|more|greater|smaller|larger|fewer|bigger)\s+than\s+{_OPENED}$"
    r"|\banswer\s+(?:is|must\s+be|should\s+be|has\s+to\s+be)\s+(?:at\s+least|at\s+most|above|below|under|over|around)\s+"
    rf"{_OPENED}$",
    re.IGNORECASE,
)
_WRONG = r"(?:wrong|incorrect|false|impossible|invalid|absurd|excluded|rejected|extraneous|ruled\s+out|too\s+\w+)\b"
_RIGHT = (
    r"(?:be\s+|seem\s+|look\s+)?(?:the\s+|an?\s+)?"
    r"(?:right|correct|true|valid|possible|answer|solution|allowed|it)\b"
)
_SAID_OF_IT = (
    rf"(?:'s|\s+(?:is|was|must\s+be|would\s+be|should\s+be|seems|looks))\s+(?:also\s+|clearly\s+|obviously\s+)?{_WRONG}"
    rf"|(?:'s|\s+(?:is|was|would))\s+not\s+{_RIGHT}"
    rf"|\s+(?:isn't|wasn't|cannot|can't|can\s+not|could\s+not|couldn't|wouldn't)\s+{_RIGHT}"
    r"|\s+(?:does\s+not|doesn't)\s+(?:work|satisfy|hold|solve|fit)\b|\s+fails\b"
)
_DENIED_BEHIND = re.compile(
    rf"{_CLOSED}\s(?:is|was|would\s+be|seems|looks)\s+(?:also\s+)?not\b"
    rf"|{_CLOSED}(?:{_SAID_OF_IT})"
    rf"|{_CLOSED}\(\s?{_WRONG}"
    rf"|{_CLOSED}\s(?:is\s+an?\s+)[^.\n]{{0,30}},\s+not\s+the\s+answer\b"
    rf"|{_CLOSED}(?:but\s+(?:actually|no|wait)\b|no,\s+wait\b)",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"[\s$)\]},*\\]{0,8}[?\uff1f]")
_REMARK = re.compile(
    r"[\s$)\]},.?!*\\]{0,12}(?:(?:no|hmm+|wait|but|however|actually|oh|sorry)\b[\s,.!]{0,3}){0,3}(?:that|this|it)"
    rf"(?:{_SAID_OF_IT})",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"\s{0,3}(?:(?:or|maybe|perhaps|possibly|alternatively)\b"
    r"|(?:no|wait|actually|sorry|correction|hmm+)\b[^.\n]{0,30}\b(?:it|it's|answer|should|make\s+that)\b)",
    re.IGNORECASE,
)


def denied_around(before: str, behind: str) -> bool:
    """True when the text before or behind an answer denies it or asks whether it is right.

    Bounds such as `at most` before it say nothing: the answer may be the largest number.
    """
    sentence = re.split(r"[.!?\n](?=\s|$)|\n", before[-160:])[-1]
    return bool(_DENIED_BEFORE.search(sentence) or _DENIED_BEHIND.match(behind) or _QUESTION.match(behind)) or (
        taken_back(behind)
    )


_SIGN_BEFORE = re.compile(r"(?<=[=$({\[,&])\s?[-\u2212]\s?\Z|(?<=\\\()\s?-\s?\Z")
_POWER_BEHIND = re.compile(r"\^(?:\{[^{}\s]{1,20}\}|\\circ|\w)|\\pi(?![A-Za-z])|!(?=\$)")
_SCALE_BEHIND = re.compile(rf"[$\\)\]]{{0,4}}\s{{0,3}}({'|'.join(sorted(SCALES, key=len, reverse=True))})\b")


def scaled(found: str, behind: str) -> str:
    """`found` with the word right behind it that scales it, such as `million`."""
    scale = _SCALE_BEHIND.match(behind)
    return f"{found} {scale[1]}" if scale else found


def with_marks(content: str, before: str, behind: str) -> str:
    r"""What a box holds with the sign before the box, and the exponent or scale behind it: `-\boxed{5}`."""
    if power := _POWER_BEHIND.match(behind):
        content = f"({content}){power.group()}"
    elif scale := _SCALE_BEHIND.match(behind):
        content = f"{content} \\text{{ {scale[1]}}}"
    return f"-({content})" if _SIGN_BEFORE.search(before[-4:]) else content


def taken_back(behind: str) -> bool:
    """True when what follows an answer calls it wrong."""
    return _REMARK.match(behind) is not None


def another_behind(behind: str) -> bool:
    """True when the sentence behind an answer offers another value instead of it."""
    sentence = re.split(r"[.!?\n](?=\s|$)|\n", behind.lstrip(" .!*$"), maxsplit=1)[0]
    return _ANOTHER.match(sentence) is not None and bool(expressions(sentence))


_UNSTATED = re.compile(
    rf"(?:{_NOT}\s+(?:\w+\s+){{0,2}}(?:think|believe|true|sure|certain|clear|convinced|know|say|claim|case)|"
    r"\b(?:doubt|unlikely|impossible|unsure|unclear|false|untrue|suppose|assume|assuming|imagine|pretend|whether|if|claim))"
    r"(?:\s+(?:that|if|whether|to\s+say))?\s+(?:the\s+|my\s+|our\s+|your\s+)?(?:final\s+|correct\s+)?$",
    re.IGNORECASE,
)


def unstated(before: str) -> bool:
    """True when the words before `the answer is` deny or only suppose it."""
    return _UNSTATED.search(before[-80:]) is not None


_NEGATIONS = (
    r"\b(?:not|never|cannot|nicht|niet|inte|ikke|nie|nem|n\u00e3o|nao|non|no|pas|nunca|jamais|"
    r"\u043d\u0435|\u03b4\u03b5\u03bd|\u0644\u064a\u0633\u062a?|\u0644\u0627|\u05dc\u05d0)\b|n't"
)
_COPULAS = (
    r"(?:be|been|is|are|was|equals?|equal|to|the|an?|really|exactly|possibly|actually|answer|es|ser|igual|est|\u00e9gale?|\u00e0|"
    r"ist|gleich|\u00e8|\u00e9|jest|er|\u00e4r|\u044d\u0442\u043e)"
)
_NEGATED = re.compile(rf"(?:{_NEGATIONS})\s+(?:{_COPULAS}\s+){{0,4}}{_OPENED}$", re.IGNORECASE)
# Where the negation follows what it denies: Japanese, Korean, Hindi.
NEGATIONS_BEHIND = (
    r"\u3067\u306f\u306a|\u3067\u306f\u3042\u308a\u307e\u305b|\u3058\u3083\u306a|\u3067\u306a\u3044|"
    r"\uc544\ub2c8|\uc544\ub2d9|\uc544\ub2cc|\u0928\u0939\u0940\u0902"
)
_NEGATED_BEHIND = re.compile(
    rf"[\s$)\\\]]{{0,6}}\S{{0,3}}?\s?(?:{NEGATIONS_BEHIND}|de\u011fil\b)",
    re.IGNORECASE,
)
_HYPOTHESIS = re.compile(r"\W*(?:let|suppose|assume|assuming|imagine|if|consider)\b[^.,;\n]{0,25}$", re.IGNORECASE)


def denied_in_sentence(text: str, start: int, end: int) -> bool:
    """True when the sentence around an unmarked expression denies it, asks for it or supposes it."""
    before, behind = text[max(0, start - 160) : start], text[end : end + 200]
    sentence = re.split(r"[.!?\u3002\n](?=\s|$)|\n", before)[-1]
    if _NEGATED.search(sentence) or _NEGATED_BEHIND.match(behind) or _DENIED_BEHIND.match(behind) or taken_back(behind):
        return True
    if re.match(r"[^.!?\n]{0,60}[?\uff1f]", behind) or _HYPOTHESIS.match(sentence):
        return True
    return re.search(rf"\b{_EXCLUDE}\s+{_OPENED}$", sentence, re.IGNORECASE) is not None
