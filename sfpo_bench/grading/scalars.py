"""Single values with their suffix: units, degrees, percent signs."""

from __future__ import annotations

from fractions import Fraction

from sfpo_bench.grading.identity import same_expression
from sfpo_bench.grading.rounding import Tolerance, same_number
from sfpo_bench.grading.terms import negative
from sfpo_bench.grading.tree import Apply, Node, Number, Quantity, has
from sfpo_bench.grading.units import NO_UNIT


def same_scalars(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """True when two single values are the same, each with its unit, degrees or percent sign."""
    if isinstance(gold, Quantity) or isinstance(answer, Quantity):
        return _same_quantities(gold, answer, tolerance)
    degrees = _angle(gold), _angle(answer)
    if degrees[0] is not None or degrees[1] is not None:
        return _same_angles(gold, answer, *degrees, tolerance)
    if _percent(gold) is not None or _percent(answer) is not None:
        return _same_percentages(gold, answer, tolerance)
    return same_number(gold, answer, tolerance)


def _same_quantities(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """Values in base units where both units are known; otherwise units are not compared."""
    first, second = (node if isinstance(node, Quantity) else Quantity(node, NO_UNIT) for node in (gold, answer))
    units = first.unit, second.unit
    radians = [unit.powers == (("radian", 1),) for unit in units]
    degrees = _angle(first.value), _angle(second.value)
    if (radians[0] and degrees[1] is not None) or (radians[1] and degrees[0] is not None):
        return same_expression(first.value, second.value)
    if any(degrees[place] is not None and units[1 - place].powers for place in (0, 1)):
        return False  # an angle beside a quantity of another kind
    if all(unit.known and unit.powers for unit in units) and units[0] != units[1]:
        if units[0].powers != units[1].powers:
            return False
        factor = units[1].factor / units[0].factor
        return same_scalars(first.value, Apply("mul", (Number(factor), second.value)), tolerance)
    return same_scalars(first.value, second.value, tolerance)


def _angle(node: Node) -> Node | None:
    r"""The degrees of `30^\circ`, also with minutes and seconds; None for what is no angle in degrees."""
    match node:
        case Apply("deg", (value,)):
            return value
        case Apply("mul", (Number(sign), inner)) if sign == -1 and (found := _angle(inner)) is not None:
            return negative(found)
        case Apply("mul", (Apply("deg", (value,)), Apply("arcmin", (minutes,)))):
            return Apply("add", (value, Apply("div", (minutes, Number(Fraction(60))))))
        case Apply("arcmin", (minutes,)):
            return Apply("div", (minutes, Number(Fraction(60))))
        case _:
            return None


def _same_angles(gold: Node, answer: Node, first: Node | None, second: Node | None, tolerance: Tolerance) -> bool:
    """Degrees with degrees; with a multiple of pi as radians; with a bare number as the number of degrees."""
    if first is not None and second is not None:
        return same_number(first, second, tolerance)
    if has(gold, r"\pi") or has(answer, r"\pi"):
        return same_expression(gold, answer)
    if has(gold, "arcmin") or has(answer, "arcmin"):
        return False
    return same_number(first or gold, second or answer, tolerance)


def _percent(node: Node) -> Node | None:
    match node:
        case Apply("percent", (value,)):
            return value
        case Apply("mul", (Number(sign), Apply("percent", (value,)))) if sign == -1:
            return negative(value)
        case _:
            return None


def _same_percentages(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    r"""`10\%` is 10 and 0.1."""
    first, second = _percent(gold), _percent(answer)
    if first is not None and second is not None:
        return same_number(first, second, tolerance)
    options = [
        (value, _hundredth(value)) if value is not None else (node,)
        for value, node in ((first, gold), (second, answer))
    ]
    return any(same_number(one, other, tolerance) for one in options[0] for other in options[1])


def _hundredth(node: Node) -> Node:
    if isinstance(node, Number):
        return Number(node.value / 100, node.digits, node.places + 2 if node.digits is not None else 0)
    return Apply("div", (node, Number(Fraction(100))))
