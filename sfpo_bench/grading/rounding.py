"""When two numbers that are not written alike are the same: decimals and what they are rounded from, tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, ulp

from flint import arb, ctx

from sfpo_bench.grading.balls import fraction_ball
from sfpo_bench.grading.exact import exact
from sfpo_bench.grading.identity import constant_ball, same_expression, variables
from sfpo_bench.grading.tree import Node, Number, walk

FEWEST_DIGITS = 4  # significant digits of a decimal that stands for a number without an end
_FEWEST_OF_DECIMALS = (6, 8)  # of a decimal, and of the longer one that it is rounded from
_DIGITS_OF_A_DOUBLE = 15


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be from the gold: `absolute`, or `relative` times the gold's size, whichever is more."""

    absolute: float = 0.0
    relative: float = 0.0

    def allows(self, gold: arb, answer: arb) -> bool:
        """True when `answer` is certainly as near to `gold` as asked for."""
        if not self.absolute and not self.relative:
            return False
        room = arb(self.absolute).max(arb(self.relative) * abs(gold))
        return bool(abs(gold - answer) <= room + room * arb(2) ** -40)


def same_number(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """True when two expressions are the same number or function, or one is the other rounded (docs/grading.md)."""
    if isinstance(gold, Number) and isinstance(answer, Number):
        return _same_literals(gold, answer) or _tolerated(gold, answer, tolerance)
    if same_expression(gold, answer):
        return True
    if variables(gold) or variables(answer):
        return False
    if _tolerated(gold, answer, tolerance):
        return True
    for decimal, other in ((gold, answer), (answer, gold)):
        if isinstance(decimal, Number) and decimal.digits is not None and rounds_to(other, decimal, FEWEST_DIGITS):
            return True
    return False


def _tolerated(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    if not tolerance.absolute and not tolerance.relative:
        return False
    first, second = constant_ball(gold), constant_ball(answer)
    return first is not None and second is not None and tolerance.allows(first, second)


def _same_literals(first: Number, second: Number) -> bool:
    """Equal; or the shorter decimal is the longer one rounded; or the longer is the shorter as a binary float."""
    if first.value == second.value:
        return True
    short, long = sorted((first, second), key=lambda number: number.digits or 0)
    if short.digits is None or long.digits is None or long.places <= short.places:
        return False
    if long.digits >= _DIGITS_OF_A_DOUBLE + 1 and short.digits <= _DIGITS_OF_A_DOUBLE:
        double = float(short.value) if abs(short.value) < 10**300 else 0.0
        if double and isfinite(double) and abs(long.value - Fraction(double)) <= 4 * Fraction(ulp(double)):
            return True
    return (
        short.digits >= _FEWEST_OF_DECIMALS[0]
        and long.digits >= _FEWEST_OF_DECIMALS[1]
        and long.value.denominator != 1
        and _is_rounded(long.value, short)
    )


def _is_rounded(value: Fraction, decimal: Number) -> bool:
    return 2 * abs(value - decimal.value) * Fraction(10) ** decimal.places <= 1


def rounds_to(node: Node, decimal: Number, fewest_digits: int) -> bool:
    """True when `decimal`, of enough digits, is an expression without an end as a decimal, rounded to its last place.

    A whole number or a decimal that ends is never rounded, and an expression with decimals in it is none to round.
    """
    if decimal.digits is None or decimal.digits < fewest_digits:
        return False
    if any(isinstance(part, Number) and part.digits is not None for part in walk(node)):
        return False
    value = exact(node)
    if (
        decimal.digits > _DIGITS_OF_A_DOUBLE
        and (ball := constant_ball(node)) is not None
        and not ball.contains_integer()
    ):
        printed = float(decimal.value) if abs(decimal.value) < 10**300 else 0.0
        if printed and bool(abs(ball - fraction_ball(decimal.value)) <= 4 * ulp(printed)):
            return value is None or not _ends(value)
    if value is not None:
        return not _ends(value) and _is_rounded(value, decimal)
    ball = constant_ball(node)
    if ball is None or ball.contains_integer():
        return False
    ctx.prec = 2_000
    distance = abs(ball - fraction_ball(decimal.value)) * 2
    return bool(distance * fraction_ball(Fraction(10) ** decimal.places) <= 1)


def _ends(value: Fraction) -> bool:
    """True for a fraction that is a decimal with an end."""
    below = value.denominator
    if below.bit_length() > 4_000:
        return True
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def near(node: Node, decimal: Number) -> bool:
    r"""True when `node \approx decimal` is so: it rounds to the decimal's last place, or is cut off there."""
    ball = constant_ball(node)
    if ball is None or decimal.places > 400 or decimal.places < -400:
        return False
    ctx.prec = 2_000
    distance = abs(ball - fraction_ball(decimal.value)) * fraction_ball(Fraction(10) ** decimal.places)
    return bool(distance <= (1 if decimal.digits is not None else arb(1) / 2))
