"""Units of measurement: which words name one, what it is in base units, and how a phrase of them is read."""

from __future__ import annotations

from fractions import Fraction

from sfpo_bench.grading.tree import Unit

_LENGTHS = {
    "mm millimeter millimetre": Fraction(1, 1000),
    "cm centimeter centimetre": Fraction(1, 100),
    "dm decimeter decimetre": Fraction(1, 10),
    "m meter metre": Fraction(1),
    "km kilometer kilometre": Fraction(1000),
    "inch": Fraction(254, 10_000),
    "ft foot feet": Fraction(3048, 10_000),
    "yd yard": Fraction(9144, 10_000),
    "mi mile": Fraction(1_609_344, 1000),
}
_TIMES = {
    "ms millisecond": Fraction(1, 1000),
    "s sec second": Fraction(1),
    "min minute": Fraction(60),
    "h hr hour": Fraction(3600),
    "day": Fraction(86_400),
    "week": Fraction(604_800),
}
_MASSES = {
    "mg milligram": Fraction(1, 1_000_000),
    "g gram gramme": Fraction(1, 1000),
    "kg kilogram": Fraction(1),
    "tonne": Fraction(1000),
    "lb lbs pound": Fraction(45_359_237, 100_000_000),
    "oz ounce": Fraction(45_359_237, 1_600_000_000),
}
_VOLUMES = {
    "ml milliliter millilitre": Fraction(1, 10**6),
    "l liter litre": Fraction(1, 10**3),
    "gallon": Fraction(3_785_411_784, 10**12),
}
# Counted apart because their ratio is not fixed, or because what they are worth changes.
_APART = {
    "month": "month",
    "year yr": "year",
    "dollar usd": "dollar",
    "euro eur": "euro",
    "pence penny": "penny",
    "yuan rmb": "yuan",
    "yen": "yen",
    "rupee": "rupee",
    "bit": "bit",
    "mol mole": "mol",
    "rad radian": "radian",
    "k kelvin": "kelvin",
    "a ampere amp": "ampere",
}
_NAMED: dict[str, Unit] = {
    "n newton": Unit((("kg", 1), ("m", 1), ("s", -2))),
    "j joule": Unit((("kg", 1), ("m", 2), ("s", -2))),
    "kj kilojoule": Unit((("kg", 1), ("m", 2), ("s", -2)), Fraction(1000)),
    "w watt": Unit((("kg", 1), ("m", 2), ("s", -3))),
    "kw kilowatt": Unit((("kg", 1), ("m", 2), ("s", -3)), Fraction(1000)),
    "pa pascal": Unit((("kg", 1), ("m", -1), ("s", -2))),
    "hz hertz": Unit((("s", -1),)),
    "v volt": Unit((("kg", 1), ("m", 2), ("s", -3), ("ampere", -1))),
    "mph": Unit((("m", 1), ("s", -1)), Fraction(1_609_344, 3_600_000)),
    "kph kmh": Unit((("m", 1), ("s", -1)), Fraction(1000, 3600)),
    "cent cents": Unit((("dollar", 1),), Fraction(1, 100)),
    "byte": Unit((("bit", 1),), Fraction(8)),
}


def _table() -> dict[str, Unit]:
    table: dict[str, Unit] = {}
    for names, base, power in ((_LENGTHS, "m", 1), (_TIMES, "s", 1), (_MASSES, "kg", 1), (_VOLUMES, "m", 3)):
        for words, factor in names.items():
            table |= dict.fromkeys(words.split(), Unit(((base, power),), factor))
    for words, base in _APART.items():
        table |= dict.fromkeys(words.split(), Unit(((base, 1),)))
    for words, unit in _NAMED.items():
        table |= dict.fromkeys(words.split(), unit)
    plurals = {f"{word}s": unit for word, unit in table.items() if len(word) > 2}
    return {**plurals, "inches": table["inch"], **table}


_UNITS = _table()
# Letters that are more often variables: a unit only behind a decimal number or a space.
SINGLE_LETTERS = frozenset("msghNJWVLKA")
NO_UNIT = Unit()


def unit_of(word: str) -> Unit | None:
    """The unit that a word names, None when it names none; a single capital letter is not its small one."""
    if len(word) == 1:
        return _UNITS.get(word.lower()) if word in SINGLE_LETTERS else None
    return _UNITS.get(word.lower())


def product(first: Unit, second: Unit, power: int = 1) -> Unit:
    """`first` times `second` to the `power`; of unknown units the product is unknown."""
    if not (first.known and second.known) or abs(power) > 20:
        return Unit(known=False)
    powers = dict(first.powers)
    for base, exponent in second.powers:
        powers[base] = powers.get(base, 0) + exponent * power
    kept = tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent))
    return Unit(kept, first.factor * second.factor**power)


_SHAPES = {"square": 2, "sq": 2, "cubic": 3}
_AFTER = {"squared": 2, "cubed": 3}


def unit_in_words(words: list[str]) -> Unit:
    """The unit of a phrase such as `miles per hour` or `square feet`; the noun of a count where a word is no unit."""
    total, sign, shape = NO_UNIT, 1, 1
    for word in words:
        if word == "per":
            sign = -1
        elif word in _SHAPES:
            shape = _SHAPES[word]
        elif word in _AFTER and total.powers:
            total = product(NO_UNIT, total, _AFTER[word])
        elif (unit := unit_of(word)) is not None:
            total, shape = product(total, unit, sign * shape), 1
        else:
            return Unit(known=False)
    return total
