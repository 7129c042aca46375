r"""Sets of real numbers: intervals, inequalities, unions, set builders. Equal where they have the same members.

Both sets are cut at all the numbers that bound either: what lies between two neighbours, and each bound itself, is a
cell that a set has wholly or not at all. Sets are equal when they have the same cells. Bounds are compared as exact
numbers, and put in order by balls that do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key

from sfpo_bench.grading.exact import exact
from sfpo_bench.grading.identity import constant_ball, same_expression, variables
from sfpo_bench.grading.terms import negative
from sfpo_bench.grading.tree import (
    EMPTY_SET,
    INFINITY,
    REALS,
    Apply,
    Either,
    Logic,
    Node,
    Number,
    Relation,
    Sequence,
    SetBuilder,
    Symbol,
)

_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne"}
_MOST_PARTS = 40


class NoSet(ValueError):
    """Not a set of real numbers, or none that is read here."""


@dataclass(frozen=True, slots=True)
class Condition:
    """All numbers that are `sign` than `bound`; the set of one number for `=`, all for `all`."""

    sign: str
    bound: Node | None = None


@dataclass(frozen=True, slots=True)
class Combined:
    """The union (`or`), intersection (`and`) or difference (`minus`) of sets."""

    by: str
    parts: tuple[Description, ...]


Description = Condition | Combined
_ALL = Condition("all")


def same_set(gold: Node, answer: Node) -> bool:
    """True when both are sets of real numbers, or statements on one variable, with the same members."""
    try:
        first, first_name = described(gold)
        second, second_name = described(answer)
        if first_name is not None and second_name is not None and not _same_variable(first_name, second_name):
            return False
        bounds = _sorted_bounds([*_bounds(first), *_bounds(second)])
        return _cells(first, bounds) == _cells(second, bounds)
    except NoSet:
        return False


def is_set(node: Node) -> bool:
    """True when `node` is written as an interval, a statement, a union or the like, not as a plain list or tuple."""
    match node:
        case Relation() | Logic() | SetBuilder() | Apply("union" | "intersection" | "difference", _):
            return True
        case Sequence(brackets, items):
            return (brackets in ("()", "[]", "(]", "[)") and len(items) == 2) or brackets == "{}"
        case Symbol():
            return node == REALS
        case Either(readings):
            return any(is_set(reading) for reading in readings)
        case _:
            return False


def _same_variable(first: Node, second: Node) -> bool:
    return same_expression(first, second)


def described(node: Node) -> tuple[Description, Node | None]:
    """The set and the variable it speaks of; None for an interval. Raises NoSet."""
    match node:
        case _ if node == REALS:
            return _ALL, None
        case Sequence("{}", items):
            return Combined("or", tuple(Condition("=", _constant(item)) for item in items)), None
        case Sequence(brackets, (lower, upper)) if brackets in ("()", "[]", "(]", "[)"):
            return _interval(brackets, lower, upper), None
        case Relation(("\\in",), (variable, domain)):
            return described(domain)[0], variable
        case Relation(("\\notin",), (variable, domain)):
            return Combined("minus", (_ALL, described(domain)[0])), variable
        case Relation():
            return _chain(node)
        case SetBuilder(variable, condition):
            description, name = described(condition)
            if name is not None and not _same_variable(name, variable):
                raise NoSet
            return description, None
        case Logic():
            return _logic(node)
        case Apply("union" | "intersection" | "difference" as name, (first, second)):
            by = {"union": "or", "intersection": "and", "difference": "minus"}[name]
            return Combined(by, (described(first)[0], described(second)[0])), None
        case Either(readings):
            return _first_described(readings)
        case _:
            raise NoSet


def _first_described(readings: Ordered[Node]) -> tuple[Description, Node | None]:
    for reading in readings:
        try:
            return described(reading)
        except NoSet:
            continue
    raise NoSet


def _constant(node: Node) -> Node:
    """A bound: a number or an infinity."""
    if variables(node) or not isinstance(node, (Number, Apply, Symbol)):
        raise NoSet
    return node


def _interval(brackets: str, lower: Node, upper: Node) -> Description:
    if not _below(_constant(lower), _constant(upper)):
        raise NoSet
    return Combined(
        "and",
        (
            Condition(">" if brackets[0] == "(" else r"\ge", lower),
            Condition("<" if brackets[1] == ")" else r"\le", upper),
        ),
    )


def _logic(node: Logic) -> tuple[Description, Node | None]:
    """Statements on one variable. With commas they all hold, unless nothing meets them all: then any does."""
    if len(node.parts) > _MOST_PARTS:
        raise NoSet
    parts, names = zip(*(described(part) for part in node.parts), strict=True)
    name = next((name for name in names if name is not None), None)
    if name is None or any(other is not None and not _same_variable(name, other) for other in names):
        raise NoSet
    if node.joined_by != ",":
        return Combined(node.joined_by, parts), name
    together = Combined("and", parts)
    bounds = _sorted_bounds(_bounds(together))
    return (together if any(_cells(together, bounds)) else Combined("or", parts)), name


def _chain(node: Relation) -> tuple[Description, Node | None]:
    """`a < x <= b`, `x > a`, `|x| < a`, `2x > a`: comparisons of one expression with numbers."""
    if any(sign not in _FLIPPED for sign in node.signs) or len(node.sides) != len(node.signs) + 1:
        raise NoSet
    conditions: list[Description] = []
    name: Node | None = None
    for left, sign, right in zip(node.sides, node.signs, node.sides[1:], strict=False):
        condition, variable = _comparison(left, sign, right)
        if name is not None and not _same_variable(name, variable):
            raise NoSet
        name = variable
        conditions.append(condition)
    return Combined("and", tuple(conditions)), name


def _comparison(left: Node, sign: str, right: Node) -> tuple[Description, Node]:
    if not all(isinstance(side, (Number, Symbol, Apply)) for side in (left, right)):
        raise NoSet
    if not _varies(left) and _varies(right):
        left, sign, right = right, _FLIPPED[sign], left
    if not _varies(left) or _varies(right):
        left, right = Apply("add", (left, negative(right))), Number(Fraction(0))
    _constant(right)
    if isinstance(left, Apply) and left.name == "abs":
        return _absolute(left.arguments[0], sign, right)
    if (line := _line(left)) is not None:
        variable, slope, start = line
        if slope != 1 or start != 0:
            moved = Apply("add", (right, Number(-start)))
            right = Apply("div", (moved, Number(slope)))
            sign = sign if slope > 0 else _FLIPPED[sign]
        return Condition(sign, right), variable
    return Condition(sign, right), left


def _varies(node: Node) -> bool:
    return bool(variables(node)) or _is_unknown(node)


def _is_unknown(node: Node) -> bool:
    return isinstance(node, Apply) and node.name.startswith("?")


def _absolute(inner: Node, sign: str, bound: Node) -> tuple[Description, Node]:
    """|x| against a bound, as conditions on x."""
    if (value := constant_ball(bound)) is None or not value > 0:
        raise NoSet
    over, name = _comparison(inner, sign, bound)
    under, _ = _comparison(inner, _FLIPPED[sign], negative(bound))
    return Combined("and" if sign in ("<", r"\le", r"\ne") else "or", (over, under)), name


def _line(node: Node) -> tuple[Symbol, Fraction, Fraction] | None:
    """(variable, slope, value at zero) of a linear expression in one variable with rational coefficients."""
    names = sorted(variables(node))
    if len(names) != 1 or _is_unknown(node):
        return None
    at = [exact(node, {names[0]: Fraction(place)}) for place in (0, 1, 7, -13)]
    if any(value is None for value in at):
        return None
    start, one, seven, minus = (value for value in at if value is not None)
    slope = one - start
    if not slope or seven != start + 7 * slope or minus != start - 13 * slope:
        return None
    linear = Apply("add", (Apply("mul", (Number(slope), Symbol(names[0]))), Number(start)))
    return (Symbol(names[0]), slope, start) if same_expression(node, linear) else None


def _bounds(description: Description) -> list[Node]:
    if isinstance(description, Combined):
        return [bound for part in description.parts for bound in _bounds(part)]
    return [] if description.bound is None else [description.bound]


def _infinite(node: Node) -> int:
    """1 and -1 for the infinities, 0 for anything else."""
    if node == INFINITY:
        return 1
    return -1 if node == negative(INFINITY) else 0


def _below(first: Node, second: Node) -> bool:
    return _compare(first, second) < 0


def _compare(first: Node, second: Node) -> int:
    """The order of two bounds. Raises NoSet where it cannot be told."""
    ends = _infinite(first), _infinite(second)
    if any(ends):
        return (ends[0] > ends[1]) - (ends[0] < ends[1])
    if same_expression(first, second):
        return 0
    one, other = constant_ball(first), constant_ball(second)
    if one is None or other is None:
        raise NoSet
    if one < other:
        return -1
    if one > other:
        return 1
    raise NoSet


def _sorted_bounds(bounds: list[Node]) -> list[Node]:
    """The finite bounds in order, each once."""
    if len(bounds) > 4 * _MOST_PARTS:
        raise NoSet
    kept: list[Node] = []
    for bound in sorted((bound for bound in bounds if not _infinite(bound)), key=cmp_to_key(_compare)):
        if not kept or _compare(kept[-1], bound):
            kept.append(bound)
    return kept


def _cells(description: Description, bounds: list[Node]) -> tuple[bool, ...]:
    """Which of the cells (below the first bound, the first bound, between it and the second, …) belong to the set."""
    count = 2 * len(bounds) + 1
    match description:
        case Condition("all", _):
            return (True,) * count
        case Condition(sign, bound) if bound is not None:
            at = _cell_of(bound, bounds)
            return tuple(_holds(place, sign, at) for place in range(count))
        case Combined(by, parts):
            masks = [_cells(part, bounds) for part in parts]
            if not masks:
                return (False,) * count
            if by == "minus":
                return tuple(first and not second for first, second in zip(*masks, strict=True))
            return tuple((all if by == "and" else any)(cell) for cell in zip(*masks, strict=True))
    raise NoSet


def _cell_of(bound: Node, bounds: list[Node]) -> int:
    end = _infinite(bound)
    if end:
        return -1 if end < 0 else 2 * len(bounds) + 1
    return next(2 * place + 1 for place, other in enumerate(bounds) if _compare(bound, other) == 0)


def _holds(place: int, sign: str, at: int) -> bool:
    return {
        "<": place < at,
        r"\le": place <= at,
        ">": place > at,
        r"\ge": place >= at,
        "=": place == at,
        r"\ne": place != at,
    }[sign]


__all__ = ["EMPTY_SET", "is_set", "same_set"]
