"""Numbers in words: `twenty-one`, `three quarters`, `two million`, and the words that scale a number before them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

_BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS_IN_ORDER = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_BELOW_TWENTY.split())}
_TENS = {word: 20 + 10 * place for place, word in enumerate(_TENS_IN_ORDER.split())}
_POWERS = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "twelfth": 12,
    "hundredth": 100,
    "thousandth": 1000,
    "millionth": 10**6,
}
_RUSSIAN_THOUSANDS = "\u0442\u044b\u0441\u044f\u0447 \u0442\u044b\u0441\u044f\u0447\u0438"
_RUSSIAN_MILLIONS = "\u043c\u0438\u043b\u043b\u0438\u043e\u043d \u043c\u0438\u043b\u043b\u0438\u043e\u043d\u043e\u0432"
# What a number before the word is multiplied by: `5 million`, `3 dozen`, `2 thirds`.
SCALES: dict[str, Fraction] = {
    **{word: Fraction(value) for word, value in _POWERS.items()},
    **{f"{word}s": Fraction(value) for word, value in _POWERS.items()},
    **{word: Fraction(1, value) for word, value in _PARTS.items()},
    **{f"{word}s": Fraction(1, value) for word, value in _PARTS.items()},
    "halves": Fraction(1, 2),
    "dozen": Fraction(12),
    "dozens": Fraction(12),
    "score": Fraction(20),
    "lakh": Fraction(10**5),
    "crore": Fraction(10**7),
    "lakhs": Fraction(10**5),
    "crores": Fraction(10**7),
    "tens": Fraction(10),
    "\u767e": Fraction(100),
    "\u5343": Fraction(1000),
    "\u4e07": Fraction(10**4),
    "\u4ebf": Fraction(10**8),
    "twice": Fraction(2),
    **dict.fromkeys(("mn", "mln", "mio", "\u043c\u043b\u043d"), Fraction(10**6)),
    **dict.fromkeys(("bn", "bln", "mrd", "\u043c\u043b\u0440\u0434"), Fraction(10**9)),
    **dict.fromkeys(("tn", "trn"), Fraction(10**12)),
    **dict.fromkeys(_RUSSIAN_THOUSANDS.split(), Fraction(1000)),
    **dict.fromkeys(_RUSSIAN_MILLIONS.split(), Fraction(10**6)),
}
POWER_WORDS = {"squared": 2, "cubed": 3}
SIGN_WORDS = {"minus": -1, "negative": -1, "plus": 1, "positive": 1}
NUMBER_WORDS = frozenset([*_UNITS, *_TENS, *SCALES])


def cardinal(words: Sequence[str]) -> int | None:
    """The whole number that `words` name, such as `one hundred and five`; None when they do not."""
    total = group = 0
    last = 10**15
    previous = ""
    for place, word in enumerate(words):
        if word == "and":
            if previous not in _POWERS or place + 1 == len(words):
                return None
        elif word in _UNITS:
            if previous in _UNITS or (previous in _TENS and not 0 < _UNITS[word] < 10):
                return None
            group += _UNITS[word]
        elif word in _TENS:
            if previous in _UNITS or previous in _TENS:
                return None
            group += _TENS[word]
        elif word == "hundred":
            if not 0 < group < 100:
                return None
            group *= 100
        elif word in _POWERS:
            if not group or _POWERS[word] >= last:
                return None
            last = _POWERS[word]
            total, group = total + group * last, 0
        else:
            return None
        previous = word
    return total + group if words else None


def number_in_words(words: Sequence[str]) -> Fraction | None:
    """The number that `words` name: whole, a fraction (`three quarters`, `one half`) or both; None when they do not."""
    if not words or list(words) in (["a"], ["an"]):
        return None
    if words[0] in SIGN_WORDS and len(words) > 1 and words[1] not in SIGN_WORDS:
        value = number_in_words(words[1:])
        return None if value is None else SIGN_WORDS[words[0]] * value
    words = ["one" if word in ("a", "an") else word for word in words]
    whole = cardinal(words)
    if whole is not None:
        return Fraction(whole)
    singular = {f"{word}s": word for word in _PARTS} | {"halves": "half"}
    last = singular.get(words[-1], words[-1])
    if last in _PARTS:
        for cut in range(len(words) - 1):
            if words[cut] == "and" and (front := cardinal(words[:cut])) is not None:
                above = cardinal(words[cut + 1 : -1])
                if above:
                    return front + Fraction(above, _PARTS[last])
        above = cardinal(words[:-1]) if len(words) > 1 else (1 if last == "half" else None)
        return None if above is None else Fraction(above, _PARTS[last])
    if words[-1] in ("dozen", "dozens"):
        count = cardinal(words[:-1]) if len(words) > 1 else 1
        return None if count is None else Fraction(12 * count)
    return None


_CHINESE = dict(zip("\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d", range(10), strict=True)) | {
    "\u4e24": 2
}
_CHINESE_POWERS = {"\u5341": 10, "\u767e": 100, "\u5343": 1000}


def chinese_number(text: str) -> int | None:
    """The whole number below ten thousand that Chinese numerals name; None when they do not."""
    total = digit = 0
    last = 10_000
    if not text or len(text) > 8:
        return None
    for place, character in enumerate(text):
        if character in _CHINESE:
            if digit:
                return None
            digit = _CHINESE[character]
        elif character in _CHINESE_POWERS and _CHINESE_POWERS[character] < last:
            last = _CHINESE_POWERS[character]
            if not digit and not (last == 10 and place == 0):
                return None
            total, digit = total + (digit or 1) * last, 0
        else:
            return None
    return total + digit
