r"""Boxed answers: `\boxed{…}` and its kin, in one pass over the text whatever its braces.

Several boxes are one answer where nothing but commas, `and`, `or` or a few words with one of these stand between them.
Otherwise the last box counts. A box that is repeated is one box.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from sfpo_bench.grading.denials import denied_around, with_marks

_TOKEN = re.compile(r"\\\\?(?:begin)?(?:boxed|fbox|framebox)\s*\{|(?<![A-Za-z\\])b?oxed\{|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\\boxed\s*([-+]?\d[\d.,/]{0,50})|\\boxed\s+([A-Z])(?=[\s.$]|$)")
_ENVIRONMENT = re.compile(r"\\begin\{boxed\}(.{0,2000}?)\\end\{boxed\}", re.DOTALL)
_PLACEHOLDER = re.compile(
    r"\W*(?:\\(?:text|mathrm|mathbf)\s*\{)?\W*(?:your |the |final |my )*"
    r"(?:answer|result|number|solution|value|expression)?(?: here)?\W*",
    re.IGNORECASE,
)
# What may stand between two boxes of one answer, as in `\boxed{1} \text{ and } \boxed{2}` …
_JOINED = re.compile(
    r"(?:[\s,;:$&/|\u3001\uff0c\uff1b=\u2192\u21d2()*]"
    r"|\\(?:q?quad|[,;:!() \[\]\\]|rightarrow|to|Rightarrow|lor|land)(?![A-Za-z])"
    r"|\\text\s?\{[\s,;]{0,5}(?:and|or)?[\s,;]{0,5}\}|\b(?:and|or|und|oder|et|ou)\b|\u6216|\u548c)*"
)
# … and what says that the later box takes the place of the earlier one.
_LATER = re.compile(
    r"[.!?\u3002](?:\s|$)|\n\s*\n|\b(?:then|so|hence|thus|therefore|but|however|instead|actually|rather|wait|no|which|because|since|"
    r"gives|giving|becomes|yields|not|finally|is|are|was)\b",
    re.IGNORECASE,
)
_LOOSE_LENGTH = 70
_JOINING = re.compile(r"\b(?:and|or|vs|versus|as well as)\b|[,;]")
# Boxes of cases, options or names, and a sentence that offers another box: neither box takes the other's place.
_BESIDE = re.compile(
    r"[\s$.;,]*(?:option|possibility|alternative|candidate|case)\s+\w{1,4}\s?[:.)=]?[\s$*]*"
    r"|[\s.?!$)]*(?:or|maybe|perhaps|possibly|alternatively)\b(?!\s+rather)[^.\n?!]{0,40}"
    r"|[\s.$)]*(?:if|when|unless|otherwise|in case)\b(?![^\n]*\b(?:but|wait|actually|then|so|we)\b)[^\n]{0,80}"
    r"|[^\n]{0,60}\b(?:(?:could|may|might|can)\s+(?:also|equally|just\s+as\s+well)\b"
    r"|another\s+(?:possible\s+|valid\s+)?(?:answer|solution|value|option|possibility)\b)[^.\n]{0,40}"
    r"|[^\n]{0,40}\b(?:could|may|might)\s+be\s[\s$]*"
    r"|(?:[\s$,;]|\\q?quad|\\[,;: ])+[A-Za-z](?:_\{?\w\}?)?\s*=\s*\$?",
    re.IGNORECASE,
)
_IF = re.compile(r"\bif\b")
_CHANGED = re.compile(r"\b(?:but|wait|actually|however|instead|then|so)\b", re.IGNORECASE)
_HEDGE = re.compile(r"\b(?:maybe|perhaps|possibly|otherwise|alternatively|or else)\b|\u6216", re.IGNORECASE)
_UNDECIDED = re.compile(
    r"(?:cannot|can't|can not|could not|couldn't|unable to) (?:decide|determine|tell|say|choose)"
    r"|not (?:sure|certain|clear) (?:which|if|whether)"
    r"|\bunsure\b|either (?:one|of (?:them|these|the two)|could|may|might|is possible)|both (?:are|seem|could)|"
    r"(?:do not|don't) know which",
    re.IGNORECASE,
)
_OR_ANOTHER = re.compile(
    r"[\s$)\]},]{0,12}(?:\(?\s?(?:or|maybe|perhaps|possibly|alternatively)\b[^.\n]{0,30}?)([-+]?[\d\\][^\s.,)$]{0,40})"
)
_ONE_OR = re.compile(
    r"(?<![\w.])([-+]?\d[\d.,/]{0,20})\$?,?\s+(?:or|oder|ou)\s+(?:maybe\s+|perhaps\s+)?[\s$\\(\[*]{0,6}\Z"
)


@dataclass(frozen=True, slots=True)
class Boxes:
    """The contents of the boxes that are the answer, in the order of the text. `start` is where the last one starts.

    `denied` is True where the text says that the box is not the answer.
    """

    contents: tuple[str, ...]
    start: int
    denied: bool = False


def last_boxes(text: str) -> Boxes | None:
    """The boxes that are the answer of `text`; None when no box closes around anything."""
    spans = [span for span in _spans(text) if not _PLACEHOLDER.fullmatch(text[span[1] : span[2]][:60])]
    if not spans:
        return _unusual(text)
    chosen = [_not_denied(text, spans)]
    start, _, end = chosen[0]
    tail = text[end + 1 : end + 400]
    if _UNDECIDED.search(tail):
        chosen = _outermost(spans)
    else:
        for span in reversed(spans[: spans.index(chosen[0])]):
            between = text[span[2] + 1 : chosen[0][0]]
            if span[2] > chosen[0][0] or not joins(between):
                break
            chosen.insert(0, span)
    contents = [_content(text, span) for span in chosen]
    kept = _without_repetitions(contents, [text[before[2] + 1 : after[0]] for before, after in pairwise(chosen)])
    if other := _OR_ANOTHER.match(tail):
        kept.append(other[1])
    if earlier := _ONE_OR.search(text[max(0, chosen[0][0] - 60) : chosen[0][0]]):
        kept.insert(0, earlier[1])
    asked = kept[-1].rstrip(" }$.").endswith(("?", "\uff1f"))
    return Boxes(tuple(kept), start, asked or denied_around(text[max(0, start - 160) : start], tail))


_INSTEAD = re.compile(r"(?:[,;\s$)(]|\\\))*(?:and\s+|but\s+)?(?:not|rather\s+than|instead\s+of)\s+[\s$\\(\[]{0,6}")


def _not_denied(text: str, spans: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    r"""The last box, or the one before it in `it is \boxed{8}, not \boxed{7}`."""
    if len(spans) > 1 and _INSTEAD.fullmatch(text[spans[-2][2] + 1 : spans[-1][0]][:60]):
        return spans[-2]
    return spans[-1]


def _content(text: str, span: tuple[int, int, int]) -> str:
    start, inner, close = span
    return with_marks(text[inner:close].strip(), text[max(0, start - 8) : start], text[close + 1 : close + 40])


def joins(between: str) -> bool:
    """True when two boxes with this text between them are one answer."""
    if len(between) > 200 or "\n\n" in between:
        return False
    if _JOINED.fullmatch(between) or _BESIDE.fullmatch(between):
        return True
    if len(between) > _LOOSE_LENGTH:
        return False
    if re.search(r"[.!?](?:\s|$)", between):
        return False
    if _HEDGE.search(between) or (_IF.search(between) and not _CHANGED.search(between)):
        return True
    return bool(_JOINING.search(between)) and not _LATER.search(between)


def loose_boxes(text: str) -> tuple[str, ...]:
    """All boxes of a gold solution that end it with no more than signs between them, as one list."""
    spans = _outermost(_spans(text))
    chosen = spans[-1:]
    for span in reversed(spans[:-1]):
        between = text[span[2] + 1 : chosen[0][0]]
        if len(between) > _LOOSE_LENGTH or not (re.fullmatch(r"[^A-Za-z0-9\\]*", between) or _JOINING.search(between)):
            break
        chosen.insert(0, span)
    return tuple(text[inner:close].strip() for _, inner, close in chosen)


def _outermost(spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The boxes that are in no other box."""
    kept: list[tuple[int, int, int]] = []
    for span in spans:
        if not kept or span[0] > kept[-1][2]:
            kept.append(span)
    return kept


def _without_repetitions(contents: list[str], between: list[str]) -> list[str]:
    """Without boxes that repeat the one before. Two equal boxes with a comma or a word between them are two values."""
    kept = contents[:1]
    for content, text in zip(contents[1:], between, strict=False):
        separate = re.search(r"[,;]|\b(?:and|or)\b", text) is not None
        if text.strip(" $") == "=":
            kept[-1] = f"{kept[-1]} = {content}"
        elif separate or "".join(content.split()) != "".join(kept[-1].split()):
            kept.append(content)
    return kept


def _spans(text: str) -> list[tuple[int, int, int]]:
    """Start, begin of the content and closing brace of each box that closes around something, by start."""
    open_braces: list[tuple[int, int] | None] = []
    spans: list[tuple[int, int, int]] = []
    for token in _TOKEN.finditer(text):
        found = token.group()
        if found == "}":
            opened = open_braces.pop() if open_braces else None
            if opened is not None and text[opened[1] : token.start()].strip():
                spans.append((*opened, token.start()))
        elif found == "{":
            open_braces.append(None)
        elif found.endswith("{") and found != "\\{":
            open_braces.append((token.start(), token.end()))
    return sorted(spans)


def _unusual(text: str) -> Boxes | None:
    r"""`\boxed 5`, `\boxed5` and the environment `boxed`."""
    environments = list(_ENVIRONMENT.finditer(text))
    if environments and environments[-1][1].strip():
        return Boxes((environments[-1][1].strip(),), environments[-1].start())
    found = list(_UNBRACED.finditer(text))
    if not found:
        return None
    content = (found[-1][1] or found[-1][2]).rstrip(".,;/")
    return Boxes((content,), found[-1].start()) if content else None
