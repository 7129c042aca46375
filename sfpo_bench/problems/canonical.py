r"""A canonical text of a problem: equal for copies that differ in spelling alone.

Four strengths, for four questions:

    plain_text        is it the same text?              white space and the Unicode form of a character do not count
    canonical_answer  is it the same gold answer?       nor do dollar signs, `27.0` for `27`, `025` for `25`, `1,000`
    overlap_text      is it the same problem?           nor does anything but letters, digits and + - * = < > / ^
    asked_text        is it the same thing to solve?    nor does the order of a Countdown problem's numbers
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from sfpo_bench.core.types import Problem

# TeX that changes how a formula looks and not what it says.
_LAYOUT = re.compile(
    r"\\(?:left|right|bigl?|bigr?|Bigl?|Bigr?|displaystyle|textstyle|limits|quad|qquad|text|mathrm|mbox|operatorname)"
    r"(?![A-Za-z])|\\(?:begin|end)\{(?:align|equation|gather)\*?\}"
)
_FRACTION = re.compile(r"\\[dt]frac(?![A-Za-z])")
_NUMBER = re.compile(r"([+-]?)0*([0-9]+)(?:\.0+)?")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.0+)?")
_SIGNS = frozenset("+-*=<>/^")
_EMPHASIS = re.compile(r"(?<![0-9a-z])\*|\*(?![0-9a-z])")  # Markdown's; between digits or letters it is a product


def plain_text(text: str) -> str:
    """`text` in Unicode's composed form (NFC), every run of white space one blank, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def canonical_answer(answer: str) -> str:
    """A gold answer without white space and dollar signs; a whole number as its digits."""
    squeezed = "".join(unicodedata.normalize("NFC", answer).split()).strip("$")
    if _THOUSANDS.fullmatch(squeezed):
        squeezed = squeezed.replace(",", "")
    number = _NUMBER.fullmatch(squeezed)
    return f"{number[1].replace('+', '')}{number[2]}" if number else squeezed


def overlap_text(text: str) -> str:
    """`text` reduced to its letters, digits and signs, in lower case; layout commands of TeX are left out."""
    bare = _FRACTION.sub(r"\\frac", _LAYOUT.sub("", unicodedata.normalize("NFKC", text)))
    bare = _EMPHASIS.sub("", bare.lower())
    return "".join(character for character in bare if character.isalnum() or character in _SIGNS)


def asked_text(problem: Problem) -> str:
    """The one text of a problem that training and reporting must not share: its `overlap_text`, or of a Countdown
    problem, which its answer tells, the target and the numbers in rising order."""
    asked = countdown_gold(problem.answer)
    return overlap_text(problem.text) if asked is None else f"countdown {asked[0]} of {' '.join(map(str, asked[1]))}"


def countdown_gold(answer: str) -> tuple[Fraction, tuple[int, ...]] | None:
    """Target and numbers in rising order of `{"target": 55, "numbers": [96, 7, 37, 74]}`; None of anything else."""
    if not answer.lstrip().startswith("{"):
        return None
    try:
        asked = json.loads(answer)
        return Fraction(asked["target"]), tuple(sorted(int(number) for number in asked["numbers"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def problem_key(text: str) -> str:
    """16 hexadecimal digits that name a problem by its plain text, wherever it came from and whatever its id is."""
    return _sha256(plain_text(text))[:16]


def content_sha256(problems: Sequence[Problem]) -> str:
    """A sha256 over the plain texts and canonical answers of a set; ids and order do not count."""
    rows = sorted(_sha256(f"{plain_text(p.text)}\x1f{canonical_answer(p.answer)}") for p in problems)
    return _sha256("\n".join(rows))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
