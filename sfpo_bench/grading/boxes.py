r"""Boxed answers: `\boxed{…}` and its kin, in one pass over the text whatever its braces."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\\\\?(?:begin)?(?:boxed|fbox|framebox)\s*\{|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\\boxed\s+([^\s{}$\\]{1,50})|\\boxed(\d[\d.,]{0,50})")
_ENVIRONMENT = re.compile(r"\\begin\{boxed\}(.{0,2000}?)\\end\{boxed\}", re.DOTALL)
# What may stand between two boxes of one answer, as in `\boxed{1} \text{ and } \boxed{2}` …
_TIGHT = re.compile(
    r"(?:[^A-Za-z0-9\\]|\\q?quad|\\[,;:!() \[\]]|\\text\s*\{[\s,;]*(?:and|or)?[\s,;]*\}|\b(?:and|or)\b)*"
)
# … and, with words in it, between two that may be one: `\boxed{1} papers and \boxed{2} bins`.
_LOOSE_LENGTH = 70
_LOOSE = re.compile(r"\b(?:and|or)\b|[,;]")


@dataclass(frozen=True, slots=True)
class Boxes:
    """The contents of the boxes that end a text: those that are one answer beyond doubt, and those that may be."""

    tight: tuple[str, ...]
    loose: tuple[str, ...]


def last_boxes(text: str) -> Boxes | None:
    """The last box and those that belong to it, in the order of the text; None when no box closes around anything."""
    spans = _spans(text)
    if not spans:
        return _unusual(text)
    contents: list[str] = []
    tight = 0
    start_after = len(text)
    for start, inner, end in reversed(spans):
        if contents:
            if end + 1 > start_after:
                break  # around the box taken already
            between = text[end + 1 : start_after]
            joined = len(between) <= 200 and _TIGHT.fullmatch(between) is not None
            if not joined and not (len(between) < _LOOSE_LENGTH and _LOOSE.search(between)):
                break
            if joined and tight == len(contents):
                tight += 1
        else:
            tight = 1
        contents.append(text[inner:end].strip())
        start_after = start
    ordered = tuple(reversed(contents))
    return Boxes(ordered[len(ordered) - tight :], ordered)


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
    environments = _ENVIRONMENT.findall(text)
    if environments and environments[-1].strip():
        content = environments[-1].strip()
        return Boxes((content,), (content,))
    found = _UNBRACED.findall(text)
    if not found:
        return None
    content = (found[-1][0] or found[-1][1]).rstrip(".,;")
    return Boxes((content,), (content,)) if content else None
