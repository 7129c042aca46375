"""The answer in a sentence such as `the answer is 6 because 6^2 = 36`: the part that states it, or nothing."""

from __future__ import annotations

import re

from sfpo_bench.grading.denials import NEGATIONS_BEHIND, scaled
from sfpo_bench.grading.expressions import Piece, expressions, is_prose

_SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])(?<!\bi\.e)(?<!\be\.g)(?<!\\)[.!?\u3002](?=\s|$|\*)|\n")
# Where a sentence goes on with a reason, a condition or a remark.
_REASON = re.compile(
    r"[\s,;(\u2014-]{1,4}(?:because|since|where|when|if|which|due to|given that|as long as|i\.e\.|e\.g\.|after|"
    r"assuming|but|not|it|they|this|whereas|while|so|thus|hence|namely|with|by(?=\s+[a-z]{3})|\u56e0\u4e3a)(?![\w'])"
    r"|\sas\s|\sfor\s(?=[^,]{0,25}[=<>\u2264\u2265]|\\?\$?[a-z]\s?\\in|(?:all|any|every|each|some|it|the|we)\b)",
    re.IGNORECASE,
)
# Words that make another value, a bound or a denial of the number behind or before them.
DENIES = re.compile(
    r"\b(?:not|cannot|never|neither|nor|no|isn|wasn|doesn|can't|isn't|wrong|incorrect|false|impossible|either|maybe|"
    r"perhaps|possibly|unsure|at least|at most|less than|more than|greater than|fewer than|larger than|smaller than|"
    r"bigger than|between|below|above|under|over|twice|double|triple|half of|thrice|multiple of|multiples of|power of|"
    r"divisor of|factor of|square of|cube of|square root of|root of|times|minus|negative|plus|exceeds?|near|close to|"
    r"up to|within|around|roughly|approximately|about|almost|nearly|other than|different from|except|unknown|"
    r"reciprocal of|opposite of|inverse of|divisible by|multiples? of|percent of|percentage of|fraction of|log of|"
    r"nicht|kein|keine|weniger als|mehr als|gr\u00f6\u00dfer als|kleiner als|"
    r"mindestens|h\u00f6chstens|zwischen|entweder|vielleicht|"
    r"pas|ni|moins|plus de|plus grand|plus petit|entre|soit|peut-\u00eatre|"
    r"inf\u00e9rieur|sup\u00e9rieur|au moins|au plus|"
    r"menos|m\u00e1s de|mayor que|menor que|al menos|como m\u00e1ximo|quiz\u00e1s|tal vez|n\u00e3o|non|meno|"
    r"niet|inte|ikke|nie|nem|\u043d\u0435|\u03b4\u03b5\u03bd|de\u011fil)\b"
    rf"|{NEGATIONS_BEHIND}"
    r"|\u4e0d\u662f|\u81f3\u5c11|\u81f3\u591a|\u4e0d\u7b49\u4e8e|\u5927\u4e8e|\u5c0f\u4e8e|\u8d85\u8fc7|\u4e0d\u8db3|\u8d1f|\u5927\u7ea6|\u6216|\u4e0d\u4e3a",
    re.IGNORECASE,
)
_FOCUS = re.compile(r"\s(?:is|are|equals|equal to)\s|(?<![<>!])=(?!=)")
# A range, a part of something, and alternatives in languages whose `or` is a letter.
_SEVERAL = re.compile(
    r"\d\$?\s*(?:to|bis|\u00e0|hasta|\u81f3|\u5230|\u2013|\u2014)\s*\$?\d|\bpercent\s+of\b|%\s+of\b"
    r"|\d\s+(?:out\s+)?of\s+(?:the\s+)?\d|\d\$?,?\s+(?:o|oder|ou|oppure|lub|\u0438\u043b\u0438)\s+\$?[-\d\\]"
)
_DISPLAY = re.compile(r"(\\\[|\$\$)(.{1,900}?)(\\\]|\$\$)", re.DOTALL)
_LEADING = re.compile(
    r"(?:that\s+)?(?:for sure|definitely|clearly|indeed|then|thus|simply|just|therefore|obviously|exactly)\s+",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(r"(?:[\s*:]|=>|->|=)*")
_CHOICE = re.compile(r"(?:option|choice|answer)?\s*(\([A-J]\)|[A-J](?=[\s).:,]|$))(?!\s+[a-z])")


def stated(rest: str) -> str | None:
    """The answer in what follows `the answer is`: the clause that states it, or the expression in that clause.

    A clause that denies, bounds or changes a number comes back whole, so that it equals no number.
    """
    rest = _LEAD_IN.sub("", rest, count=1)
    display = _DISPLAY.match(rest)
    if display:
        return display[2].strip()
    clause = first_clause(rest)
    if not clause:
        return None
    if not is_prose(clause):
        return clause
    if DENIES.search(clause):
        return clause
    choice = _CHOICE.match(clause)
    if choice and not clause.startswith("A "):
        return choice[1]
    if _SEVERAL.search(clause):
        return clause
    focus = _focus(clause)
    found = expressions(focus) or expressions(clause)
    if len(found) > 1 and re.search(r"\b(?:and|or)\b", focus):
        return clause
    if found:
        alone = len(set(found)) > 1 or (is_prose(focus) and not _only_a_noun(focus, found[0]))
        return scaled(found[0], clause[clause.find(found[0]) + len(found[0]) :]) if alone else focus
    return clause if len(clause.split()) <= 8 else None


def _focus(clause: str) -> str:
    """What stands behind the last `is` or `=`, unless the clause starts with the answer and then goes on in words."""
    first = next(iter(expressions(clause)), "")
    behind = clause.lstrip(" $(\\[").removeprefix(first)
    head = _FOCUS.split(behind)[0]
    if first and behind != clause.lstrip(" $(\\[") and head != behind and (is_prose(head) or set(head) & set(",:;")):
        return clause if re.search(r"\b(?:and|or)\b", head) else first
    return _FOCUS.split(clause)[-1]


def _only_a_noun(text: str, found: str) -> bool:
    """True when the text is the expression with a noun behind it, which may be a unit or scale it."""
    return text.strip(" $*").startswith(found.strip(" $")) and len(text.split()) <= 6


def first_clause(rest: str) -> str:
    """The first sentence, up to a reason, condition or remark."""
    end = _SENTENCE_END.search(rest)
    sentence = (rest[: end.start()] if end else rest).strip(" *")
    sentence = _LEADING.sub("", sentence, count=1) if _LEADING.match(sentence) else sentence
    for cut in _REASON.finditer(sentence):
        head = sentence[: cut.start()]
        if head.strip() and head.count("$") % 2 == 0 and head.count("{") == head.count("}"):
            return head.strip(" *,;")
    return sentence.strip(" *")


_GUARDED = re.compile(
    rf"(?:{DENIES.pattern})\s*(?:be\s+|es\s+|is\s+|\u662f|(?:or\s+)?equal\s+(?:to\s+)?|to\s+)?[$\\(\[]{{0,4}}$",
    re.IGNORECASE,
)


def denied_before(text: str, place: int) -> bool:
    """True when a word right before `place` denies, bounds or changes what stands there."""
    return place > 0 and _GUARDED.search(text[max(0, place - 40) : place]) is not None


_ALTERNATIVE = re.compile(
    r"((?:-?\d{1,9}(?:\.\d{1,9})?,\s){0,8}\S{1,40}?)\$?(?:,?\s+(or|oder|ou|and|und|et|to|through|bis)\s+(?:maybe\s+|perhaps\s+)?|(?<=\d)(,\s|\u2013|/|;\s))"
    r"[$\\(\[]{0,3}\Z"
)


def alternatives_before(text: str, piece: Piece) -> str | None:
    """`a or b` where b, the last piece, has `or`, `and` or the sign of a range or list right before it, a number before
    that; None elsewhere. A comma counts only where the sentence ends behind b."""
    match = _ALTERNATIVE.search(text[max(0, piece.start - 60) : piece.start])
    if match is None or "=" in piece.text or not match[1].lstrip("$(")[-1:].isdecimal():
        return None
    sign = match[2] or match[3].strip()
    if sign in ",;" and not re.match(r"[\s$.)*]*\Z", text[piece.end :]):
        return None
    return f"{match[1].lstrip('$')} {'to' if sign == chr(0x2013) else sign} {piece.text}"


_LETTER = re.compile(r"(?<![A-Za-z0-9_\\'$])\(?([A-J])\)?(?![A-Za-z0-9_'$^])")
_NOT_LETTERS = re.compile(
    r"(?i:\bnot|n't|\bcannot|\bnor|\bneither|\brul\w+ out|\b(?:eliminat|exclud|reject|discard)\w+"
    r"|\u4e0d\u662f|\u4e0d\u9009)"
    r"\s*(?:be\s+|option\s+|choice\s+)?\(?[A-J]\)?"
    r"(?:\s?(?:or|and|nor|,|\u6216|\u3001)\s?\(?[A-J]\)?){0,8}(?![A-Za-z])"
)


_WRONG_LETTERS = re.compile(
    r"(?<![A-Za-z])\(?[A-J]\)?\s+(?i:(?:is|was|looks|seems)\s+(?:also\s+)?(?:not|wrong|incorrect|false|out)|isn't|cannot|can't)\b"
    r"|(?<![A-Za-z])\(?[A-J]\)?\s?[?\uff1f]"
)


def chosen_letter(text: str) -> str | None:
    """The one letter of a choice that `text` names without denying it; None for none or several."""
    left = _WRONG_LETTERS.sub(" ", _NOT_LETTERS.sub(" ", text))
    found = [match for match in _LETTER.finditer(left) if not _is_word(left, match)]
    letters = {match[1] for match in found}
    return next(iter(letters)) if len(letters) == 1 else None


def _is_word(text: str, match: re.Match[str]) -> bool:
    """`A` before a word, and the pronoun `I`."""
    behind = text[match.end() : match.end() + 2]
    bare = not match.group().startswith("(")
    return bare and (
        match[1] == "I" or (match[1] == "A" and len(behind) == 2 and behind[0] == " " and behind[1].islower())
    )
