r"""Numbers as people write them, read exactly: `1,234.5`, `7.8\times 10^{2}`, `3\frac{1}{2}`, `-5/8`, `33.5%`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_LONGEST = 400  # characters of a numeral; Python refuses integers of more than 4300 digits
_LARGEST_EXPONENT = 1000

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_PLAIN = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_POWER_OF_TEN = r"10\s*\^\s*(?:\{\s*(?P<braced>[+-]?\s*\d+)\s*\}|(?P<bare>[+-]?\d+))"
_FRAC = r"\\frac\s*(?:\{\s*(?P<n1>-?\d+)\s*\}|(?P<n2>\d)|\s(?P<n3>\d+))\s*(?:\{\s*(?P<d1>-?\d+)\s*\}|(?P<d2>\d)(?!\d))"
_DECIMAL = re.compile(rf"(?P<mantissa>{_PLAIN})(?:\s*(?:\\times|\\cdot|\*|x)\s*{_POWER_OF_TEN})?")
_TEN = re.compile(_POWER_OF_TEN)
_FRACTION = re.compile(_FRAC)
_MIXED = re.compile(rf"(?P<whole>\d+)\s*(?:and\s+)?{_FRAC}")
_SLASH = re.compile(rf"(?P<n>{_PLAIN})\s*/\s*(?P<d>-?{_PLAIN})")
_MIXED_SLASH = re.compile(r"(?P<whole>\d+)\s+(?:and\s+)?(?P<n>\d+)\s*/\s*(?P<d>\d+)")
_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALED = re.compile(
    rf"(?P<number>{_PLAIN})\s*(?:\\text\s*\{{\s*)?(?P<scale>{'|'.join(_SCALES)})\s*\}}?", re.IGNORECASE
)
_REPEATING = re.compile(r"(?P<whole>\d*)\.(?P<start>\d*)\s*\\overline\s*\{\s*(?P<cycle>\d+)\s*\}")
_SPACED = re.compile(r"\d{1,3}(?: \d{3})+(?:\.\d+)?")

_NAMES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_WORDS = {name: number for number, name in enumerate(_NAMES.split())}


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number as written. `decimals` counts the digits after the point, a power of ten taken into account, and
    `significant` all that matter; None where the writing is exact (an integer or a fraction)."""

    value: Fraction
    decimals: int | None = None
    significant: int | None = None
    percent: bool = False


def read_numeral(text: str) -> Numeral | None:
    """The number that `text` is, all of it; None when it is anything else."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    if text.endswith("%"):
        inner = read_numeral(text[:-1])
        return None if inner is None or inner.percent else Numeral(inner.value, inner.decimals, inner.significant, True)
    sign = 1
    while text[:1] in "+-" and text:
        sign, text = (-sign if text[0] == "-" else sign), text[1:].lstrip()
    found = _unsigned(text)
    return None if found is None else Numeral(sign * found.value, found.decimals, found.significant)


def _unsigned(text: str) -> Numeral | None:
    if match := _DECIMAL.fullmatch(text):
        return _decimal(match["mantissa"], match["braced"] or match["bare"])
    if match := _TEN.fullmatch(text):
        return _decimal("1", match["braced"] or match["bare"])
    if match := _MIXED.fullmatch(text):
        part = _ratio(match["n1"] or match["n2"] or match["n3"], match["d1"] or match["d2"])
        return None if part is None or part < 0 else Numeral(int(match["whole"]) + part)
    if match := _MIXED_SLASH.fullmatch(text):
        part = _ratio(match["n"], match["d"])
        return None if part is None else Numeral(int(match["whole"]) + part)
    if match := _FRACTION.fullmatch(text):
        ratio = _ratio(match["n1"] or match["n2"] or match["n3"], match["d1"] or match["d2"])
        return None if ratio is None else Numeral(ratio)
    if match := _SLASH.fullmatch(text):
        ratio = _ratio(match["n"], match["d"])
        return None if ratio is None else Numeral(ratio)
    if match := _REPEATING.fullmatch(text):
        return _repeating(match["whole"], match["start"], match["cycle"])
    if match := _SCALED.fullmatch(text):
        return _scaled(match["number"], _SCALES[match["scale"].casefold()])
    if _SPACED.fullmatch(text):
        return _decimal(text.replace(" ", ""), None)
    word = _WORDS.get(text.casefold())
    return None if word is None else Numeral(Fraction(word))


def _repeating(whole: str, start: str, cycle: str) -> Numeral:
    """`0.1\\overline{6}`, exactly."""
    period = Fraction(int(cycle), 10 ** len(cycle) - 1) / 10 ** len(start)
    return Numeral(Fraction(f"{whole or 0}.{start or 0}") + period)


def _scaled(number: str, scale: int) -> Numeral | None:
    """`3.2 million`, whose digits after the point count before it."""
    read = _decimal(number, None)
    if read is None:
        return None
    decimals = None if read.decimals is None else read.decimals - (len(str(scale)) - 1)
    return Numeral(read.value * scale, decimals, read.significant)


def _decimal(mantissa: str, exponent: str | None) -> Numeral | None:
    power = int(exponent.replace(" ", "")) if exponent else 0
    if abs(power) > _LARGEST_EXPONENT:
        return None
    mantissa = mantissa.replace(",", "")
    value = Fraction(mantissa if mantissa[-1] != "." else mantissa[:-1]) * Fraction(10) ** power
    if "." not in mantissa.rstrip("."):
        return Numeral(value)
    decimals = len(mantissa) - mantissa.index(".") - 1
    return Numeral(value, decimals - power, len(mantissa.replace(".", "").lstrip("0")))


def _ratio(numerator: str, denominator: str) -> Fraction | None:
    above, below = (Fraction(part.replace(",", "").rstrip(".")) for part in (numerator, denominator))
    return above / below if below else None


def decimal_comma(text: str) -> Numeral | None:
    """The number of `2,74` or `1.234,56`, where the comma is the decimal sign; not of `2,740`, which is read
    as thousands, nor of `-3,0`, which is a list."""
    text = re.sub(r"(?<=\d)\.(?=\d{3}(?:\.\d{3})*,)", "", text)
    match = re.fullmatch(r"([+-]?\d+),(\d+)(\s*%)?", text.strip())
    if not match or len(match[2]) == 3 or not int(match[2][:_LONGEST]) or len(text) > _LONGEST:
        return None
    return read_numeral(f"{match[1]}.{match[2]}{(match[3] or '').strip()}")


NOISE = Fraction(5, 10_000_000)  # numbers that agree to six decimals, as math-verify compares floats …
RELATIVE_NOISE = Fraction(1, 1_000_000)  # … and to six digits, so that small numbers are told apart
DIGITS_OF_A_ROUNDED_NUMBER = 4  # significant ones that a rounded number has to show


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Differences that count as none: at most `absolute`, or at most `relative` times the gold's size."""

    absolute: float = 0.0
    relative: float = 0.0

    def allows(self, gold: Fraction, answer: Fraction) -> bool:
        """True when a tolerance is given and the numbers are within it."""
        if not self.absolute and not self.relative:
            return False
        difference = abs(gold - answer)
        return difference <= max(Fraction(self.absolute), Fraction(self.relative) * abs(gold))


def same_number(gold: Numeral, answer: Numeral, tolerance: Tolerance) -> bool:
    """Equal as numbers: exactly, within `tolerance`, or as decimals and what they were rounded from.

    A percentage equals its number and a hundredth of it (`10%` is 10 and 0.1), for projects contradict each other.
    """
    if gold.percent == answer.percent:
        return _same_value(gold, answer, tolerance)
    percent, bare = (gold, answer) if gold.percent else (answer, gold)
    for scaled in (percent, hundredth(percent)):
        first, second = (scaled, bare) if gold.percent else (bare, scaled)
        if _same_value(first, second, tolerance):
            return True
    return False


def hundredth(numeral: Numeral) -> Numeral:
    decimals = None if numeral.decimals is None else numeral.decimals + 2
    return Numeral(numeral.value / 100, decimals, numeral.significant)


def _same_value(gold: Numeral, answer: Numeral, tolerance: Tolerance) -> bool:
    if gold.value == answer.value or tolerance.allows(gold.value, answer.value):
        return True
    if gold.decimals is None and answer.decimals is None:
        return False
    return (
        within_noise(gold.value, answer.value)
        or (gold.decimals is None and rounds_to(gold.value, answer, DIGITS_OF_A_ROUNDED_NUMBER))
        or (answer.decimals is None and rounds_to(answer.value, gold, DIGITS_OF_A_ROUNDED_NUMBER))
    )


def within_noise(first: Fraction, second: Fraction) -> bool:
    """Apart by no more than the noise of floating point."""
    return abs(first - second) <= min(NOISE, RELATIVE_NOISE * max(abs(first), abs(second)))


def rounds_to(exact: Fraction, decimal: Numeral, digits: int) -> bool:
    """`decimal` is `exact` rounded to the places that it shows, and shows at least `digits` significant digits."""
    if decimal.decimals is None or decimal.significant is None or decimal.significant < digits:
        return False
    half = Fraction(1, 2) / Fraction(10) ** decimal.decimals
    return abs(exact - decimal.value) <= half
