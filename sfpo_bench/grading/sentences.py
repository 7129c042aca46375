"""The answer in a sentence such as `the answer is 6 because 6^2 = 36`: the part that states it, or nothing."""

from __future__ import annotations

import re

from sfpo_bench.grading.expressions import expressions, is_prose

_SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])(?<!\bi\.e)(?<!\be\.g)(?<!\\)[.!?\u3002](?=\s|$|\*)|\n")
# Where a sentence goes on with a reason, a condition or a remark.
_REASON = re.compile(
    r"[\s,;(\u2014-]{1,4}(?:because|since|where|when|if|which|due to|given that|as long as|i\.e\.|e\.g\.|after|"
    r"assuming|but|not|it|they|this|whereas|while|so|thus|hence|namely|with|\u56e0\u4e3a)(?![\w'])"
    r"|\sas\s|\sfor\s(?=[^,]{0,25}[=<>\u2264\u2265]|\\?\$?[a-z]\s?\\in|(?:all|any|every|each|some|it|the|we)\b)",
    re.IGNORECASE,
)
# Words that make another value, a bound or a denial of the number behind or before them.
DENIES = re.compile(
    r"\b(?:not|cannot|never|neither|nor|no|isn|wasn|doesn|can't|isn't|wrong|incorrect|false|impossible|either|maybe|"
    r"perhaps|possibly|unsure|at least|at most|less than|more than|greater than|fewer than|larger than|smaller than|"
    r"bigger than|between|below|above|under|over|twice|double|triple|half of|thrice|multiple of|multiples of|power of|"
    r"divisor of|factor of|square of|cube of|square root of|root of|times|minus|negative|plus|exceeds?|near|close to|"
    r"up to|within|around|roughly|approximately|about|almost|nearly|other than|different from|except|unknown)\b"
    r"|\u4e0d\u662f|\u81f3\u5c11|\u81f3\u591a",
    re.IGNORECASE,
)
_FOCUS = re.compile(r"\s(?:is|are|equals|equal to)\s|(?<![<>!])=(?!=)")
_DISPLAY = re.compile(r"(\\\[|\$\$)(.{1,900}?)(\\\]|\$\$)", re.DOTALL)
_LEADING = re.compile(
    r"(?:that\s+)?(?:for sure|definitely|clearly|indeed|then|thus|simply|just|therefore|obviously|exactly)\s+",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"(?:option|choice|answer)?\s*(\([A-J]\)|[A-J](?=[\s).:,]|$))(?!\s+[a-z])")


def stated(rest: str) -> str | None:
    """The answer in what follows `the answer is`: the clause that states it, or the expression in that clause.

    A clause that denies, bounds or changes a number comes back whole, so that it equals no number.
    """
    rest = rest.lstrip(" \t\n*:=>")
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
    focus = _FOCUS.split(clause)[-1]
    found = expressions(focus) or expressions(clause)
    if len(found) > 1 and re.search(r"\b(?:and|or)\b", focus):
        return clause
    if found:
        return found[0] if len(set(found)) > 1 or (is_prose(focus) and not _only_a_noun(focus, found[0])) else focus
    return clause if len(clause.split()) <= 8 else None


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


_GUARDED = re.compile(rf"(?:{DENIES.pattern})\s+(?:be\s+|equal\s+(?:to\s+)?|to\s+)?[$\\(\[]{{0,4}}$", re.IGNORECASE)


def denied_before(text: str, found: str) -> bool:
    """True when the last place of `found` in `text` has a word right before it that denies, bounds or changes it."""
    place = text.rfind(found)
    return place > 0 and _GUARDED.search(text[max(0, place - 40) : place]) is not None


_ALTERNATIVE = re.compile(r"(\S{1,40}?)\$?,?\s+(?:or|oder|ou)\s+(?:maybe\s+|perhaps\s+)?[$\\(\[]{0,3}$")


def alternatives_before(text: str, found: str) -> str | None:
    """`a or b` where the last place of `found`, b, has `or` right before it; None elsewhere."""
    place = text.rfind(found)
    match = _ALTERNATIVE.search(text[max(0, place - 60) : place]) if place > 0 else None
    return f"{match[1].lstrip('$')} or {found}" if match and any(map(str.isdigit, match[1])) else None


_LETTER = re.compile(r"(?<![A-Za-z0-9_\\'$])\(?([A-J])\)?(?![A-Za-z0-9_'$^])")
_NOT_LETTERS = re.compile(
    r"(?:\bnot|n't|\bcannot|\bnor|\bneither|\u4e0d\u662f|\u4e0d\u9009)\s*(?:be\s+|option\s+|choice\s+)?\(?[A-J]\)?"
    r"(?:\s?(?:or|and|nor|,|\u6216|\u3001)\s?\(?[A-J]\)?){0,8}(?![A-Za-z])"
)


def chosen_letter(text: str) -> str | None:
    """The one letter of a choice that `text` names without denying it; None for none or several."""
    left = _NOT_LETTERS.sub(" ", text)
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
