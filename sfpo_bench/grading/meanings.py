r"""The values that statements name: `x = 5` one, `x = 1, y = 2` a pair, `x = 1 \text{ or } x = 2` alternatives."""

from __future__ import annotations

import re
from collections.abc import Sequence as Ordered
from fractions import Fraction

from sfpo_bench.grading.identity import variables
from sfpo_bench.grading.rounding import Tolerance, near, same_number
from sfpo_bench.grading.tree import (
    Apply,
    Either,
    Logic,
    Matrix,
    Node,
    Number,
    Relation,
    Sequence,
    Symbol,
    Where,
    Words,
    has,
    walk,
)

_EXACT = Tolerance()
_MINUS = Fraction(-1)
_EQUAL = ("=", r"\approx", r"\in", r"\equiv")


def is_name(node: Node) -> bool:
    r"""True for what stands left of `=` in `x = 5`, `f(x) = …`, `|AB| = 1`, `\angle A = …`, `P(X = 2) = …`."""
    match node:
        case Symbol(r"\pi"):
            return False
        case Symbol() | Words():
            return True
        case Apply("abs", (inner,)):
            return not isinstance(inner, Symbol) or not inner.name[:1].islower()
        case Apply(
            "max" | "min" | "gcd" | "lcm" | "conj" | "determinant" | "union" | "intersection" | "Re" | "Im" | "arg", _
        ):
            return True
        case Apply("div", (above, below)):
            return _is_object(above) and _is_object(below)
        case Apply("mul", factors):
            return all(isinstance(factor, Symbol) and factor.name.isupper() for factor in factors)
        case Apply(name, _):
            return name.startswith("?")
        case Sequence("()" | ":", items):
            return all(is_name(item) for item in items)
        case _:
            return False


def _is_object(node: Node) -> bool:
    """A named object of geometry or a single name."""
    return is_name(node) and not (isinstance(node, Symbol) and node.name in "xyz")


def named(node: Node) -> tuple[Node, Node] | None:
    """(name, value) of a statement that names a value; None for any other."""
    if not isinstance(node, Relation) or any(sign not in _EQUAL for sign in node.signs):
        return None
    first, *rest = node.sides
    if len(rest) != len(node.signs):
        return None
    if is_name(first) and (value := chained(rest)) is not None:
        return _in_order(first, value)
    if len(rest) == 1 and is_name(rest[0]) and node.signs == ("=",) and not is_name(first):
        return rest[0], first
    return None


def _in_order(name: Node, value: Node) -> tuple[Node, Node]:
    """`(y, x) = (1, 2)` as `(x, y) = (2, 1)`: coordinates have an order of their own, other names that of the text."""
    if not isinstance(name, Sequence) or not isinstance(value, Sequence) or len(name.items) != len(value.items):
        return name, value
    keys = [item.name if isinstance(item, Symbol) else "" for item in name.items]
    if not set(keys) <= set("xyz") or len(set(keys)) != len(keys):
        return name, value
    order = sorted(range(len(keys)), key=keys.__getitem__)
    names, values = (tuple(node.items[place] for place in order) for node in (name, value))
    return Sequence(name.brackets, names), Sequence(value.brackets, values)


def chained(sides: Ordered[Node]) -> Node | None:
    """The value of a chain of equal values; None where two of them are not equal."""
    if len(sides) == 1:
        return sides[0]
    *before, last = sides
    for side in before:
        if isinstance(last, Number) and last.digits is not None and not variables(side):
            if not near(side, last) and not same_number(side, last, _EXACT):
                return None
        elif not same_number(side, last, _EXACT):
            return None
    return Either((sides[0], last))


def value_of(node: Node) -> Node | None:
    """The value that an answer states, None where it states none.

    It is the value of a name, of an expression in several variables, or of a calculation that comes out.
    """
    if (found := named(node)) is not None:
        return None if _is_derivative(found[0]) else found[1]
    if not isinstance(node, Relation) or any(sign not in ("=", r"\approx") for sign in node.signs):
        return None
    first, last = node.sides[0], node.sides[-1]
    if variables(last) or isinstance(first, Sequence):
        return None
    if len(variables(first)) > 1:
        return chained(node.sides[1:])
    if not variables(first):
        unfinished = any(isinstance(part, Apply) and part.name.startswith("?") for part in walk(first))
        return chained(node.sides[1:] if unfinished or not _is_value(first) else node.sides)
    return None


def _is_derivative(name: Node) -> bool:
    """True for `f'(x)` and `y'`; `A'` is a point."""
    match name:
        case Apply(called, _):
            return "'" in called
        case Symbol(called):
            return "'" in called and called[:1].islower()
        case _:
            return False


def _is_value(node: Node) -> bool:
    return isinstance(node, (Number, Symbol, Apply, Matrix))


def statements_of(node: Node) -> tuple[Node, ...]:
    """The parts of a conjunction, or the one statement."""
    return node.parts if isinstance(node, Logic) else (node,)


def record(node: Node) -> dict[str, Node] | None:
    """Values by different names: `x = 1, y = 2` and `(x, y) = (1, 2)`; None for anything else."""
    if isinstance(node, Logic) and node.joined_by == "or":
        return None
    pairs: list[tuple[Node, Node]] = []
    for part in statements_of(node):
        found = named(part)
        if found is None:
            return None
        name, value = found
        if isinstance(name, Sequence) and isinstance(value, Sequence) and len(name.items) == len(value.items):
            pairs += zip(name.items, value.items, strict=True)
        else:
            pairs.append((name, value))
    names = [repr(name) for name, _ in pairs]
    if len(pairs) < 2 or len(set(names)) != len(names):
        return None
    return {_key(name): value for name, value in pairs}


def _key(name: Node) -> str:
    return name.name if isinstance(name, Symbol) else repr(name)


def alternatives(node: Node) -> tuple[str, tuple[Node, ...]] | None:
    """(name, values) of statements on one name, or on one name with indices: `x = 1, x = 2`, `x_1 = 1, x_2 = 2`."""
    if not isinstance(node, Logic):
        return None
    found = [named(part) for part in node.parts]
    if any(pair is None for pair in found):
        return None
    pairs = [pair for pair in found if pair is not None]
    names = {re.sub(r"_.*", "", _key(name)) if isinstance(name, Symbol) else repr(name) for name, _ in pairs}
    exact_names = {_key(name) for name, _ in pairs}
    if len(names) != 1 or (len(exact_names) > 1 and node.joined_by == "or" and len(exact_names) != len(pairs)):
        return None
    return next(iter(exact_names)) if len(exact_names) == 1 else next(iter(names)), tuple(value for _, value in pairs)


def both_signs(node: Node) -> tuple[Node, ...]:
    r"""`1 \pm \sqrt 5` as its two values; several signs of one formula go together, `\mp` against `\pm`."""
    if not (has(node, "pm") or has(node, "mp")):
        return (node,)
    return _signed(node, 1), _signed(node, -1)


def _signed(node: Node, sign: int) -> Node:
    match node:
        case Apply("pm" | "mp" as name, (inner,)):
            inner = _signed(inner, sign)
            return inner if (sign > 0) == (name == "pm") else Apply("mul", (Number(_MINUS), inner))
        case Apply(name, arguments):
            return Apply(name, tuple(_signed(argument, sign) for argument in arguments))
        case Relation(signs, sides):
            return Relation(signs, tuple(_signed(side, sign) for side in sides))
        case Sequence(brackets, items):
            return Sequence(brackets, tuple(_signed(item, sign) for item in items))
        case Matrix(rows):
            return Matrix(tuple(tuple(_signed(entry, sign) for entry in row) for row in rows))
        case Where(value, condition):
            return Where(_signed(value, sign), condition)
        case _:
            return node


def items_of(node: Node) -> tuple[Node, ...]:
    """The members of a plain list or set, both signs as two members; a single value is a list of one."""
    if isinstance(node, Sequence) and node.brackets in ("", "{}"):
        return tuple(sign for item in node.items for sign in both_signs(item))
    return both_signs(node)
