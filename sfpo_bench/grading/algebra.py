r"""Formulas compared as mathematics, by math-verify and sympy. Imported in grading processes only.

math-verify reads LaTeX and decides equality. Around it stand guards against formulas that no computer should evaluate,
and a numerical test that settles most comparisons before anything is simplified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import inf, isfinite, lgamma, log10
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify
from math_verify.grader import unwrap_fcs
from math_verify.parser import NormalizationConfig
from sympy import Expr
from sympy.core.function import AppliedUndef

from sfpo_bench.grading.numerals import (
    DIGITS_OF_A_ROUNDED_NUMBER,
    Numeral,
    Tolerance,
    rounds_to,
    within_noise,
)

_LONGEST = 2000  # characters of a formula
_DEEPEST = 60  # braces inside braces
_MOST_DIGITS = 100_000.0  # of a number that is worked out

# Units and boxes are our own business; math-verify would take the `t` of `x^2 + 2t` for a tonne.
_AS_LATEX = [
    LatexExtractionConfig(
        boxed_match_priority=-1,
        normalization_config=NormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
        ),
    )
]


@lru_cache(maxsize=8192)
def parsed(latex: str) -> Any | None:
    """The sympy object of a formula; None where math-verify reads none, or it is too long, too deep or too large."""
    text = _named_letters(" ".join(latex.split()).replace("$", ""))
    if not text or len(text) > _LONGEST or _depth(text) > _DEEPEST:
        return None
    found = [item for item in parse(f"${text}$", _AS_LATEX, parsing_timeout=None) if not isinstance(item, str)]
    if not found:
        return None
    item = found[0]
    try:
        if _too_large(item):
            return None
        return item.xreplace({symbol: sympy.I for symbol in item.free_symbols if symbol.name == "i"})
    except (RecursionError, AttributeError, TypeError, ValueError, OverflowError):
        return item


_INDEXED_CONSTANT = re.compile(r"(?<![A-Za-z\\])([EeIi])(?=\s*_)")
_BARE_FRACTION = re.compile(r"\\frac\s*(\\[A-Za-z]+|\w)\s*(\\[A-Za-z]+|\w)(?![A-Za-z])")


def _named_letters(text: str) -> str:
    r"""`E_1` and `I_1` as variables, which math-verify takes for constants; `\frac\pi 2` with its braces."""
    return _BARE_FRACTION.sub(r"\\frac{\1}{\2}", _INDEXED_CONSTANT.sub(r"\\mathrm{\1}", text))


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest


def _too_large(item: Any) -> bool:
    """True when working it out would make a number of more than `_MOST_DIGITS` digits, as `9^{9^{9^9}}` would."""
    return any(_digits(part) > _MOST_DIGITS for part in sympy.postorder_traversal(item) if isinstance(part, Expr))


def _digits(part: Any) -> float:
    """About how many digits the number has that a power or a factorial of numbers is; 0 for anything else."""
    if isinstance(part, sympy.Pow) and not part.free_symbols:
        exponent = _size(part.exp)
        if exponent == inf:
            return inf
        return exponent * max(1.0, abs(log10(max(_size(part.base), 1e-300))))
    if isinstance(part, sympy.factorial) and not part.free_symbols:
        argument = _size(part.args[0])
        return inf if argument > 1e6 else lgamma(argument + 1) / 2.3
    return 0.0


def _size(part: Any) -> float:
    """The absolute value of a constant, roughly; infinite where it has more than 300 digits or is not known."""
    if isinstance(part, sympy.Pow):
        base, exponent = _size(part.base), _size(part.exp)
        if base == inf or exponent == inf or exponent * abs(log10(max(base, 1e-300))) > 300:
            return inf
        return float(base**exponent)
    if isinstance(part, sympy.factorial):
        argument = _size(part.args[0])
        return inf if argument > 160 else float(10 ** (lgamma(argument + 1) / 2.302585))
    if isinstance(part, (sympy.Add, sympy.Mul)):
        sizes = [_size(argument) for argument in part.args]
        total = 1.0
        for size in sizes:
            total = total + size if isinstance(part, sympy.Add) else total * max(size, 1e-300)
        return total
    if isinstance(part, sympy.Integer) and abs(part.p).bit_length() > 990:
        return inf
    if part.is_Number or part.is_NumberSymbol:
        value = abs(float(part))
        return value if isfinite(value) else inf
    return 1.0


def same_formula(gold: str, answer: str, tolerance: Tolerance) -> bool:
    """The formulas are equal: as numbers where both have a value, otherwise as math-verify decides."""
    first, second = parsed(gold), parsed(answer)
    if first is None or second is None:
        return False
    if first == second:
        return True
    if isinstance(first, sympy.Eq) and isinstance(second, sympy.Eq):
        return _same_equation(first, second)
    differ = _differ(first, second, tolerance)
    if differ is not None:
        return not differ
    return bool(verify(first, second, timeout_seconds=None, allow_set_relation_comp=True))


def same_value(gold: Numeral, answer: str, tolerance: Tolerance, *, numeral_is_gold: bool) -> bool:
    """A number and a formula are equal: exactly, within `tolerance`, or as a decimal and what it was rounded from."""
    found = parsed(answer)
    if found is None:
        return False
    exact = sympy.Rational(gold.value.numerator, gold.value.denominator)
    value = _constant(found)
    if value is None:
        # `x^2 - x^2` is 0, whatever x.
        unknown = isinstance(found, Expr) and _differ(exact, found, tolerance) is None
        return unknown and bool(verify(exact, found, timeout_seconds=None))
    if tolerance.allows(*((gold.value, value) if numeral_is_gold else (value, gold.value))):
        return True
    if gold.decimals is None:
        return _equal_constants(exact, found)
    rounded = rounds_to(value, gold, DIGITS_OF_A_ROUNDED_NUMBER) and not found.has(sympy.Float)
    return rounded or within_noise(gold.value, value)


_TINY = Fraction(1, 10**25)
_SLOW = (sympy.Integral, sympy.Limit, sympy.Sum, sympy.Product, sympy.Derivative)


@lru_cache(maxsize=1024)
def _constant(item: Any) -> Fraction | None:
    """The real value of a constant to thirty digits; None for what has variables, no value or an imaginary part."""
    if not isinstance(item, Expr) or item.free_symbols:
        return None
    try:
        value = item.doit().evalf(30) if item.has(*_SLOW) else item.evalf(30)
        if not isinstance(value, sympy.Float):
            value = sympy.Float(value, 30)
        return Fraction(str(value)) if value.is_finite else None
    except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError, RecursionError):
        return None


def _equal_constants(first: Any, second: Any) -> bool:
    """Two constants without decimals are the same: exactly where they are rational, otherwise to twenty digits."""
    one, other = first.doit(), second.doit()
    if one.is_Rational and other.is_Rational:
        return bool(one == other)
    gold, answer = _constant(first), _constant(second)
    return gold is not None and answer is not None and abs(gold - answer) <= abs(gold) / 10**20 + _TINY


def _differ(first: Any, second: Any, tolerance: Tolerance) -> bool | None:
    """Whether two constants differ, or two formulas in the same variables at a point; None when that says nothing."""
    if not isinstance(first, Expr) or not isinstance(second, Expr) or first.has(*_SLOW) or second.has(*_SLOW):
        return None
    if not first.free_symbols and not second.free_symbols:
        gold, answer = _constant(first), _constant(second)
        if gold is None or answer is None:
            return None
        if tolerance.allows(gold, answer):
            return False
        if first.has(sympy.Float) or second.has(sympy.Float):
            return not within_noise(gold, answer)
        return not _equal_constants(first, second)
    gold_value, answer_value = _at_a_point(first, second, 0)
    if gold_value is None or answer_value is None:
        return None
    return True if abs(gold_value - answer_value) > sympy.Max(1, abs(gold_value)) / 10_000 else None


def _at_a_point(first: Any, second: Any, which: int) -> tuple[Any | None, Any | None]:
    """Both formulas with the same numbers, of no special meaning, for their variables; None where that has no value."""
    if first.has(AppliedUndef) or second.has(AppliedUndef):
        return None, None
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    point = {symbol: sympy.Rational(7 * place + 5 + 3 * which, 11 + which) for place, symbol in enumerate(symbols)}
    try:
        values = [formula.evalf(30, subs=point) for formula in (first, second)]
        return (values[0], values[1]) if all(abs(value).is_Float or value.is_zero for value in values) else (None, None)
    except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError, RecursionError):
        return None, None


def same_set(gold: Sequence[str], answer: Sequence[str]) -> bool:
    """The union of what the formulas of one side say is that of the other: intervals, inequalities, sets."""
    if len(gold) == len(answer) == 1:
        first, second = parsed(gold[0]), parsed(answer[0])
        if first is None or second is None:
            return False
        if verify(first, second, timeout_seconds=None, allow_set_relation_comp=True):
            return True
    one, other = _as_set(gold), _as_set(answer)
    if len(_variables(gold)) > 1 or len(_variables(answer)) > 1:
        return False
    return one is not None and other is not None and bool(one == other)


def _variables(formulas: Sequence[str]) -> set[Any]:
    return {symbol for latex in formulas for symbol in getattr(parsed(latex), "free_symbols", ())}


def _as_set(formulas: Sequence[str]) -> Any | None:
    """The union of sets and of the solutions of inequalities in one variable; None where one is neither."""
    found = []
    for latex in formulas:
        item = parsed(latex)
        try:
            found.append(item if isinstance(item, sympy.Set) else unwrap_fcs(item).as_set())
        except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError, RecursionError):
            return None
    return sympy.Union(*found)


def _same_equation(first: Any, second: Any) -> bool:
    """Two equations say the same: the differences of their sides are constant multiples of each other."""
    ratios = []
    for which in range(3):
        one, other = _at_a_point(first.lhs - first.rhs, second.lhs - second.rhs, which)
        if one is None or other is None or not other:
            return bool(verify(first, second, timeout_seconds=None))
        ratios.append(one / other)
    return bool(ratios[0]) and all(abs(ratio / ratios[0] - 1) < 1e-12 for ratio in ratios)


_TOUCH = (
    r"\frac{5\sqrt{42}}{27}",
    r"x^2 + 2x + 1",
    r"(3, \frac{\pi}{2})",
    r"\{1, 2\}",
    r"\cos^{2}(\theta) - 4ab",
    r"-2 \le x < 7",
    r"y = \frac{x}{2}",
    r"(-\infty, 1) \cup [2, 3]",
    r"\log_2 8 + 3!",
)


def warm_up() -> None:
    """Parse a few formulas: the parser learns its grammar as it goes, and the first ones take a tenth of a second."""
    for latex in _TOUCH:
        parsed(latex)
    same_formula(r"\sin(x)^2", r"1 - \cos(x)^2", Tolerance())
