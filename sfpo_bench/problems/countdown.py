r"""Countdown: reach a target from given numbers with + - * / and brackets; graded by evaluating the equation.

The gold answer is JSON, `{"target": 55, "numbers": [96, 7, 37, 74]}`. A response is right when its equation uses every
number exactly once and nothing else, and its value is the target in exact fractions (the rule of TinyZero).

No model output is executed. A parser reads equations of at most `LONGEST` characters; it accepts digits, the four
operations, brackets and their TeX spellings.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from sfpo_bench.core.types import Grade, GradeStatus
from sfpo_bench.problems.canonical import countdown_gold

LONGEST = 200
_TAGGED = re.compile(r"<answer>((?:(?!<answer>).){0,400}?)</answer>", re.DOTALL)
_BOX = "\\boxed{"
_TOKEN = re.compile(r"\s*([0-9]{1,9}|[-+*/()])")
_LINE = re.compile(r"[^\n]*[0-9)][ \t]*[-+*/×÷][^\n]*")
_SPELLINGS = {
    "\\times": "*", "\\cdot": "*", "\\div": "/", "×": "*", "·": "*", "÷": "/", "\N{MINUS SIGN}": "-",
    "\\left": "", "\\right": "", "\\,": "", "\\(": "", "\\)": "", "\\[": "", "\\]": "", "[": "(", "]": ")",
    "$": "", "`": "",
}  # fmt: skip
_OPERATION = re.compile(r"[0-9)]\s*[-+*/]")
_AFTER_WORDS = re.compile(r"[A-Za-z]{2,}[,:;]?\s+([-0-9(][-+*/()0-9\s]*)$")  # `So we get 1 + 2`
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")


def grade_countdown(gold: str, response: str) -> Grade:
    r"""Reward 1 for an equation that follows the rules and equals the target, else 0; never raises for any response.

    The equation is the content of the last `\boxed{}`, else of the last `<answer>` tag, else the last line with an
    operation. In `a = b` it is the first side with an operation.
    """
    asked = countdown_gold(gold)
    if asked is None:
        return Grade(GradeStatus.gold_unparsable, 0.0, None)
    target, numbers = asked[0], Counter(asked[1])
    found = _written(response)
    if found is None:
        return Grade(GradeStatus.no_answer, 0.0, None)
    equation = _one_side(_plain(found))
    value = evaluate(equation)
    used = Counter(int(digits) for digits in re.findall(r"[0-9]+", equation)) if value is not None else Counter()
    right = value == target and used == numbers
    return Grade(GradeStatus.correct if right else GradeStatus.wrong, float(right), equation.strip())


def evaluate(equation: str) -> Fraction | None:
    """The exact value of an equation; None for other text, division by 0, or more than `LONGEST` characters."""
    if len(equation) > LONGEST:
        return None
    tokens, place = [], 0
    text = equation.rstrip()
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            return None
        tokens.append(token[1])
        place = token.end()
    reader = _Reader(tokens)
    try:
        value = reader.sum()
    except (_NoEquation, ZeroDivisionError):
        return None
    return value if reader.at_end else None


class _NoEquation(Exception):
    """The tokens are not an equation."""


@dataclass(slots=True)
class _Reader:
    """A recursive-descent parser; its depth is at most the number of tokens, `LONGEST`."""

    tokens: list[str]
    place: int = field(default=0, init=False)

    @property
    def at_end(self) -> bool:
        return self.place == len(self.tokens)

    def sum(self) -> Fraction:
        value = self._product()
        while (sign := self._take("+-")) is not None:
            term = self._product()
            value = value + term if sign == "+" else value - term
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while (sign := self._take("*/")) is not None:
            factor = self._factor()
            value = value * factor if sign == "*" else value / factor
        return value

    def _factor(self) -> Fraction:
        if self._take("-") is not None:
            return -self._factor()
        if self._take("(") is not None:
            value = self.sum()
            if self._take(")") is None:
                raise _NoEquation
            return value
        if self.at_end or not self.tokens[self.place].isdigit():
            raise _NoEquation
        self.place += 1
        return Fraction(int(self.tokens[self.place - 1]))

    def _take(self, wanted: str) -> str | None:
        if self.at_end or self.tokens[self.place] not in wanted:
            return None
        self.place += 1
        return self.tokens[self.place - 1]


def _written(response: str) -> str | None:
    """The equation of a response, or None."""
    box = response.rfind(_BOX)
    if box >= 0:
        return _braced(response[box + len(_BOX) : box + len(_BOX) + 2 * LONGEST])
    tagged = _TAGGED.findall(response[-20 * LONGEST :])
    if tagged:
        return str(tagged[-1])
    lines = [line for line in response[-20 * LONGEST :].split("\n") if _LINE.fullmatch(_plain(line[: 2 * LONGEST]))]
    return lines[-1][: 2 * LONGEST] if lines else None


def _braced(text: str) -> str:
    """`text` up to the brace that closes the preceding open one."""
    depth = 1
    for place, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[:place]
    return text


def _plain(text: str) -> str:
    """The text with TeX spellings replaced."""
    for _ in range(3):  # fractions within fractions
        text = _FRACTION.sub(r"((\1)/(\2))", text)
    for spelling, plain in _SPELLINGS.items():
        text = text.replace(spelling, plain)
    return text


def _one_side(equation: str) -> str:
    sides = [side.strip(" *.") for side in equation.split("=")]
    side = next((side for side in sides if _OPERATION.search(side)), sides[0])
    words = _AFTER_WORDS.search(side)
    return words[1] if words else side
