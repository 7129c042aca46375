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
    "quart": Fraction(3_785_411_784, 4 * 10**12),
    "pint": Fraction(3_785_411_784, 8 * 10**12),
    "cup": Fraction(3_785_411_784, 16 * 10**12),
}
_AREAS = {
    "hectare ha": Fraction(10_000),
    "acre": Fraction(40_468_564_224, 10_000_000),
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
    "celsius": "celsius",
    "fahrenheit": "fahrenheit",
    "gradian gon": "gradian",
    "atm atmosphere": "atmosphere",
    "bar": "bar",
    "cal calorie": "calorie",
    "ev electronvolt": "electronvolt",
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
    "ohm": Unit((("kg", 1), ("m", 2), ("s", -3), ("ampere", -2))),
    "coulomb": Unit((("ampere", 1), ("s", 1))),
    "farad": Unit((("ampere", 2), ("kg", -1), ("m", -2), ("s", 4))),
    "tesla": Unit((("ampere", -1), ("kg", 1), ("s", -2))),
    "wh": Unit((("kg", 1), ("m", 2), ("s", -2)), Fraction(3600)),
    "decade": Unit((("year", 1),), Fraction(10)),
    "century centuries": Unit((("year", 1),), Fraction(100)),
}
_PREFIXES = {
    "p pico": Fraction(1, 10**12),
    "n nano": Fraction(1, 10**9),
    "\u03bc \u00b5 u micro": Fraction(1, 10**6),
    "m milli": Fraction(1, 1000),
    "k kilo": Fraction(1000),
    "M mega": Fraction(10**6),
    "G giga": Fraction(10**9),
    "T tera": Fraction(10**12),
}
# Symbol and word of each unit that takes prefixes, by their names in the tables above.
_PREFIXED = {
    "m": "m meter metre",
    "s": "s second",
    "g": "g gram",
    "l": "L l liter litre",
    "n": "N newton",
    "j": "J joule",
    "w": "W watt",
    "wh": "Wh",
    "pa": "Pa pascal",
    "hz": "Hz hertz",
    "v": "V volt",
    "a": "A ampere amp",
    "ev": "eV electronvolt",
    "byte": "B byte",
    "bit": "bit",
    "mol": "mol mole",
    "cal": "cal calorie",
    "ohm": "ohm",
    "coulomb": "coulomb",
    "farad": "F farad",
    "tesla": "tesla",
}


def _table() -> dict[str, Unit]:
    table: dict[str, Unit] = {}
    for names, base, power in (
        (_LENGTHS, "m", 1),
        (_TIMES, "s", 1),
        (_MASSES, "kg", 1),
        (_VOLUMES, "m", 3),
        (_AREAS, "m", 2),
    ):
        for words, factor in names.items():
            table |= dict.fromkeys(words.split(), Unit(((base, power),), factor))
    for words, base in _APART.items():
        table |= dict.fromkeys(words.split(), Unit(((base, 1),)))
    for words, unit in _NAMED.items():
        table |= dict.fromkeys(words.split(), unit)
    plurals = {f"{word}s": unit for word, unit in table.items() if len(word) > 2}
    return {**plurals, "inches": table["inch"], **table}


_UNITS = _table()


def _prefixed() -> dict[str, Unit]:
    """Symbols as they are written, `mW` beside `MW`, and words with a prefix."""
    table: dict[str, Unit] = {}
    for prefixes, factor in _PREFIXES.items():
        symbols, word = prefixes.split()[:-1], prefixes.split()[-1]
        for name, spellings in _PREFIXED.items():
            unit = Unit(_UNITS[name].powers, _UNITS[name].factor * factor)
            for spelling in spellings.split():
                if len(spelling) > 2 and spelling.islower():
                    table |= {f"{word}{spelling}": unit, f"{word}{spelling}s": unit}
                if len(spelling) < 4:
                    table |= {f"{symbol}{spelling}": unit for symbol in symbols}
    return table


_SYMBOLS = {name: unit for name, unit in _prefixed().items() if name not in ("min", "pm", "Pm", "mm", "cm", "km")}
# Letters that are more often variables: a unit only behind a decimal number or a space.
SINGLE_LETTERS = frozenset("msghNJWVLKA")
NO_UNIT = Unit()


def unit_of(word: str) -> Unit | None:
    """The unit that a word names, None when it names none; `MW` is not `mW`, nor a single capital letter its small
    one."""
    if len(word) == 1:
        return _UNITS.get(word.lower()) if word in SINGLE_LETTERS else None
    return _SYMBOLS.get(word) or _UNITS.get(word.lower()) or (_SYMBOLS.get(word.lower()) if len(word) > 4 else None)


def unit_of_letters(run: str) -> Unit | None:
    """The unit of letters in a formula, where most pairs of letters are products: `cm` is one, `nm` is none."""
    if len(run) == 1 or run.lower() in _UNITS:
        return unit_of(run)
    return unit_of(run) if len(run) > 2 else None


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
    for written in words:
        word = written.lower()
        if word == "per":
            sign = -1
        elif word in ("degree", "degrees") and {"celsius", "fahrenheit"} & {each.lower() for each in words}:
            continue
        elif word in _SHAPES:
            shape = _SHAPES[word]
        elif word in _AFTER and total.powers:
            total = product(NO_UNIT, total, _AFTER[word])
        elif (unit := unit_of(written)) is not None:
            total, shape = product(total, unit, sign * shape), 1
        else:
            return Unit(known=False)
    return total
