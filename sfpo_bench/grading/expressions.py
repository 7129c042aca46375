r"""Finds mathematics in prose: formulas between delimiters, numbers, tuples."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Words that a formula may have: none of them makes a text prose.
_MATHEMATICAL_WORDS = (
    "and or percent sqrt frac sin cos tan cot sec csc log exp arcsin arccos arctan sinh cosh tanh inf infinity mod min "
    "max lim gcd lcm det deg floor ceil abs dfrac tfrac cdot times pmatrix bmatrix begin end boxed"
)
_NOT_PROSE = frozenset(_MATHEMATICAL_WORDS.split())
_TEXT_COMMAND = re.compile(
    r"\\(?:text|math|operatorname|mbox)[a-z]*\s*\{[^{}]*\}|\\(?:begin|end)\{[A-Za-z]+\*?\}(?:\{[lcr|\s]*\})?|\\[A-Za-z]+"
)
_WORD = re.compile(
    r"(?i:\b(?:so|is|it|we|to|of|he|if|by|be|as)\b)|[A-Za-z\u00c0-\u024f]{3,}|[\u0400-\u04ff]{2,}"
    r"|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af\u0600-\u06ff\u0900-\u097f\u0e00-\u0e7f\u0590-\u05ff]"
)


def is_prose(text: str) -> bool:
    r"""True when `text` has words of a language outside `\text{}` and the names of functions."""
    return any(word.lower() not in _NOT_PROSE for word in _WORD.findall(_TEXT_COMMAND.sub(" ", text)))


_BRACED = r"\{(?:[^{}]|\{[^{}]*\}){0,200}\}"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_SIGN = r"(?:(?<![\w)\]}])[-+\u2212]\s?)?"
_SIGNED = rf"{_SIGN}{_NUMBER}"
# Between numbers of a group every comma separates: were it one of a decimal or of thousands too, the ways to read a
# long list that is never closed would double with each number.
_ENTRY = rf"{_SIGN}(?:\d+(?:\.\d+)?|\.\d+)"
_EXPRESSION = re.compile(
    "|".join(
        (
            r"(?<!\\)\$\$(?P<display>[^$]{1,2000}?)\$\$",
            r"\\\[(?P<bracket>.{1,2000}?)\\\]",
            r"\\\((?P<paren>.{1,1000}?)\\\)",
            r"(?<!\\)\$(?P<inline>(?:\\\$|[^$\n]){1,1000}?)(?<!\\)\$",
            rf"(?P<latex>(?:[-\u2212]\s?)?\d*\s?\\(?:[dt]?frac\s*(?:{_BRACED}|\d)\s*(?:{_BRACED}|\d)|sqrt\s*(?:{_BRACED}|\d)|pi\b))",
            rf"(?P<group>[(\[]\s*{_ENTRY}(?:\s*[,;]\s*{_ENTRY})+\s*[)\]])",
            r"(?<![A-Za-z_^\\.,\d:])(?P<clock>\d{1,9}(?::\d{1,9})+(?:\s?[AaPp]\.?\s?[Mm]\b)?)",
            rf"(?<![A-Za-z_^\\.,\d])(?P<number>{_SIGNED}(?:\s?/\s?{_NUMBER})?(?:\s*(?:\\?%|percent\b))?)",
        )
    ),
    re.DOTALL,
)
_BETWEEN_FORMULAS = re.compile(r"\s*(?:,?\s*\b(?:and|or)\b|,|;)\s*")
_POWERS = "\u00b2\u00b3\u2070\u2074-\u2079"
# What makes another value of a number beside it. Letters that are units too are left to the reader of units.
_OPERAND = re.compile(
    rf"(?<![\w.$])(?:\d{{1,15}}(?:\.\d{{1,15}})?|\d{{0,15}}[a-z\u03c0])(?:\^\d|[{_POWERS}])?\s?(?:[-+*\u00b7\u00d7\u00f7/^\u2212]|\^\{{)\s?\Z"
)
_BOUND = re.compile(r"(?:(?<![-=<>])>=?|(?<!<)<=?|\u2264|\u2265|\u2260|(?<![\w)])!=|\u221a|\u00b1|\+/-)\s?\Z")
_SIGN_BEFORE = re.compile(r"[-+\u2212]\s?")
_UNSOLVED = re.compile(rf"(?<![\w.])(?:\d{{1,4}}[a-z]|[a-z](?:[{_POWERS}]|\^\d))\s?=\s?\Z")
_FACTOR = re.compile(
    rf"[{_POWERS}]|\^\{{?-?\w{{1,3}}\}}?|\s?\u03c0|\s?\u221a\s?\(?\d{{1,9}}\)?|[xyznikqr](?![A-Za-z])|\((?=[a-z]\b)"
)
_MOST_OPERANDS = 12


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of mathematics without its delimiters, and its place in the text, with them."""

    text: str
    start: int
    end: int


def pieces(text: str) -> list[Piece]:
    """The pieces of mathematics in `text`, in order; formulas that only commas, `and` or `or` separate are one piece.

    A dollar sign may be one of currency: what stands between two is no formula if it is prose. A number is taken with
    the operators and factors beside it.
    """
    found: list[Piece] = []
    place, formula_end = 0, -1
    while match := _EXPRESSION.search(text, place):
        kind = str(match.lastgroup)
        content = match[kind].strip()
        if kind == "inline" and (is_prose(content) or not content):
            place = match.start() + 1
            continue
        start, place = match.span()
        if not any(character.isalnum() or character == "\\" for character in content):
            continue
        is_formula = kind in ("display", "bracket", "paren", "inline")
        if is_formula and formula_end >= 0 and _BETWEEN_FORMULAS.fullmatch(text, formula_end, start):
            found[-1] = Piece(f"{found[-1].text}, {content}", found[-1].start, place)
        else:
            if kind == "number":
                start, place = _widened(text, start, place)
                content = text[start:place].strip()
                while found and found[-1].end > start:
                    found.pop()
            found.append(Piece(content, start, place))
        formula_end = place if is_formula else -1
    return found


def _widened(text: str, start: int, end: int) -> tuple[int, int]:
    """The span of a number with what makes another value of it: `5\u00b2`, `5\u03c0`, `n + 7`, `> 5`."""
    for _ in range(_MOST_OPERANDS):
        factor = _FACTOR.match(text, end)
        if factor is None:
            break
        end = factor.end()
    sign = _SIGN_BEFORE.match(text, start)
    behind_sign = sign.end() if sign else start
    for _ in range(_MOST_OPERANDS):
        operand = _OPERAND.search(text, max(0, behind_sign - 40), behind_sign)
        if operand is None:
            break
        start = behind_sign = operand.start()
    bound = _UNSOLVED.search(text, max(0, start - 12), start) or _BOUND.search(text, max(0, start - 4), start)
    return (bound.start() if bound else start), end


def expressions(text: str) -> list[str]:
    """The texts of the pieces of mathematics in `text`, in order."""
    return [piece.text for piece in pieces(text)]
