"""The arithmetic of expression trees against Python's: fractions where they are rational, balls around the floats."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction

import pytest
from flint import acb, arb

from sfpo_bench.grading.balls import Evaluation, NoValue
from sfpo_bench.grading.exact import exact
from sfpo_bench.grading.rounding import Tolerance, near
from sfpo_bench.grading.tree import Apply, Matrix, Node, Number, Symbol

HALF, K, X = Fraction(1, 2), Symbol("k"), Symbol("x")


def node(value: Node | Fraction | float | str) -> Node:
    return Number(Fraction(value)) if isinstance(value, (int, float, str, Fraction)) else value


def apply(name: str, *arguments: Node | Fraction | float | str) -> Apply:
    return Apply(name, tuple(map(node, arguments)))


K_SQUARED = apply("pow", K, 2)


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        (apply("pow", -1, 4), 1),
        (apply("pow", -1, 3), -1),
        (apply("pow", 2, -3), Fraction(1, 8)),
        (apply("pow", 0, 3), 0),
        (apply("pow", 0, 0), None),
        (apply("pow", -8, Fraction(2, 3)), 4),
        (apply("pow", 4, Fraction(3, 2)), 8),
        (apply("pow", 2, HALF), None),
        (apply("root", 3, 27), 3),
        (apply("root", 3, Fraction(-8, 27)), Fraction(-2, 3)),
        (apply("root", 5, 243), 3),
        (apply("root", 2, -4), None),
        (apply("root", 3, 25), None),
        (apply("div", 1, 0), None),
        (apply("floor", -HALF), -1),
        (apply("ceil", -HALF), 0),
        (apply("ceil", 2), 2),
        (apply("sgn", 0), 0),
        (apply("sgn", -HALF), -1),
        (apply("mod", -7, 3), 2),
        (apply("mod", 1, 0), None),
        (apply("percent", 50), HALF),
        (apply("max", 1, 3, 2), 3),
        (apply("min", 2, 1, 3), 1),
        (apply("gcd", 4, 6), 2),
        (apply("lcm", 4, 6), 12),
        (apply("lcm", HALF, 6), None),
        (apply("factorial", 5), 120),
        (apply("factorial", HALF), None),
        (apply("binom", 5, 2), 10),
        (apply("binom", 2, 5), 0),
        (apply("binom", -3, 3), -10),
        (apply("binom", -1, 4), 1),
        (apply("sum", K_SQUARED, K, 1, 4), 30),
        (apply("prod", K, K, 2, 4), 24),
        (apply("sum", K, K, 1, 0), 0),
        (apply("prod", K, K, 1, 0), 1),
        (Symbol(r"\pi"), None),
    ],
    ids=str,
)
def test_exact_values_are_those_of_fractions(tree: Node, value: Fraction | None) -> None:
    assert exact(tree) == value


SECANT = 1 / math.cos(0.7)


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        (apply("pow", X, Fraction(-2, 3)), 0.7 ** (-2 / 3)),
        (apply("pow", apply("mul", -1, X), Fraction(2, 3)), 0.7 ** (2 / 3)),
        (apply("pow", apply("mul", -1, X), Fraction(-1, 3)), -(0.7 ** (-1 / 3))),
        (apply("root", 3, apply("mul", -1, X)), -(0.7 ** (1 / 3))),
        (apply("sum", apply("pow", X, K), K, 0, 3), 1 + 0.7 + 0.7**2 + 0.7**3),
        (apply("prod", apply("add", X, K), K, 0, 2), 0.7 * 1.7 * 2.7),
        (apply("log", X), math.log10(0.7)),
        (apply("log", X, 5), math.log(5, 0.7)),
        (apply("deg", X), math.radians(0.7)),
        (apply("percent", X), 0.007),
        (apply("factorial", HALF), math.sqrt(math.pi) / 2),
        (apply("factorial", X), math.gamma(1.7)),
        (apply("binom", -1, 2**40 + 1), -1.0),
        (apply("binom", -3, 2**20), (2**20 + 2) * (2**20 + 1) / 2),
        (apply("binom", X, 3), 0.7 * -0.3 * -1.3 / 6),
        (apply("sgn", apply("add", X, -1)), -1.0),
        (apply("sgn", X), 1.0),
        (apply("floor", apply("add", X, -1)), -1.0),
        (apply("ceil", X), 1.0),
        (apply("max", X, 1, HALF), 1.0),
        (apply("min", X, 1, HALF), 0.5),
        (apply("sec", X), SECANT),
        (apply("csc", X), 1 / math.sin(0.7)),
        (apply("cot", X), 1 / math.tan(0.7)),
        (apply("arccot", X), math.pi / 2 - math.atan(0.7)),
        (apply("arcsec", SECANT), 0.7),
        (apply("arccsc", 1 / math.sin(0.7)), 0.7),
        (apply("arctanh", X), math.atanh(0.7)),
        (apply("determinant", Matrix(((X, node(2)), (node(3), node(4))))), 4 * 0.7 - 6),
        (
            apply("determinant", Matrix(tuple(tuple(map(node, row)) for row in ((2, 0, 1), (1, 3, 2), (1, 1, 4))))),
            18.0,
        ),
        (apply("int", K_SQUARED, K, 0, X), 0.7**3 / 3),
    ],
    ids=str,
)
def test_balls_hold_the_value_at_seven_tenths(tree: Node, value: float) -> None:
    ball = Evaluation({"x": Fraction(7, 10)}).ball(tree)
    assert isinstance(ball, arb) and float(ball.mid()) == pytest.approx(value, rel=1e-12)
    assert float(ball.rad()) < 1e-12


def test_a_log_without_a_base_is_natural_where_it_is_told_so() -> None:
    assert float(Evaluation(natural=True).ball(apply("log", 5)).real.mid()) == pytest.approx(math.log(5))


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        (apply("conj", Symbol("i")), -1j),
        (apply("root", 2, -4), 2j),
        (apply("pow", Symbol("i"), Symbol("i")), cmath.exp(-math.pi / 2)),
        (apply("Im", apply("mul", 3, Symbol("i"))), 3),
        (apply("arg", Symbol("i")), math.pi / 2),
        (apply("abs", apply("add", 3, apply("mul", 4, Symbol("i")))), 5),
    ],
    ids=str,
)
def test_complex_balls_are_principal_branches(tree: Node, value: complex) -> None:
    ball = Evaluation(complex=True).ball(tree)
    assert isinstance(ball, acb) and complex(ball) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "tree",
    [
        apply("pow", 0, 0),
        apply("pow", 0, -1),
        apply("div", 1, 0),
        apply("ln", 0),
        apply("ln", -1),
        apply("root", 2, -1),
        apply("pow", -2, HALF),
        apply("factorial", -3),
        apply("sgn", 0),
    ],
    ids=str,
)
def test_what_has_no_real_value_has_no_ball(tree: Node) -> None:
    with pytest.raises(NoValue):
        Evaluation().ball(tree)


def test_a_tolerance_is_the_larger_of_both_rooms_ends_included() -> None:
    def allows(absolute: float, relative: float, answer: float) -> bool:
        return Tolerance(absolute, relative).allows(arb(8), arb(answer))

    assert allows(0.5, 0.0, 8.5) and not allows(0.5, 0.0, 8.6)
    assert allows(0.0, 0.125, 9.0) and not allows(0.0, 0.125, 9.1)
    assert allows(0.5, 0.125, 9.0) and allows(2.0, 0.125, 10.0)
    assert not allows(0.0, 0.0, 8.0)


def test_about_is_cut_off_or_rounded_for_a_decimal_and_rounded_for_a_whole_number() -> None:
    pi, two_thirds = Symbol(r"\pi"), apply("div", 2, 3)
    assert [near(pi, Number(Fraction(text), digits=4, places=3)) for text in ("3.141", "3.142", "3.140", "3.143")] == [
        True,
        True,
        False,
        False,
    ]
    assert [near(two_thirds, Number(Fraction(value))) for value in (0, 1, 2)] == [False, True, False]
