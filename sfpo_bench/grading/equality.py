"""When an answer equals the gold answer. Structure first, then numbers, then algebra; each kind has its function.

Imported in grading processes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from sfpo_bench.grading import algebra
from sfpo_bench.grading.answers import (
    Answer,
    Collection,
    Either,
    Formula,
    Named,
    Union,
    Words,
    is_equation,
    is_inequality,
    read,
)
from sfpo_bench.grading.numerals import Numeral, Tolerance, hundredth, same_number

_MOST_ITEMS = 60  # items of an unordered list that are tried against each other


def same(gold: Answer, answer: Answer, tolerance: Tolerance) -> bool:
    """`answer` is `gold`. Not symmetric: where the gold is a value, the answer may be an equation that ends in it."""
    if isinstance(gold, Either):
        return any(same(reading, answer, tolerance) for reading in gold.readings)
    if isinstance(answer, Either):
        return any(same(gold, reading, tolerance) for reading in answer.readings)
    if isinstance(gold, Named) or isinstance(answer, Named):
        return _same_named(gold, answer, tolerance)
    if isinstance(gold, Words) or isinstance(answer, Words):
        return isinstance(gold, Words) and isinstance(answer, Words) and _same_words(gold, answer)
    if isinstance(gold, Numeral) and isinstance(answer, Numeral):
        return same_number(gold, answer, tolerance)
    if isinstance(gold, Collection) and isinstance(answer, Collection):
        return _same_collection(gold, answer, tolerance) or _same_sets(gold, answer)
    if isinstance(gold, Union) and isinstance(answer, Union):
        return _matched(gold.parts, answer.parts, tolerance) or _same_sets(gold, answer)
    if (_is_matrix(gold) and isinstance(answer, Formula)) or (_is_matrix(answer) and isinstance(gold, Formula)):
        return algebra.same_formula(_latex(gold), _latex(answer), tolerance)
    if isinstance(gold, (Collection, Union)) or isinstance(answer, (Collection, Union)):
        return _same_ratio(gold, answer, tolerance) or _same_sets(gold, answer)
    return _same_scalar(gold, answer, tolerance)


def _same_words(gold: Words, answer: Words) -> bool:
    """The same words, whatever their case and punctuation; or the same letter of a choice (`(C)` is `C) 42`)."""
    return gold.text == answer.text or (gold.letter != "" and gold.letter == answer.letter)


def _same_named(gold: Answer, answer: Answer, tolerance: Tolerance) -> bool:
    """Names of single variables must agree where both sides give one; otherwise the values count.

    Two equations may also be the same with the variables on other sides (`y = 2x - 1` and `2x - y = 1`).
    """
    if isinstance(gold, Named) and isinstance(answer, Named):
        if gold.name == answer.name or not (_is_variable(gold.name) and _is_variable(answer.name)):
            if same(gold.value, answer.value, tolerance):
                return True
        elif not isinstance(gold.value, Formula):
            return False
        return (
            is_equation(gold.latex)
            and is_equation(answer.latex)
            and algebra.same_formula(gold.latex, answer.latex, tolerance)
        )
    if isinstance(gold, Named):
        if isinstance(answer, Formula) and is_equation(answer.latex):
            return algebra.same_formula(gold.latex, answer.latex, tolerance)
        if isinstance(answer, Formula) and is_inequality(answer.latex):
            return _same_sets(gold.value, answer)
        return same(gold.value, answer, tolerance)
    assert isinstance(answer, Named)
    if isinstance(gold, Formula) and is_equation(gold.latex):
        return algebra.same_formula(gold.latex, answer.latex, tolerance)
    return same(gold, answer.value, tolerance)


def _is_variable(name: str) -> bool:
    return len(name.split("_")[0].lstrip("\\")) == 1 and "(" not in name


def _same_scalar(gold: Answer, answer: Answer, tolerance: Tolerance) -> bool:
    """Two formulas, or a number and a formula; a percentage is its number or a hundredth of it."""
    if (
        isinstance(answer, Formula)
        and is_equation(answer.latex)
        and not (isinstance(gold, Formula) and is_equation(gold.latex))
    ):
        return same(gold, read(answer.latex.rsplit("=", 1)[1]), tolerance)
    if (
        isinstance(gold, Formula)
        and is_equation(gold.latex)
        and not (isinstance(answer, Formula) and is_equation(answer.latex))
    ):
        return False
    if isinstance(gold, Formula) and isinstance(answer, Formula):
        if gold.latex == answer.latex and gold.percent == answer.percent:
            return True
        return any(
            algebra.same_formula(first, second, tolerance)
            for first in _percent_readings(gold, answer.percent)
            for second in _percent_readings(answer, gold.percent)
        )
    numeral, formula = (gold, answer) if isinstance(gold, Numeral) else (answer, gold)
    assert isinstance(numeral, Numeral) and isinstance(formula, Formula)
    numerals = [numeral] if numeral.percent == formula.percent else [numeral, hundredth(numeral)]
    if formula.percent and not numeral.percent:
        numerals[1] = Numeral(numeral.value * 100, None if numeral.decimals is None else numeral.decimals - 2)
    return any(
        algebra.same_value(each, formula.latex, tolerance, numeral_is_gold=isinstance(gold, Numeral))
        for each in numerals
    )


def _percent_readings(formula: Formula, other_has_percent: bool) -> list[str]:
    if formula.percent and not other_has_percent:
        return [formula.latex, rf"\frac{{{formula.latex}}}{{100}}"]
    return [formula.latex]


def _same_collection(gold: Collection, answer: Collection, tolerance: Tolerance) -> bool:
    """Lists and sets in any order; tuples, intervals and matrices in theirs, with the same brackets."""
    if gold.matrix or answer.matrix:
        return any(_in_order(first, second, tolerance) for first in _as_matrix(gold) for second in _as_matrix(answer))
    if gold.brackets == ":" or answer.brackets == ":":
        return gold.brackets == answer.brackets and _same_proportions(gold.items, answer.items)
    unordered = ("", "{}")
    if gold.brackets in unordered and answer.brackets in unordered:
        if _named_apart(gold) != _named_apart(answer):
            return _in_order(gold.items, answer.items, tolerance)
        return _matched(gold.items, answer.items, tolerance)
    if "{}" in (gold.brackets, answer.brackets):
        return False
    if "" in (gold.brackets, answer.brackets):
        other = gold.brackets or answer.brackets
        return (other == "()" or len(gold.items) > 2) and _in_order(gold.items, answer.items, tolerance)
    same_brackets = gold.brackets == answer.brackets
    return (same_brackets or len(gold.items) > 2) and _in_order(gold.items, answer.items, tolerance)


def _as_matrix(collection: Collection) -> list[tuple[Answer, ...]]:
    """The rows of a matrix, of `[[1, 2], [3, 4]]` as programs write it, and of a tuple, which is a row or a column."""
    if collection.matrix:
        return [collection.items]
    if collection.brackets not in ("()", "[]"):
        return []
    rows = [item for item in collection.items if isinstance(item, Collection) and item.brackets in ("()", "[]")]
    if len(rows) == len(collection.items) and len({len(row.items) for row in rows}) == 1:
        return [tuple(Collection("()", row.items, row.latex) for row in rows)]
    column = tuple(Collection("()", (item,), "") for item in collection.items)
    return [column, (Collection("()", collection.items, ""),)]


def _latex(answer: Answer) -> str:
    return answer.latex if isinstance(answer, (Collection, Formula, Union, Named)) else ""


def _is_matrix(answer: Answer) -> bool:
    return isinstance(answer, Collection) and answer.matrix


def _named_apart(collection: Collection) -> bool:
    """True for `x = 1, y = 2`, whose items are told apart by names, so that their order has a meaning to others."""
    names = [item.name for item in collection.items if isinstance(item, Named)]
    return len(names) == len(collection.items) and len(set(names)) == len(names) > 1


def _in_order(gold: Sequence[Answer], answer: Sequence[Answer], tolerance: Tolerance) -> bool:
    return len(gold) == len(answer) and all(
        same(first, second, tolerance) for first, second in zip(gold, answer, strict=True)
    )


def _matched(gold: Sequence[Answer], answer: Sequence[Answer], tolerance: Tolerance) -> bool:
    """Every item of one has its own equal in the other."""
    if len(gold) != len(answer) or len(gold) > _MOST_ITEMS:
        return False
    left = list(answer)
    for item in gold:
        partner = next((place for place, other in enumerate(left) if same(item, other, tolerance)), None)
        if partner is None:
            return False
        del left[partner]
    return True


def _same_proportions(gold: Sequence[Answer], answer: Sequence[Answer]) -> bool:
    """`2:4` is `1:2`; but what may be a time of day (`10:30`) has to be the same."""
    first = [item.value for item in gold if isinstance(item, Numeral)]
    second = [item.value for item in answer if isinstance(item, Numeral)]
    if len(first) != len(second) or first == second:
        return first == second
    clock = len(first) == 2 and any(10 <= pair[1] < 60 and 0 <= pair[0] <= 24 for pair in (first, second))
    pairs = list(zip(first, second, strict=True))
    return not clock and any(first) and any(second) and all(a * d == b * c for a, b in pairs for c, d in pairs)


def _same_ratio(gold: Answer, answer: Answer, tolerance: Tolerance) -> bool:
    """The ratio `7:32` is the number `\\frac{7}{32}`."""
    ratio, other = (gold, answer) if isinstance(gold, Collection) else (answer, gold)
    if not isinstance(ratio, Collection) or ratio.brackets != ":" or len(ratio.items) != 2:
        return False
    above, below = ratio.items
    if not isinstance(above, Numeral) or not isinstance(below, Numeral) or not below.value:
        return False
    return isinstance(other, Numeral) and other.value == Fraction(above.value, below.value)


def _same_sets(gold: Answer, answer: Answer) -> bool:
    """Intervals, unions, inequalities and sets of numbers that are the same set, as math-verify decides.

    Several inequalities joined by `or` or commas are the union of what they say.
    """
    if not (_maybe_a_set(gold) and _maybe_a_set(answer)):
        return False
    if not any(isinstance(part, (Formula, Union)) for side in (gold, answer) for part in _parts(side)):
        return False
    return algebra.same_set(_set_latex(gold), _set_latex(answer))


def _parts(answer: Answer) -> list[Answer]:
    plain_list = isinstance(answer, Collection) and answer.brackets == "" and not answer.matrix
    return list(answer.items) if isinstance(answer, Collection) and plain_list else [answer]


def _maybe_a_set(answer: Answer) -> bool:
    if isinstance(answer, Union):
        return True
    if isinstance(answer, Formula):
        return True
    if isinstance(answer, Collection) and not answer.matrix:
        inequalities = [isinstance(part, Formula) and is_inequality(part.latex) for part in answer.items]
        return all(inequalities) if answer.brackets == "" else answer.brackets != ":"
    return False


def _set_latex(answer: Answer) -> list[str]:
    return [part.latex for part in _parts(answer) if isinstance(part, (Formula, Union, Collection))]


def readable(gold: Answer) -> bool:
    """True when the gold can be compared as more than text: every formula in it can be parsed."""
    if isinstance(gold, Either):
        return any(readable(reading) for reading in gold.readings)
    if isinstance(gold, Named):
        return readable(gold.value)
    if isinstance(gold, Collection):
        return all(readable(item) for item in gold.items)
    if isinstance(gold, Union):
        return all(readable(part) for part in gold.parts)
    if isinstance(gold, Formula):
        return algebra.parsed(gold.latex) is not None
    return True
