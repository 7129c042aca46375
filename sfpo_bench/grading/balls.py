"""Values of expression trees as balls: a midpoint and a radius that certainly holds the true value (FLINT's Arb).

Real mode knows real numbers alone: an odd root of a negative number is real, an even one has no value. Complex mode
takes principal branches. A function of unknown meaning is a smooth random function of its arguments, the same wherever
its name occurs, so that what holds of its values holds of any function.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import comb

from flint import acb, arb, ctx, fmpq

from sfpo_bench.grading.effort import TooMuch, spend
from sfpo_bench.grading.exact import exact
from sfpo_bench.grading.tree import Apply, Matrix, Node, Number, Symbol
from sfpo_bench.grading.vocabulary import words

Ball = arb | acb
_MOST_TERMS = 500
# Operations that one evaluation counts for beside its own, by the time that it takes.
_OF_AN_INTEGRAND, _OF_AN_UNKNOWN, _OF_A_TERM = 50, 12, 3
_MOST_OPERATIONS = 60_000  # of one evaluation, sums in sums included


class NoValue(ArithmeticError):
    """The expression has no value at these arguments, or none that can be calculated here."""


def fraction_ball(value: Fraction) -> arb:
    """The ball around a fraction."""
    return arb(fmpq(value.numerator, value.denominator))


@dataclass(slots=True)
class Evaluation:
    """Evaluates nodes where the variables have these values. A `log` without a base is `natural` or to base 10."""

    values: Mapping[str, Fraction | acb] = field(default_factory=dict)
    complex: bool = False
    natural: bool = False
    seed: int = 0
    operations: int = 0

    def ball(self, node: Node) -> Ball:
        """The value of `node`, finite. Raises NoValue."""
        value = self._value(node)
        if not value.is_finite():
            raise NoValue(f"{node} is not finite")
        return value

    def _value(self, node: Node) -> Ball:
        self.operations += 1
        spend()
        if self.operations > _MOST_OPERATIONS:
            raise NoValue("too many operations")
        match node:
            case Number(value):
                return self._ball_of(value)
            case Symbol(name):
                return self._symbol(name)
            case Apply(name, arguments):
                return self._apply(name, arguments)
            case _:
                raise NoValue(f"{type(node).__name__} is no number")

    def _ball_of(self, value: Fraction) -> Ball:
        ball = fraction_ball(value)
        return acb(ball) if self.complex else ball

    def _symbol(self, name: str) -> Ball:
        if name in self.values:
            value = self.values[name]
            return self._ball_of(value) if isinstance(value, Fraction) else value
        if name == r"\pi":
            return acb.pi() if self.complex else arb.pi()
        if name == "e":
            return acb(arb.const_e()) if self.complex else arb.const_e()
        if name == "i" and self.complex:
            return acb(0, 1)
        raise NoValue(f"{name} has no value")

    def _apply(self, name: str, arguments: tuple[Node, ...]) -> Ball:
        if name == "add":
            total = self._value(arguments[0])
            for term in arguments[1:]:
                total = total + self._value(term)
            return total
        if name == "mul":
            total = self._value(arguments[0])
            for factor in arguments[1:]:
                total = total * self._value(factor)
            return total
        if name == "pow":
            return self._power(*arguments)
        if name in ("sum", "prod"):
            return self._big(name, arguments)
        if name == "int":
            return self._integral(arguments)
        if name == "determinant":
            return self._determinant(arguments[0])
        balls = [self.ball(argument) for argument in arguments]
        if name.startswith("?"):
            return self._unknown(name, balls)
        function = _FUNCTIONS.get(name)
        if function is None:
            raise NoValue(f"{name} has no value here")
        return function(self, *balls)

    def _exact(self, node: Node) -> Fraction | None:
        return exact(node, {name: value for name, value in self.values.items() if isinstance(value, Fraction)})

    def _power(self, base: Node, exponent: Node) -> Ball:
        value = self._value(base)
        rational = self._exact(exponent)
        if rational is not None and rational.denominator == 1 and abs(rational) < 10**12:
            if rational <= 0 and value.contains(0):
                raise NoValue("a power of zero")
            return value ** int(rational)
        if self.complex:
            if value.contains(0):
                raise NoValue("a power of zero")
            return value ** self._value(exponent)
        assert isinstance(value, arb)
        if rational is not None and rational.denominator % 2 and value < 0:
            root = -((-value) ** fraction_ball(abs(rational)))
            root = root if rational.numerator % 2 else -root
            return root if rational > 0 else 1 / root
        if not value > 0:
            raise NoValue("a power of a number that is not positive")
        return value ** self._value(exponent)

    def _big(self, name: str, arguments: tuple[Node, ...]) -> Ball:
        """A finite sum or product, term by term."""
        body, variable, lower_node, upper_node = arguments
        lower, upper = self._exact(lower_node), self._exact(upper_node)
        if not isinstance(variable, Symbol) or lower is None or upper is None or upper - lower > _MOST_TERMS:
            raise NoValue("a sum without whole bounds, or too long")
        if lower.denominator != 1 or upper.denominator != 1:
            raise NoValue("a sum without whole bounds")
        total = self._ball_of(Fraction(name == "prod"))
        outer = self.values
        for place in range(int(lower), int(upper) + 1):
            spend(_OF_A_TERM)
            self.values = {**outer, variable.name: Fraction(place)}
            try:
                term = self._value(body)
            finally:
                self.values = outer
            total = total + term if name == "sum" else total * term
        return total

    def _integral(self, arguments: tuple[Node, ...]) -> Ball:
        """A definite integral with an error bound; the integrand must be analytic near the path."""
        body, variable, lower, upper = arguments
        if not isinstance(variable, Symbol) or any(_not_analytic(part) for part in _operations_of(body)):
            raise NoValue("an integral of a function that is not analytic")
        start, end = acb(self._value(lower)), acb(self._value(upper))
        inner = Evaluation(self.values, True, self.natural, self.seed)

        def integrand(at: acb, analytic: bool) -> acb:
            inner.values = {**self.values, variable.name: at}
            inner.operations = 0
            try:
                spend(_OF_AN_INTEGRAND)
                return acb(_analytic_value(inner, body, analytic))
            except (NoValue, TooMuch):  # nothing may be raised through the integrator
                return acb("nan")

        precision, ctx.prec = ctx.prec, min(ctx.prec, 160)
        try:
            found = acb.integral(integrand, start, end, eval_limit=1500, depth_limit=40)
        finally:
            ctx.prec = precision
        spend()  # raises what the integrand could not
        return found if self.complex else found.real

    def _determinant(self, matrix: Node) -> Ball:
        if not isinstance(matrix, Matrix) or len(matrix.rows) != len(matrix.rows[0]) or len(matrix.rows) > 6:
            raise NoValue("no square matrix")
        return _expanded([[self.ball(entry) for entry in row] for row in matrix.rows])

    def _unknown(self, name: str, balls: list[Ball]) -> Ball:
        """A smooth function with random coefficients that depend on its name and number of arguments alone."""
        spend(_OF_AN_UNKNOWN + len(balls))
        draw = random.Random(f"{self.seed} {name} {len(balls)}")
        total = self._ball_of(Fraction(draw.randrange(1, 1 << 30), 1 << 28))
        for _ in range(3):
            inner = self._ball_of(Fraction(draw.randrange(1, 1 << 30), 1 << 28))
            for ball in balls:
                scaled = ball / (1 + ball * ball) if draw.random() < 0.5 else ball
                inner = inner + scaled * self._ball_of(Fraction(draw.randrange(1, 1 << 30), 1 << 29))
            total = total + inner.sin() * self._ball_of(Fraction(draw.randrange(1, 1 << 30), 1 << 29))
        return total


def _expanded(rows: list[list[Ball]]) -> Ball:
    """The determinant, along the first row."""
    spend()
    if len(rows) == 1:
        return rows[0][0]
    total = None
    for column, entry in enumerate(rows[0]):
        minor = _expanded([row[:column] + row[column + 1 :] for row in rows[1:]])
        term = entry * minor if column % 2 == 0 else -entry * minor
        total = term if total is None else total + term
    assert total is not None
    return total


def _operations_of(node: Node) -> list[str]:
    names, pending = [], [node]
    while pending:
        here = pending.pop()
        if isinstance(here, Apply):
            names.append(here.name)
            pending += here.arguments
        elif not isinstance(here, (Number, Symbol)):
            names.append("?")
    return names


_ANALYTIC = words("add mul div pow sin cos tan exp sinh cosh tanh ln log root arctan arcsin arccos")


def _not_analytic(name: str) -> bool:
    return name not in _ANALYTIC


def _analytic_value(inner: Evaluation, body: Node, analytic: bool) -> Ball:
    """The integrand near the path. Where the integrator asks for an analytic function, a ball that touches a branch cut
    has no value."""
    value = inner.ball(body)
    if analytic and any(
        name in ("ln", "log", "root", "pow", "arcsin", "arccos", "arctan") for name in _operations_of(body)
    ):
        for part in _cut_arguments(body):
            at = acb(inner.ball(part))
            if at.imag.contains(0) and not at.real > 0:
                raise NoValue("a branch cut")
    return value


def _cut_arguments(node: Node) -> list[Node]:
    """What stands under a logarithm, a root or a fractional power in `node`."""
    found: list[Node] = []
    pending = [node]
    one = Number(Fraction(1))
    while pending:
        here = pending.pop()
        if not isinstance(here, Apply):
            continue
        pending += here.arguments
        if here.name in ("ln", "log", "root"):
            found.append(here.arguments[-1])
        elif here.name == "pow" and ((power := exact(here.arguments[1])) is None or power.denominator != 1):
            found.append(here.arguments[0])
        elif here.name in ("arcsin", "arccos", "arctan"):
            square = Apply("pow", (here.arguments[0], Number(Fraction(2))))
            sign = Number(Fraction(1 if here.name == "arctan" else -1))
            found.append(Apply("add", (one, Apply("mul", (sign, square)))))
    return found


def _division(_: Evaluation, above: Ball, below: Ball) -> Ball:
    if below.contains(0):
        raise NoValue("a division by zero")
    return above / below


def _root(at: Evaluation, degree: Ball, value: Ball) -> Ball:
    whole = degree.unique_fmpz() if isinstance(degree, arb) else degree.real.unique_fmpz()
    if whole is None or not 0 < int(whole) < 1000:
        raise NoValue("a root whose degree is no whole number")
    if at.complex:
        return value.root(int(whole)) if int(whole) > 1 else value
    assert isinstance(value, arb)
    if value < 0:
        if int(whole) % 2 == 0:
            raise NoValue("an even root of a negative number")
        return -((-value).root(int(whole)))
    if not value >= 0:
        # A ball around zero: the root of zero is zero, of what is near it unknown.
        raise NoValue("a root of what may be negative")
    return value.root(int(whole))


def _logarithm(at: Evaluation, value: Ball) -> Ball:
    if value.contains(0) or (isinstance(value, arb) and not value > 0):
        raise NoValue("a logarithm of what is not positive")
    return value.log()


def _log(at: Evaluation, *arguments: Ball) -> Ball:
    if len(arguments) == 2:
        base, value = arguments
        below = _logarithm(at, base)
        return _division(at, _logarithm(at, value), below)
    natural = _logarithm(at, arguments[0])
    return natural if at.natural else natural / arb(10).log()


def _whole(ball: Ball) -> int | None:
    real = ball if isinstance(ball, arb) else ball.real
    found = real.unique_fmpz()
    is_real = isinstance(ball, arb) or ball.imag.is_zero()
    return int(found) if found is not None and real.rad() < arb(2) ** -20 and is_real else None


def _factorial(_: Evaluation, value: Ball) -> Ball:
    if value.contains_integer() and not value > -1 if isinstance(value, arb) else False:
        raise NoValue("a factorial of a negative number")
    return (value + 1).gamma()


def _binom(at: Evaluation, above: Ball, below: Ball) -> Ball:
    first, second = _whole(above), _whole(below)
    if first is not None and second is not None and second >= 0 and abs(first) < 5000:
        if first >= 0:
            return at._ball_of(Fraction(comb(first, second)))
        # C(-n, k) = (-1)^k C(n + k - 1, k), of which n - 1 factors are enough where k is large.
        from_below = at._ball_of(Fraction(second - first - 1))
        found = _falling(from_below, min(second, -first - 1))
        return -found if second % 2 else found
    if second is not None and 0 <= second < 50:
        return _falling(above, second)
    return (above + 1).gamma() * (below + 1).rgamma() * (above - below + 1).rgamma()


def _falling(above: Ball, below: int) -> Ball:
    total = above * 0 + 1
    for place in range(below):
        total = total * (above - place) / (place + 1)
    return total


def _floor(at: Evaluation, value: Ball) -> Ball:
    real = value if isinstance(value, arb) else value.real
    whole = real.floor().unique_fmpz()
    if whole is None:
        raise NoValue("the floor of what may be a whole number")
    return at._ball_of(Fraction(int(whole)))


def _ceil(at: Evaluation, value: Ball) -> Ball:
    return -_floor(at, -value)


def _sgn(at: Evaluation, value: Ball) -> Ball:
    real = value if isinstance(value, arb) else value.real
    if real.contains(0):
        raise NoValue("the sign of what may be zero")
    return at._ball_of(Fraction(1 if real > 0 else -1))


def _absolute(at: Evaluation, value: Ball) -> Ball:
    return acb(abs(value)) if at.complex else abs(value)


def _extreme(largest: bool) -> Callable[..., Ball]:
    def choose(at: Evaluation, *values: Ball) -> Ball:
        reals = [value if isinstance(value, arb) else value.real for value in values]
        total = reals[0]
        for value in reals[1:]:
            total = total.max(value) if largest else total.min(value)
        return acb(total) if at.complex else total

    return choose


def _of_integers(node_name: str) -> Callable[..., Ball]:
    def apply(at: Evaluation, *values: Ball) -> Ball:
        wholes = [_whole(value) for value in values]
        numbers = tuple(Number(Fraction(whole)) for whole in wholes if whole is not None)
        found = exact(Apply(node_name, numbers)) if len(numbers) == len(values) else None
        if found is None:
            raise NoValue(f"{node_name} of what is not whole")
        return at._ball_of(found)

    return apply


def _method(name: str) -> Callable[..., Ball]:
    def call(at: Evaluation, value: Ball) -> Ball:
        found: Ball = getattr(value, name)()
        return found

    return call


def _reciprocal(name: str) -> Callable[..., Ball]:
    def call(at: Evaluation, value: Ball) -> Ball:
        return _division(at, value * 0 + 1, getattr(value, name)())

    return call


def _of_reciprocal(name: str) -> Callable[..., Ball]:
    def call(at: Evaluation, value: Ball) -> Ball:
        found: Ball = getattr(_division(at, value * 0 + 1, value), name)()
        return found

    return call


def _arccot(at: Evaluation, value: Ball) -> Ball:
    return (acb.pi() if at.complex else arb.pi()) / 2 - value.atan()


def _part(which: str) -> Callable[..., Ball]:
    def call(at: Evaluation, value: Ball) -> Ball:
        if not isinstance(value, acb):
            raise NoValue("a part of a real number")
        return acb(value.arg() if which == "arg" else getattr(value, which))

    return call


def _degrees(at: Evaluation, value: Ball) -> Ball:
    return value * (acb.pi() if at.complex else arb.pi()) / 180


_FUNCTIONS: dict[str, Callable[..., Ball]] = {
    "div": _division,
    "root": _root,
    "ln": _logarithm,
    "log": _log,
    "exp": _method("exp"),
    "factorial": _factorial,
    "binom": _binom,
    "floor": _floor,
    "ceil": _ceil,
    "sgn": _sgn,
    "abs": _absolute,
    "max": _extreme(True),
    "min": _extreme(False),
    "gcd": _of_integers("gcd"),
    "lcm": _of_integers("lcm"),
    "mod": _of_integers("mod"),
    "percent": lambda at, value: value / 100,
    "deg": _degrees,
    "conj": lambda at, value: value.conjugate() if at.complex else value,
    "Re": _part("real"),
    "Im": _part("imag"),
    "arg": _part("arg"),
    "sec": _reciprocal("cos"),
    "csc": _reciprocal("sin"),
    "cot": _reciprocal("tan"),
    "arccot": _arccot,
    "arcsec": _of_reciprocal("acos"),
    "arccsc": _of_reciprocal("asin"),
    **{name: _method(name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"arc{name}": _method(f"a{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}
