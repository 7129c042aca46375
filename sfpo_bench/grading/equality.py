"""Whether an answer is the gold, by the kinds of their trees. What follows from no proof here is not the same."""

from __future__ import annotations

import re
from collections.abc import Sequence as Ordered
from fractions import Fraction
from math import gcd

from sfpo_bench.grading.identity import ratio_is_constant, same_expression, vanishes
from sfpo_bench.grading.matrices import as_matrix
from sfpo_bench.grading.meanings import alternatives, items_of, named, record, statements_of, value_of
from sfpo_bench.grading.real_sets import is_set, same_set
from sfpo_bench.grading.rounding import Tolerance, same_number
from sfpo_bench.grading.scalars import same_scalars
from sfpo_bench.grading.terms import negative
from sfpo_bench.grading.tree import (
    EMPTY_SET,
    Apply,
    Based,
    Choice,
    Clock,
    Either,
    Logic,
    Matrix,
    Node,
    Number,
    Relation,
    Sequence,
    SetBuilder,
    Symbol,
    Where,
    Words,
    has,
    walk,
)

_LONGEST_LIST = 200
_NOTHING = re.compile(
    r"(?:there (?:is|are) )?(?:no (?:\w+ )?solutions?(?: exists?)?|none|(?:the )?empty set|no such \w+)"
)


def same(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """True when the answer is the gold; of notation with several readings any may be right."""
    if gold == answer:
        return not _undefined(gold)
    if isinstance(gold, Either):
        return any(same(reading, answer, tolerance) for reading in gold.readings)
    if isinstance(answer, Either):
        return any(same(gold, reading, tolerance) for reading in answer.readings)
    if isinstance(gold, Where) or isinstance(answer, Where):
        return _same_where(gold, answer, tolerance)
    if isinstance(gold, Choice) or isinstance(answer, Choice):
        return _same_choice(gold, answer, tolerance)
    if isinstance(gold, Words) or isinstance(answer, Words):
        return _same_words(gold, answer)
    if isinstance(gold, (Clock, Based)) or isinstance(answer, (Clock, Based)):
        return _same_clock(gold, answer)
    if _speaks(gold) or _speaks(answer):
        return _same_statements(gold, answer, tolerance)
    return _same_values(gold, answer, tolerance)


def _undefined(node: Node) -> bool:
    """A division by zero is the same as nothing, not even as itself."""
    return isinstance(node, Apply) and node.name == "div" and node.arguments[1] == Number(Fraction(0))


def _speaks(node: Node) -> bool:
    return isinstance(node, (Relation, Logic))


def _same_where(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """True for equal values; two conditions must be the same too, a condition on one side alone is ignored."""
    first, second = (node if isinstance(node, Where) else Where(node, None) for node in (gold, answer))
    if first.condition is not None and second.condition is not None:
        if not same(first.condition, second.condition, tolerance):
            return False
    elif first.condition is not None or second.condition is not None:
        whole = [node.condition for node in (first, second) if node.condition is not None]
        if not all(_about_parameters(condition) for condition in whole) and isinstance(first.value, (Sequence, Number)):
            return False
        if second.condition is not None and _restricts(second.condition):
            return False
    return same(first.value, second.value, tolerance)


def _restricts(condition: Node) -> bool:
    """True for an inequality with a number that is no usual start such as `n >= 1`."""
    return any(
        isinstance(part, Relation)
        and not {"<", ">", r"\le", r"\ge"}.isdisjoint(part.signs)
        and any(isinstance(below, Number) and abs(below.value) > 1 for below in walk(part))
        for part in statements_of(condition)
    )


def _about_parameters(condition: Node) -> bool:
    return isinstance(condition, (Relation, Logic)) and not any(
        named(part) for part in statements_of(condition) if isinstance(part, Relation) and part.signs == ("=",)
    )


def _same_choice(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """The same letter; a value behind the answer's letter may also be the value that was asked for."""
    if isinstance(gold, Choice):
        letter = answer.letter if isinstance(answer, Choice) else answer.name if isinstance(answer, Symbol) else ""
        return letter == gold.letter
    assert isinstance(answer, Choice)
    if answer.rest is None:
        return isinstance(gold, Symbol) and gold.name == answer.letter
    return same(gold, answer.rest, tolerance)


def _same_words(gold: Node, answer: Node) -> bool:
    first, second = (_normal(node.text) if isinstance(node, Words) else "" for node in (gold, answer))
    if isinstance(gold, Words) and isinstance(answer, Words):
        return first.removesuffix("s") == second.removesuffix("s") != ""
    words, other = (gold, answer) if isinstance(gold, Words) else (answer, gold)
    assert isinstance(words, Words)
    if other == EMPTY_SET:
        return _NOTHING.fullmatch(words.text) is not None
    value = value_of(other) if _speaks(other) else None
    if isinstance(value, Words):
        return _same_words(words, value)
    return isinstance(other, Symbol) and other.name == words.text


_MONTH = "(january|february|march|april|may|june|july|august|september|october|november|december)"
_DAY = r"(\d{1,2})(?: ?(?:st|nd|rd|th))?"
_DATE = re.compile(rf"{_MONTH} {_DAY}|(?:the )?{_DAY}(?: of)? {_MONTH}")
_SAID_OTHERWISE = {"dne": "does not exist", "infinitely many solutions": "infinitely many"}


def _normal(text: str) -> str:
    """One spelling of texts with several: dates, the empty set, "does not exist"."""
    if date := _DATE.fullmatch(text):
        return f"{date[1] or date[4]} {date[2] or date[3]}"
    text = " ".join(_NOTHING.sub(_normal_nothing, text).split())
    return _SAID_OTHERWISE.get(text, text)


def _normal_nothing(match: re.Match[str]) -> str:
    text = re.sub(r"^there (?:is|are) |exists?$", "", match.group())
    return text.replace("solutions", "solution")


def _same_clock(gold: Node, answer: Node) -> bool:
    """Times of day with the same hours and minutes, and half of the day where both tell it; numbers in one base."""
    if isinstance(gold, Clock) and isinstance(answer, Clock):
        return _same_time(gold, answer)
    if isinstance(gold, Based) and isinstance(answer, Based):
        return gold == answer
    clock, other = (gold, answer) if isinstance(gold, Clock) else (answer, gold)
    if isinstance(clock, Clock) and len(clock.fields) == 1 and isinstance(other, Number):
        return other.value == clock.fields[0]
    if isinstance(gold, Clock) and gcd(*gold.fields) > 1:
        return _value_is(gold, answer)  # ratios are given in lowest terms
    if not isinstance(clock, Clock) or clock.half or isinstance(other, Based):
        return _value_is(gold, answer)
    if isinstance(other, (Sequence, Number, Apply)):
        # `7:32` may be a ratio too, where the other side is written as one.
        items = tuple(Number(Fraction(field)) for field in clock.fields)
        as_ratio = Sequence(":", items)
        return _same_values(as_ratio, other, Tolerance())
    return _value_is(gold, answer)


def _same_time(first: Clock, second: Clock) -> bool:
    """The same moment of a day; of clocks that both leave the half of the day open, the same reading."""
    padded = [clock.fields + (0,) * (3 - len(clock.fields)) for clock in (first, second)]
    if not first.half and not second.half:
        return padded[0] == padded[1]
    hours = [_hours(clock) for clock in (first, second)]
    return padded[0][1:] == padded[1][1:] and bool(hours[0] & hours[1])


def _hours(clock: Clock) -> frozenset[int]:
    """The hours of the day, from 0 to 23, that a clock may show."""
    hour = clock.fields[0]
    if 0 < hour <= 12:
        return frozenset({"am": {hour % 12}, "pm": {hour % 12 + 12}}.get(clock.half, {hour % 12, hour % 12 + 12}))
    return frozenset({hour % 24})


def _value_is(gold: Node, answer: Node) -> bool:
    """One side names a value that is the other side."""
    for one, other in ((gold, answer), (answer, gold)):
        if _speaks(one) and not _speaks(other) and (value := value_of(one)) is not None:
            return same(other, value, Tolerance())
    return False


def _same_statements(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    if _speaks(gold) and _speaks(answer):
        return _same_both(gold, answer, tolerance)
    if _speaks(gold):
        return _same_as_value(gold, answer, tolerance, strict=True)
    return _same_as_value(answer, gold, tolerance, strict=False)


def _same_as_value(statement: Node, value: Node, tolerance: Tolerance, *, strict: bool) -> bool:
    """A statement beside what is none: the value that it names, its alternatives, its pair, or the set that it tells.

    `strict` for a gold: an equation stands for its right side only where its left side is a name.
    """
    found = named(statement)
    stated = (found[1] if found else None) if strict else value_of(statement)

    def equal(one: Node) -> bool:
        return same(one, value, tolerance) if strict else same(value, one, tolerance)

    if stated is not None and equal(stated):
        return True
    if (several := alternatives(statement)) is not None and _same_lists(several[1], items_of(value), tolerance):
        return (isinstance(value, Sequence) and value.brackets in ("", "{}")) or len(several[1]) == 1
    if (pairs := record(statement)) is not None and isinstance(value, (Sequence, Matrix)):
        if isinstance(value, Matrix) or value.brackets in ("()", ""):
            return equal(Sequence("()", tuple(pairs[name] for name in sorted(pairs))))
        return False
    return is_set(value) and same_set(statement, value)


def _same_both(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    first, second = named(gold), named(answer)
    if first and second and (_same_name(first[0], second[0])):
        return same(first[1], second[1], tolerance)
    one, other = record(gold), record(answer)
    if one is not None and other is not None and set(one) == set(other):
        return all(same(one[name], other[name], tolerance) for name in one)
    several, others = alternatives(gold), alternatives(answer)
    if several and others and several[0] == others[0]:
        return _same_lists(several[1], others[1], tolerance)
    for alternative, pair, is_gold in ((several, second, True), (others, first, False)):
        if alternative and pair and isinstance(pair[0], Symbol) and pair[0].name == alternative[0]:
            lists = (alternative[1], items_of(pair[1]))
            return _same_lists(*(lists if is_gold else lists[::-1]), tolerance)
    return _same_relations(gold, answer) or same_set(gold, answer)


def _same_name(first: Node, second: Node) -> bool:
    """The same name, or `y` and `f(x)` for the value of a function."""
    if same_expression(first, second) or first == second:
        return True
    function, variable = (first, second) if isinstance(first, Apply) else (second, first)
    match function, variable:
        case Apply("?f", (Symbol("x"),)), Symbol("y"):
            return True
        case _:
            return False


def _same_relations(gold: Node, answer: Node) -> bool:
    """Chains and conjunctions of comparisons that say the same, one by one, in any order."""
    if isinstance(gold, Logic) and isinstance(answer, Logic) and gold.joined_by == answer.joined_by == "or":
        return len(gold.parts) == len(answer.parts) and _matched(gold.parts, answer.parts, _same_relations)
    if "or" in [node.joined_by for node in (gold, answer) if isinstance(node, Logic)]:
        return False
    first, second = _comparisons(gold), _comparisons(answer)
    return (
        first is not None
        and second is not None
        and len(first) == len(second)
        and _matched(first, second, _same_comparison)
    )


def _matched(first: Ordered[object], second: Ordered[object], test: object) -> bool:
    """Each of `first` has a partner of its own among `second`."""
    assert callable(test)
    left = list(second)
    for item in first:
        partner = next((place for place, other in enumerate(left) if test(item, other)), None)
        if partner is None:
            return False
        del left[partner]
    return not left


def _comparisons(node: Node) -> list[tuple[str, Node, Node]] | None:
    """All comparisons of two neighbours, (sign, left, right), with `<` and `<=` turned around."""
    found: list[tuple[str, Node, Node]] = []
    for part in statements_of(node):
        if not isinstance(part, Relation) or len(part.sides) < len(part.signs) + 1:
            return None
        modulus = part.sides[len(part.signs) + 1 :]
        for left, sign, right in zip(part.sides, part.signs, part.sides[1:], strict=False):
            turned = {"<": ">", r"\le": r"\ge"}.get(sign)
            found.append((turned, right, left) if turned else (sign, left, right))
        if modulus and part.signs == (r"\equiv",):
            sign, left, right = found.pop()
            found.append((sign, left, Apply("mod", (right, modulus[0])) if isinstance(right, Number) else right))
        found += [("modulus", value, value) for value in modulus]
    return found


def _same_comparison(first: tuple[str, Node, Node], second: tuple[str, Node, Node]) -> bool:
    """Equations and inequalities whose differences of sides are constant multiples of each other, for inequalities
    positive ones; other relations side by side."""
    sign, left, right = first
    if sign != second[0]:
        return False
    if sign in ("=", r"\ne", ">", r"\ge") and all(map(_is_expression, (left, right, *second[1:]))):
        one = Apply("add", (left, negative(right)))
        other = Apply("add", (second[1], negative(second[2])))
        if vanishes(one) or vanishes(other):
            return False
        ratio = ratio_is_constant(one, other)
        if sign in ("=", r"\ne"):
            return ratio != 0 or _same_but_for_a_factor(one, other)
        return ratio > 0
    return same(left, second[1], Tolerance()) and same(right, second[2], Tolerance())


def _is_expression(node: Node) -> bool:
    return isinstance(node, (Number, Symbol, Apply))


def _same_but_for_a_factor(first: Node, second: Node) -> bool:
    """One equation is the other divided by a parameter, which a denominator already keeps from zero."""
    for one, other in ((first, second), (second, first)):
        for divisor in _divisors(other):
            multiplied = Apply("mul", (divisor, other))
            if ratio_is_constant(one, multiplied):
                return True
    return False


def _divisors(node: Node) -> list[Symbol]:
    """The variables that are a whole denominator in a term of `node`."""
    found: list[Symbol] = []
    pending = [node]
    while pending:
        here = pending.pop()
        if isinstance(here, Apply) and here.name in ("add", "mul", "div"):
            pending += here.arguments[:1] if here.name == "div" else here.arguments
            if here.name == "div" and isinstance(here.arguments[1], Symbol) and here.arguments[1] not in found:
                found.append(here.arguments[1])
    return found[:4]


def _same_values(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """What is neither a statement nor words."""
    if has(gold, "pm") or has(answer, "pm") or has(gold, "mp") or has(answer, "mp"):
        return _same_lists(items_of(gold), items_of(answer), tolerance)
    if (first := as_matrix(gold)) is not None and (second := as_matrix(answer)) is not None:
        return _same_matrices(first, second, tolerance)
    if isinstance(gold, Sequence) or isinstance(answer, Sequence):
        return _same_sequences(gold, answer, tolerance)
    if isinstance(gold, SetBuilder) or isinstance(answer, SetBuilder) or is_set(gold) or is_set(answer):
        return same_set(gold, answer) or (
            isinstance(gold, Apply) and isinstance(answer, Apply) and _same_operation(gold, answer)
        )
    return same_scalars(gold, answer, tolerance)


def _same_operation(gold: Apply, answer: Apply) -> bool:
    """The same operation on the same sets."""
    return (
        gold.name == answer.name
        and len(gold.arguments) == len(answer.arguments)
        and all(same(*pair, Tolerance()) for pair in zip(gold.arguments, answer.arguments, strict=True))
    )


def _same_matrices(gold: Matrix, answer: Matrix, tolerance: Tolerance) -> bool:
    shapes = [[len(row) for row in matrix.rows] for matrix in (gold, answer)]
    pairs = zip(sum(gold.rows, ()), sum(answer.rows, ()), strict=False)
    return shapes[0] == shapes[1] and all(same(one, other, tolerance) for one, other in pairs)


def _same_sequences(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    kinds = [node.brackets if isinstance(node, Sequence) else None for node in (gold, answer)]
    if ":" in kinds:
        return _same_ratio(gold, answer, tolerance)
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        return _same_vector(gold, answer, tolerance)
    unordered = ("", "{}", None)
    if all(kind in unordered for kind in kinds):
        return _same_lists(items_of(gold), items_of(answer), tolerance)
    assert isinstance(gold, Sequence) or isinstance(answer, Sequence)
    if isinstance(gold, Sequence) and isinstance(answer, Sequence) and "{}" not in kinds and "" not in kinds:
        return _same_tuples(gold, answer, tolerance)
    if isinstance(gold, Sequence) and isinstance(answer, Sequence) and "{}" not in kinds:
        # A plain list beside a tuple: the same in order. Square brackets around two numbers are an interval.
        lists = len(gold.items) == len(answer.items) and ("()" in kinds or len(gold.items) > 2)
        return lists and all(same(*pair, tolerance) for pair in zip(gold.items, answer.items, strict=True))
    return is_set(gold) and is_set(answer) and same_set(gold, answer)


def _same_tuples(gold: Sequence, answer: Sequence, tolerance: Tolerance) -> bool:
    """The same entries in the same order, and for two the same brackets, which may be those of an interval."""
    if len(gold.items) != len(answer.items) or (len(gold.items) == 2 and gold.brackets != answer.brackets):
        return False
    return all(same(one, other, tolerance) for one, other in zip(gold.items, answer.items, strict=True))


def _same_vector(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """A tuple and a matrix of one row or one column."""
    matrix, other = (gold, answer) if isinstance(gold, Matrix) else (answer, gold)
    if not isinstance(matrix, Matrix) or not isinstance(other, Sequence) or other.brackets not in ("()", "[]", ""):
        return False
    if len(matrix.rows) > 1 and len(matrix.rows[0]) > 1:
        return False
    entries = sum(matrix.rows, ())
    pairs = list(zip(entries, other.items, strict=False))
    ordered = pairs if isinstance(gold, Matrix) else [(second, first) for first, second in pairs]
    return len(entries) == len(other.items) and all(same(*pair, tolerance) for pair in ordered)


def _same_ratio(gold: Node, answer: Node, tolerance: Tolerance) -> bool:
    """Ratios in proportion; the ratio of two numbers is their quotient."""
    if isinstance(gold, Sequence) and isinstance(answer, Sequence) and gold.brackets == answer.brackets:
        first, second = gold.items, answer.items
        if len(first) != len(second) or not all(map(_is_expression, (*first, *second))):
            return False
        products = [
            (Apply("mul", (first[0], other)), Apply("mul", (second[0], one)))
            for one, other in zip(first, second, strict=True)
        ]
        return not any(map(vanishes, (first[0], second[0]))) and all(same_expression(*pair) for pair in products)
    ratio, other = (gold, answer) if isinstance(gold, Sequence) and gold.brackets == ":" else (answer, gold)
    if not isinstance(ratio, Sequence) or len(ratio.items) != 2 or not _is_expression(other):
        return False
    return all(map(_is_expression, ratio.items)) and same_number(Apply("div", ratio.items), other, tolerance)


def _same_lists(gold: Ordered[Node], answer: Ordered[Node], tolerance: Tolerance) -> bool:
    """The same members in any order. An answer may repeat a member where the gold repeats none."""
    if len(gold) > _LONGEST_LIST or len(answer) > _LONGEST_LIST:
        return False

    def test(one: object, other: object) -> bool:
        return same(one, other, tolerance)  # type: ignore[arg-type]  # both are nodes of the lists

    if len(gold) == len(answer):
        return _matched(gold, answer, test)
    kept = _once(answer)
    return len(gold) >= 2 and len(answer) > len(gold) and len(kept) == len(gold) and _matched(gold, kept, test)


def _once(items: Ordered[Node]) -> list[Node]:
    kept: list[Node] = []
    for item in items:
        if not any(same(other, item, Tolerance()) for other in kept):
            kept.append(item)
    return kept
