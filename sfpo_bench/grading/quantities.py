r"""Numbers with words and units around them: `5 million dollars`, `12\text{ cm}^2`, `negative 5`, `22^\circ 30'`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

from sfpo_bench.grading.lexer import Token, Unreadable
from sfpo_bench.grading.number_words import POWER_WORDS, SCALES, SIGN_WORDS, number_in_words
from sfpo_bench.grading.terms import negative
from sfpo_bench.grading.tree import Apply, Either, Node, Number, Quantity, Unit
from sfpo_bench.grading.units import NO_UNIT, SINGLE_LETTERS, product, unit_in_words, unit_of, unit_of_letters
from sfpo_bench.grading.vocabulary import words

Tokens = tuple[Token, ...]
Reader = Callable[[Tokens], Node]
_CURRENCIES = {"$": "dollar", "\u20ac": "euro", "\u00a3": "pound sterling", "\u00a5": "yen", "\u20b9": "rupee"}
# Words that are no noun of a count: they change the value, deny it, or bring another one.
_NO_NOUNS = words(
    "not no nor or and either neither maybe perhaps possibly may might could should would but except without "
    "unless never false wrong incorrect isn aren cannot can minus plus times over less more greater fewer "
    "least most between than twice double triple half multiple divided squared cubed if when where because "
    "since such that also however unsure about approximately nearly almost is are was were be other else "
    "instead rather percent per equals equal ten hundred thousand million billion dozen one two three four "
    "five six seven eight nine works factorial to mod modulo choose log "
    "mil mille mila millionen milliarden milliard milliards millones "
    "january february march april may june july august september october november december "
    "million\u00ebn tausend hundert cent\u00edmos gross"
)


# The same in scripts that write no space before it: Japanese and Korean.
_DENYING = re.compile(
    "\u3067\u306f\u306a|\u3067\u306f\u3042\u308a\u307e\u305b|\u3058\u3083\u306a|\u3067\u306a\u3044|\uc544\ub2c8|\uc544\ub2d9|\uc544\ub2cc"
)


def _is_noun(word: str) -> bool:
    return word not in _NO_NOUNS and _DENYING.search(word) is None


def quantity(tokens: Tokens, expression: Reader) -> Node:
    """A value with what changes it and its unit. Raises Unreadable where words are left."""
    if not tokens:
        raise Unreadable("nothing")
    if (compound := _compound(tokens, expression)) is not None:
        return compound
    first = tokens[0]
    if first.kind == "word" and first.text.lower() in SIGN_WORDS and len(tokens) > 1:
        value = quantity(tokens[1:], expression)
        if isinstance(value, (Number, Apply)):
            return negative(value) if SIGN_WORDS[first.text.lower()] < 0 else value
        raise Unreadable("a sign before what is no number")
    if first.kind == "sign" and first.text in _CURRENCIES:
        return _in_currency(tokens, expression)
    if not any(_may_be_unit(token) for token in tokens):
        return expression(tokens)
    return _with_unit(tokens, expression)


def _compound(tokens: Tokens, expression: Reader) -> Node | None:
    """`2 hours 30 minutes`: quantities of one kind side by side, each in a smaller unit than the one before."""
    starts = [
        place
        for place, token in enumerate(tokens)
        if token.kind == "number" and (not place or tokens[place - 1].kind == "word")
    ]
    if len(starts) < 2 or starts[0] != 0:
        return None
    return sum_of([quantity(tokens[start:end], expression) for start, end in pairwise([*starts, len(tokens)])])


def sum_of(parts: Sequence[Node]) -> Quantity | None:
    """The sum of quantities of one kind, each in a smaller unit than the one before; None where they are none."""
    known = [part for part in parts if isinstance(part, Quantity) and isinstance(part.value, Number)]
    units = [part.unit for part in known]
    falling = all(one.powers == other.powers and one.factor > other.factor for one, other in pairwise(units))
    if len(known) != len(parts) or not falling or not all(unit.known and unit.powers for unit in units):
        return None
    base = units[-1].factor
    values = [part.value.value * part.unit.factor / base for part in known if isinstance(part.value, Number)]
    return Quantity(Number(sum(values, Fraction(0))), units[-1])


def _in_currency(tokens: Tokens, expression: Reader) -> Node:
    value = quantity(tokens[1:], expression)
    if isinstance(value, Quantity):
        value = value.value
    return Quantity(value, Unit(((_CURRENCIES[tokens[0].text], 1),)))


def _may_be_unit(token: Token) -> bool:
    if token.kind == "group":
        return any(_may_be_unit(inner) or inner.text in SINGLE_LETTERS for inner in token.inner[0])
    if token.kind in ("function", "command"):
        return token.text in ("min", "sec", r"\Omega")
    if token.kind == "letter":
        return bool(token.run and unit_of_letters(token.run)) or token.text in SINGLE_LETTERS
    return token.kind == "word" or (token.kind == "sign" and token.text in ("%", *_CURRENCIES))


def _with_unit(tokens: Tokens, expression: Reader) -> Node:
    """A value and the longest end of `tokens` that is a unit; both readings where letters may be variables too."""
    readings: list[Node] = []
    for cut in range(1, len(tokens) + 1):
        unit, scale, power = _unit(tokens[cut:], tokens[cut - 1]) if cut < len(tokens) else (NO_UNIT, Fraction(1), 1)
        if unit is None:
            continue
        try:
            value = _value(tokens[:cut], expression)
        except Unreadable:
            continue
        value = Apply("pow", (value, Number(Fraction(power)))) if power != 1 else value
        value = _scaled(value, scale) if scale != 1 else value
        readings.append(Quantity(value, unit) if unit != NO_UNIT else value)
        if cut < len(tokens) and not all(token.kind in ("letter", "sign", "number", "group") for token in tokens[cut:]):
            break  # words are no variables
    if not readings:
        raise Unreadable("words")
    return readings[0] if len(readings) == 1 else Either(tuple(readings[:4]))


def _value(tokens: Tokens, expression: Reader) -> Node:
    if all(token.kind == "word" or token.text == "-" for token in tokens):
        number = number_of(tokens)
        if number is None:
            raise Unreadable("words")
        return Number(number)
    return expression(tokens)


def number_of(tokens: Tokens) -> Fraction | None:
    """The number that words name, with the sign before them; hyphens between words are ignored."""
    if tokens and tokens[0].text == "-":
        number = number_of(tokens[1:])
        return None if number is None else -number
    return number_in_words([token.text.lower() for token in tokens if token.kind == "word"])


def _scaled(value: Node, scale: Fraction) -> Node:
    if isinstance(value, Number):
        places = len(str(scale.numerator)) - 1 if scale.numerator > 1 else 1 - len(str(scale.denominator))
        if value.digits is None:
            return Number(value.value * scale)
        return Number(value.value * scale, value.digits, value.places - places)
    return Apply("mul", (Number(scale), value))


def _unit(tokens: Tokens, before: Token) -> tuple[Unit | None, Fraction, int]:
    """The unit that `tokens` are, with the scale words and power words before it; None when they are none."""
    scale, power, start = Fraction(1), 1, 0
    while start < len(tokens) and tokens[start].kind == "word" and tokens[start].text.lower() in SCALES:
        scale *= SCALES[tokens[start].text.lower()]
        start += 1
    if start < len(tokens) and tokens[start].kind == "word" and tokens[start].text.lower() in POWER_WORDS:
        power = POWER_WORDS[tokens[start].text.lower()]
        start += 1
    rest = tokens[start:]
    if start and rest and rest[0].text.lower() == "of":
        rest = rest[1:]
    if not rest:
        return NO_UNIT, scale, power
    if len(rest) == 1 and rest[0].text in _CURRENCIES:
        return Unit(((_CURRENCIES[rest[0].text], 1),)), scale, power
    return _phrase(rest, before if not start else tokens[start - 1]), scale, power


def _phrase(tokens: Tokens, before: Token) -> Unit | None:
    """A phrase of words, or a product of powers of units."""
    if _is_words(tokens):
        words = [token.text.lower() for token in tokens if token.kind == "word"]
        if not words or any(not _is_noun(word) and word not in ("per", "squared", "cubed") for word in words):
            return None
        if words[0] in ("squared", "cubed") or len(words) > 8:
            return None
        single = len(words) == 1 and len(tokens[0].text) == 1 and unit_of(tokens[0].text) is None
        return (
            Unit(known=False)
            if single
            else unit_in_words([token.text for token in tokens if token.kind == "word"])
            if len(words[0]) > 1
            else _power_product(tokens, before)
        )
    return _power_product(tokens, before)


def _is_words(tokens: Tokens) -> bool:
    return all(token.kind == "word" or token.text in ("-", ".") for token in tokens)


def _power_product(tokens: Tokens, before: Token, *, inside: bool = False) -> Unit | None:
    r"""`\text{m}/\text{s}^2`, `m s^{-1}`, `\frac{\text{km}}{\text{h}}`, `cm^3`."""
    total: Unit | None = NO_UNIT
    sign, place, found = 1, 0, False
    while place < len(tokens) and total is not None:
        token = tokens[place]
        if token.text == "(" and sign < 0 and (end := _closing(tokens, place)) is not None:
            inner = _power_product(tokens[place + 1 : end], before, inside=True)
            total = product(total, inner, sign) if inner is not None else None
            sign, place, found = 1, end + 1, True
            continue
        if token.text in (r"\cdot", "*") or token.text == "/" or token.text == "per":
            if not found and token.text != "/":
                return None
            sign = -1 if token.text in ("/", "per") else sign
            place += 1
            continue
        if token.text == r"\frac" and place + 2 < len(tokens):
            above, below = (_in_fraction(tokens[place + ahead], before) for ahead in (1, 2))
            total = product(product(total, above), below, -1) if above and below else None
            place, found = place + 3, True
            continue
        unit, place = _named_unit(tokens, place, before, first=not found and not inside)
        if unit is None:
            return None
        exponent, place = _exponent(tokens, place)
        total = product(total, unit, sign * exponent) if exponent else None
        sign, found = 1, True
    return total if found else None


def _closing(tokens: Tokens, start: int) -> int | None:
    """Where the bracket without others in it closes that opens at `start`."""
    return next((place for place in range(start + 1, len(tokens)) if tokens[place].text == ")"), None)


def _in_fraction(token: Token, before: Token) -> Unit | None:
    """The unit above or below a fraction bar, where single letters are units."""
    if token.kind != "group":
        return None
    content = token.inner[0]
    found = _power_product(content, before, inside=True)
    # Of anything but words a phrase is the same product again, and fractions within fractions would take 2^depth steps.
    return _phrase(content, before) if found is None and _is_words(content) else found


def _named_unit(tokens: Tokens, place: int, before: Token, *, first: bool) -> tuple[Unit | None, int]:
    """One unit, in words or as a run of letters; of single letters only behind a decimal or a space."""
    token = tokens[place]
    if token.text == r"\Omega" and token.space:
        return unit_of("ohm"), place + 1
    if token.kind == "word" or (token.kind == "function" and _may_be_unit(token)):
        known = unit_of(token.text)
        noun = _is_noun(token.text.lower()) and len(token.text) > 1
        return known if known is not None else Unit(known=False) if noun else None, place + 1
    if token.kind == "letter" and token.run:
        unit = unit_of_letters(token.run)
        apart = token.space or (before.number is not None and before.number.digits is not None)
        if unit is not None and (len(token.run) > 1 or not first or (apart and before.kind in ("number", "group"))):
            return unit, place + len(token.run)
    return None, place


def _exponent(tokens: Tokens, place: int) -> tuple[int, int]:
    """The whole exponent behind a unit, 1 without one, 0 for what is none."""
    if place >= len(tokens) or tokens[place].text != "^":
        return 1, place
    after = tokens[place + 1] if place + 1 < len(tokens) else None
    inner = after.inner[0] if after is not None and after.kind == "group" else (after,) if after is not None else ()
    text = "".join(token.text for token in inner)
    return (int(text), place + 2) if text.lstrip("-").isdecimal() and len(text) < 3 else (0, place + 2)
