r"""Where mathematics stands in prose: formulas between delimiters, numbers, tuples; and what is prose at all."""

from __future__ import annotations

import re

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
    r"|[\u3040-\u30ff\u4e00-\u9fff]"
)


def is_prose(text: str) -> bool:
    r"""True when words of a language stand in `text`, outside `\text{}` and the names of functions."""
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


def expressions(text: str) -> list[str]:
    """The pieces of mathematics in `text`, in order, without delimiters; formulas that only commas, `and` or `or`
    separate are one piece. A dollar sign may be one of currency: what stands between two is no formula if it is prose.
    """
    found: list[str] = []
    place, formula_end = 0, -1
    while match := _EXPRESSION.search(text, place):
        kind = str(match.lastgroup)
        content = match[kind].strip()
        if kind == "inline" and (is_prose(content) or not content):
            place = match.start() + 1
            continue
        place = match.end()
        if not any(character.isalnum() or character == "\\" for character in content):
            continue
        is_formula = kind in ("display", "bracket", "paren", "inline")
        if is_formula and formula_end >= 0 and _BETWEEN_FORMULAS.fullmatch(text, formula_end, match.start()):
            found[-1] += f", {content}"
        else:
            found.append(content)
        formula_end = match.end() if is_formula else -1
    return found
