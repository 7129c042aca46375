"""Rational arithmetic on expression trees: the value of a node as a fraction, where it is one and is not too large."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, comb, factorial, floor, gcd, isqrt, lcm

from sfpo_bench.grading.effort import spend
from sfpo_bench.grading.tree import Apply, Node, Number, Symbol

_MOST_BITS = 400_000  # of a numerator or denominator
_MOST_TERMS = 5_000  # of a sum or product
_MOST_OPERATIONS = 20_000
NO_VALUES: Mapping[str, Fraction] = {}


def exact(node: Node, values: Mapping[str, Fraction] = NO_VALUES) -> Fraction | None:
    """The rational value of `node` where its variables have `values`; None where it is irrational, undefined, without a
    value, has more than 400,000 bits, or takes more than 20,000 operations."""
    return _Exact().value(node, values)


@dataclass(slots=True)
class _Exact:
    """Counts operations: sums inside sums multiply their terms."""

    operations: int = 0

    def value(self, node: Node, values: Mapping[str, Fraction]) -> Fraction | None:
        self.operations += 1
        spend()
        if self.operations > _MOST_OPERATIONS:
            return None
        match node:
            case Number(value):
                return value
            case Symbol(name):
                return values.get(name)
            case Apply("sum" | "prod" as kind, (body, Symbol(variable), lower, upper)):
                return self._big(kind, body, variable, self.value(lower, values), self.value(upper, values), values)
            case Apply(name, arguments) if name in _OPERATIONS:
                found = [self.value(argument, values) for argument in arguments]
                if any(value is None for value in found):
                    return None
                return _OPERATIONS[name](*[value for value in found if value is not None])
            case _:
                return None

    def _big(
        self,
        kind: str,
        body: Node,
        variable: str,
        lower: Fraction | None,
        upper: Fraction | None,
        values: Mapping[str, Fraction],
    ) -> Fraction | None:
        """A finite sum or product, term by term."""
        if lower is None or upper is None or lower.denominator != 1 or upper.denominator != 1:
            return None
        if upper - lower > _MOST_TERMS:
            return None
        total: Fraction | None = Fraction(kind == "prod")
        for place in range(int(lower), int(upper) + 1):
            term = self.value(body, {**values, variable: Fraction(place)})
            if term is None or total is None:
                return None
            total = small(total + term if kind == "sum" else total * term)
        return total


def small(value: Fraction | None) -> Fraction | None:
    """The value, or None where it is too large to go on with."""
    if value is None or max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        return None
    return value


def _add(*terms: Fraction) -> Fraction | None:
    return small(sum(terms, Fraction(0)))


def _mul(*factors: Fraction) -> Fraction | None:
    total: Fraction | None = Fraction(1)
    for factor in factors:
        if total is None:
            return None
        total = small(total * factor)
    return total


def _div(above: Fraction, below: Fraction) -> Fraction | None:
    return above / below if below else None


def _pow(base: Fraction, exponent: Fraction) -> Fraction | None:
    """A power with a whole exponent, or a root that comes out even; 0^0 has no value here."""
    if exponent.denominator != 1:
        if exponent.denominator > 100:
            return None
        rooted = _root(Fraction(exponent.denominator), base)
        return None if rooted is None else _pow(rooted, Fraction(exponent.numerator))
    if base == 0:
        return Fraction(0) if exponent > 0 else None
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base not in (1, -1) and bits * abs(exponent) > _MOST_BITS:
        return None
    if abs(base) == 1:
        return base if exponent % 2 else Fraction(1)
    return base ** int(exponent)


def _root(degree: Fraction, value: Fraction) -> Fraction | None:
    """The real root where it is rational; of a negative number only for odd degrees."""
    if degree.denominator != 1 or not 0 < degree <= 100:
        return None
    if value < 0:
        positive = _root(degree, -value) if degree % 2 else None
        return None if positive is None else -positive
    above, below = integer_root(value.numerator, int(degree)), integer_root(value.denominator, int(degree))
    return None if above is None or below is None else Fraction(above, below)


def integer_root(value: int, degree: int) -> int | None:
    """The whole number whose power is `value`, None when there is none."""
    if degree == 2:
        found = isqrt(value)
    else:
        low, high = 0, 1 << (value.bit_length() // degree + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
        found = low
    return found if found**degree == value else None


def _whole(limit: int) -> Callable[[Fraction], bool]:
    return lambda value: value.denominator == 1 and 0 <= value <= limit


def _factorial(value: Fraction) -> Fraction | None:
    return Fraction(factorial(int(value))) if _whole(20_000)(value) else None


def _binom(above: Fraction, below: Fraction) -> Fraction | None:
    if not _whole(20_000)(below) or above.denominator != 1 or abs(above) > 10**9:
        return None
    if above >= 0:
        if min(below, above - below) * int(above).bit_length() > _MOST_BITS:
            return None
        return Fraction(comb(int(above), int(below)))
    reflected = _binom(below - above - 1, below)  # C(-n, k) = (-1)^k C(n + k - 1, k)
    return None if reflected is None else reflected * (-1) ** int(below)


def _mod(value: Fraction, modulus: Fraction) -> Fraction | None:
    return value % modulus if modulus else None


def _of_integers(function: Callable[..., int]) -> Callable[..., Fraction | None]:
    def apply(*values: Fraction) -> Fraction | None:
        return Fraction(function(*map(int, values))) if all(value.denominator == 1 for value in values) else None

    return apply


_OPERATIONS: dict[str, Callable[..., Fraction | None]] = {
    "add": _add,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "root": _root,
    "factorial": _factorial,
    "binom": _binom,
    "mod": _mod,
    "percent": lambda value: value / 100,
    "abs": abs,
    "conj": lambda value: value,
    "Re": lambda value: value,
    "floor": lambda value: Fraction(floor(value)),
    "ceil": lambda value: Fraction(ceil(value)),
    "sgn": lambda value: Fraction((value > 0) - (value < 0)),
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "gcd": _of_integers(gcd),
    "lcm": _of_integers(lcm),
}
