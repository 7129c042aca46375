r"""Canonical texts of problems and answers, equal for copies that differ only in spelling.

Four functions answer four questions:

    plain_text        is it the same text?           ignores white space and the Unicode form
    canonical_answer  is it the same gold answer?    also ignores dollar signs, `27.0` for `27`, `025` for `25`, `1,000`
    overlap_text      is it the same problem?        ignores all but letters, digits and + - * = < > / ^
    asked_text        is it the same task to solve?  also ignores the order of a Countdown problem's numbers
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from sfpo_bench.core.types import Problem

# TeX commands that change only the layout of a formula.
_LAYOUT = re.compile(
    r"\\(?:left|right|bigl?|bigr?|Bigl?|Bigr?|displaystyle|textstyle|limits|quad|qquad|text|mathrm|mbox|operatorname)"
    r"(?![A-Za-z])|\\(?:begin|end)\{(?:align|equation|gather)\*?\}"
)
_FRACTION = re.compile(r"\\[dt]frac(?![A-Za-z])")
_NUMBER = re.compile(r"([+-]?)0*([0-9]+)(?:\.0+)?")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.0+)?")
_SIGNS = frozenset("+-*=<>/^")
_EMPHASIS = re.compile(r"(?<![0-9a-z])\*|\*(?![0-9a-z])")  # Markdown emphasis; between digits or letters * is a product


def plain_text(text: str) -> str:
    """`text` in Unicode NFC, with every run of white space as one blank and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def canonical_answer(answer: str) -> str:
    """A gold answer without white space and dollar signs; an integer is reduced to its digits."""
    squeezed = "".join(unicodedata.normalize("NFC", answer).split()).strip("$")
    if _THOUSANDS.fullmatch(squeezed):
        squeezed = squeezed.replace(",", "")
    number = _NUMBER.fullmatch(squeezed)
    return f"{number[1].replace('+', '')}{number[2]}" if number else squeezed


def overlap_text(text: str) -> str:
    """`text` reduced to lower-case letters, digits and signs, without TeX layout commands."""
    bare = _FRACTION.sub(r"\\frac", _LAYOUT.sub("", unicodedata.normalize("NFKC", text)))
    bare = _EMPHASIS.sub("", bare.lower())
    return "".join(character for character in bare if character.isalnum() or character in _SIGNS)


def asked_text(problem: Problem) -> str:
    """The text of a problem that training and report sets must not share.

    It is the `overlap_text`; for a Countdown problem, identified by its answer, it is the target and the sorted
    numbers.
    """
    asked = countdown_gold(problem.answer)
    return overlap_text(problem.text) if asked is None else f"countdown {asked[0]} of {' '.join(map(str, asked[1]))}"


def countdown_gold(answer: str) -> tuple[Fraction, tuple[int, ...]] | None:
    """The target and the sorted numbers of `{"target": 55, "numbers": [96, 7, 37, 74]}`; None for anything else."""
    if not answer.lstrip().startswith("{"):
        return None
    try:
        asked = json.loads(answer)
        return Fraction(asked["target"]), tuple(sorted(int(number) for number in asked["numbers"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def problem_key(text: str) -> str:
    """A key of 16 hexadecimal digits for a problem's plain text, independent of its source and id."""
    return _sha256(plain_text(text))[:16]


def content_sha256(problems: Sequence[Problem]) -> str:
    """The sha256 over a set's plain texts and canonical answers, independent of ids and order."""
    rows = sorted(_sha256(f"{plain_text(p.text)}\x1f{canonical_answer(p.answer)}") for p in problems)
    return _sha256("\n".join(rows))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
