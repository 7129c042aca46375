"""Whether two expressions are the same number or the same function.

Numbers are compared as fractions, or as balls of at least 300 digits that overlap; functions at random points where
both have a value, more of them than the expressions have constants and variables. Two different polynomials, and two
different products of powers, logarithms and trigonometric functions, differ at almost every point, so that one point
that is not special in any way would do. The points come from a seed and have every scale from 0.01 to 10^9, and that of
each constant in the expressions, because a floor, a maximum or an absolute value may differ at some scales only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from flint import acb, arb, ctx

from sfpo_bench.grading.balls import Ball, Evaluation, NoValue, fraction_ball
from sfpo_bench.grading.effort import spend
from sfpo_bench.grading.exact import exact
from sfpo_bench.grading.tree import Apply, Node, Number, Symbol, children, free_symbols, has, walk

CONSTANTS = frozenset((r"\pi", "e", "i", r"\infty"))
_PRECISIONS = (192, 3_400, 20_000)  # bits; the first tells most differences, the second has 1,000 digits
_OF_AN_INTEGRAL = 96  # bits in which a definite integral has to agree
_POINT_PRECISIONS = (192, 1_200)
_FEWEST_POINTS = 8
_POINTS_OF_STEPS = 80  # where a floor is: functions of whole numbers may agree at most of them
_MOST_LEAVES = 400
_OF_A_POINT = 10  # operations that a point counts for beside what is evaluated there
_WHOLE_BY_CUSTOM = frozenset("ijklmnpq")
_COMPLEX_PARTS = ("conj", "Re", "Im", "arg")


def variables(node: Node) -> frozenset[str]:
    """The free variables of an expression; pi, e and i are constants."""
    return free_symbols(node) - CONSTANTS


def same_expression(first: Node, second: Node) -> bool:
    """True when both are the same tree, number or function."""
    first, second = canonical(first), canonical(second)
    if first == second:
        return True
    if has(first, r"\infty") or has(second, r"\infty"):
        return False
    if not variables(first) and not variables(second) and not _unknown(first) and not _unknown(second):
        return same_constant(first, second)
    return _same_function(first, second)


def _unknown(node: Node) -> bool:
    return any(isinstance(part, Apply) and part.name.startswith("?") for part in walk(node))


@lru_cache(maxsize=4096)
def canonical(node: Node) -> Node:
    """The tree with nested sums and products flat, their parts in a fixed order, and decimals by their value."""
    match node:
        case Number(value):
            return Number(value)
        case Apply("deg", _):
            return node
        case Apply(name, arguments):
            parts = [canonical(argument) for argument in arguments]
            if name in ("add", "mul"):
                flat: list[Node] = []
                for part in parts:
                    flat += part.arguments if isinstance(part, Apply) and part.name == name else [part]
                parts = sorted(flat, key=repr)
            return Apply(name, tuple(parts))
        case _:
            return node


def modes(first: Node, second: Node) -> Iterator[tuple[bool, bool]]:
    """(complex, natural): real before complex unless `i` stands in one; a `log` without a base has two readings."""
    bare = any(
        isinstance(part, Apply) and part.name == "log" and len(part.arguments) == 1
        for node in (first, second)
        for part in walk(node)
    )
    imaginary = any(has(node, name) for node in (first, second) for name in ("i", *_COMPLEX_PARTS))
    both = any(has(node, "ln") for node in (first, second)) and any(
        has(n, "ln") and has(n, "log") for n in (first, second)
    )
    for natural in (True, False) if bare and not both else (False,):
        if not imaginary:
            yield False, natural
        yield True, natural


def same_constant(first: Node, second: Node) -> bool:
    """Two expressions without variables have the same value."""
    one, other = exact(first), exact(second)
    if one is not None and other is not None:
        return one == other
    return any(_overlap(first, second, *mode) for mode in modes(first, second))


def _overlap(first: Node, second: Node, is_complex: bool, natural: bool) -> bool:
    """The balls of both numbers overlap, at a precision of a thousand digits."""
    integral = has(first, "int") or has(second, "int")
    for precision in _PRECISIONS[:1] if integral else _PRECISIONS:
        ctx.prec = precision
        try:
            difference = Evaluation({}, is_complex, natural).ball(first) - Evaluation({}, is_complex, natural).ball(
                second
            )
        except NoValue:
            return False
        if not difference.contains(0):
            return False
        close = arb(2) ** -(_OF_AN_INTEGRAL if integral else 1_000)
        if (integral or precision >= 1_000) and radius(difference) < close:
            return True
    return False


def radius(ball: Ball) -> arb:
    """The radius of a ball, of the larger part when it is complex."""
    return ball.rad() if isinstance(ball, arb) else ball.real.rad().max(ball.imag.rad())


@lru_cache(maxsize=4096)
def constant_ball(node: Node) -> arb | None:
    """The real value of an expression without variables, to 190 bits; None where it has none."""
    ctx.prec = _PRECISIONS[0]
    for is_complex in (False, True):
        try:
            value = Evaluation({}, is_complex).ball(node)
        except NoValue:
            continue
        if isinstance(value, arb):
            return value
        return value.real if value.imag.contains(0) and value.imag.rad() < arb(2) ** -100 else None
    return None


@dataclass(frozen=True, slots=True)
class Point:
    """Values of the variables, and which reading they are for."""

    values: dict[str, Fraction | acb]
    complex: bool
    natural: bool
    seed: int

    def ball(self, node: Node) -> Ball:
        """The value of `node` here."""
        return Evaluation(self.values, self.complex, self.natural, self.seed).ball(node)


def leaves(*nodes: Node) -> int:
    """How many constants and variables the expressions have: at least their degrees of freedom."""
    return sum(not children(part) for node in nodes for part in walk(node))


def points(first: Node, second: Node, is_complex: bool, natural: bool) -> Iterator[Point]:
    """Random points, four times as many as are needed, since either expression may have no value at some."""
    names = sorted(variables(first) | variables(second))
    draw = random.Random("points of the grader")
    whole = _whole_variables(first) | _whole_variables(second)
    scales = _scales(first, second)
    complex_values = is_complex and any(
        has(node, part) for node in (first, second) for part in (*_COMPLEX_PARTS, "abs")
    )
    for _ in range(4 * needed(first, second)):
        spend(_OF_A_POINT)
        values: dict[str, Fraction | acb] = {}
        scale = draw.choice(scales)
        for name in names:
            own = scale if draw.random() < 0.7 else draw.choice(scales)
            if name in whole:
                values[name] = Fraction(draw.randrange(1, 24))
            else:
                real = _drawn(draw, own)
                values[name] = acb(fraction_ball(real), fraction_ball(_drawn(draw, own))) if complex_values else real
        yield Point(values, is_complex, natural, draw.randrange(1 << 30))


def needed(first: Node, second: Node) -> int:
    """The number of points at which two expressions have to agree."""
    steps = any(has(node, name) for node in (first, second) for name in ("floor", "ceil"))
    return max(_FEWEST_POINTS, leaves(first, second) + 2, _POINTS_OF_STEPS if steps else 0)


def _drawn(draw: random.Random, scale: Fraction) -> Fraction:
    sign = -1 if draw.random() < 0.4 else 1
    return sign * scale * Fraction(draw.randrange(1 << 20, 1 << 22), 1 << 21)


def _scales(*nodes: Node) -> list[Fraction]:
    constants = {abs(part.value) for node in nodes for part in walk(node) if isinstance(part, Number) and part.value}
    common = [Fraction(1, 100), Fraction(1, 2), Fraction(1, 2), Fraction(1), Fraction(1), Fraction(3), Fraction(30)]
    return [*common, Fraction(10**4), Fraction(10**9), *sorted(constants)[:20]]


def _whole_variables(node: Node) -> frozenset[str]:
    """Variables that only have a meaning as whole numbers: in bounds of sums, in remainders, as powers of -1 or i."""
    found: frozenset[str] = frozenset()
    for part in walk(node):
        match part:
            case Apply("sum" | "prod", (_, _, lower, upper)):
                found |= variables(lower) | variables(upper)
            case Apply("floor" | "ceil", (inner,)):
                found |= variables(inner) & _WHOLE_BY_CUSTOM
            case Apply("mod" | "gcd" | "lcm", arguments):
                found = found.union(*(variables(argument) for argument in arguments))
            case Apply("pow", (base, exponent)) if base == Symbol("i") or (exact(base) or 0) < 0:
                found |= variables(exponent)
            case _:
                pass
    return found


def _same_function(first: Node, second: Node) -> bool:
    """The same value at every point where both have one, at enough points."""
    if leaves(first, second) > _MOST_LEAVES or has(first, "int") or has(second, "int"):
        return False  # an integral at each of many points would take too long
    different: set[bool] = set()  # readings of `log` in which real values differ, whatever complex ones do
    enough = needed(first, second)
    for is_complex, natural in modes(first, second):
        if natural in different:
            continue
        agreed = 0
        for point in points(first, second, is_complex, natural):
            same = _same_there(first, second, point)
            if same is False:
                different.add(natural)
                break
            agreed += same is True
            if agreed >= enough:
                return True
    return False


def _same_there(first: Node, second: Node, point: Point) -> bool | None:
    """Whether both have the same value at a point; None where one has none, or none that is precise enough."""
    for precision in _POINT_PRECISIONS:
        ctx.prec = precision
        try:
            one, other = point.ball(first), point.ball(second)
        except NoValue:
            return None
        difference = one - other
        if not difference.contains(0):
            return False
        if radius(difference) < (abs(one) + abs(other)).upper() * arb(2) ** -100 or radius(difference) < arb(2) ** -600:
            return True
    return None


def ratio_is_constant(first: Node, second: Node) -> int:
    """The sign of c where `first` = c `second` for a constant c that is not zero; 0 where there is none.

    The ratio has to be the same at random points, each variable drawn by itself, never on one line, and whatever the
    functions of unknown meaning are: `f(0)` and `f(9)` have no constant ratio.
    """
    if leaves(first, second) > _MOST_LEAVES or has(first, "int") or has(second, "int"):
        return 0
    for is_complex, natural in modes(first, second):
        ratios = _ratios(first, second, is_complex, natural)
        if len(ratios) >= needed(first, second) and all(_equal_balls(ratio, ratios[0]) for ratio in ratios[1:]):
            real = ratios[0] if isinstance(ratios[0], arb) else ratios[0].real
            return -1 if real < 0 else 1
    return 0


def _ratios(first: Node, second: Node, is_complex: bool, natural: bool) -> Sequence[Ball]:
    """first / second at enough points; an empty list as soon as two of them differ."""
    ratios: list[Ball] = []
    enough = needed(first, second)
    ctx.prec = _POINT_PRECISIONS[1]
    for point in points(first, second, is_complex, natural):
        try:
            one, other = point.ball(first), point.ball(second)
        except NoValue:
            continue
        if one.contains(0) or other.contains(0):
            return []
        ratios.append(one / other)
        if not _equal_balls(ratios[-1], ratios[0]):
            return []
        if len(ratios) >= enough:
            break
    return ratios


def _equal_balls(one: Ball, other: Ball) -> bool:
    difference = one - other
    return bool(difference.contains(0)) and bool(radius(difference) < abs(one).upper() * arb(2) ** -100)


def vanishes(node: Node) -> bool:
    """True when the expression is zero whatever its variables."""
    return same_expression(node, Number(Fraction(0)))
