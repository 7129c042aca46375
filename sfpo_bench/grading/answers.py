r"""What an answer is, once read: a number, words, a formula, a named value, or a collection of such.

`read` takes text apart by its structure alone; no algebra happens here. Where notation has two readings (`1,22` is a
decimal in France and a list elsewhere) both are kept, as `Either`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sfpo_bench.grading.notation import clean
from sfpo_bench.grading.numerals import Numeral, decimal_comma, read_numeral

_DEEPEST = 40  # brackets inside brackets; deeper text is left as one formula


@dataclass(frozen=True, slots=True)
class Words:
    """A text answer such as `odd`, `Monday` or the letter of a choice; `letter` is that letter, in upper case."""

    text: str
    letter: str = ""


@dataclass(frozen=True, slots=True)
class Formula:
    """Anything that only algebra can read. `percent` tells that a percent sign stood behind it."""

    latex: str
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """`x = 5`, `f(x) = x^2` or `x \\in [0, 1]`: a name and its value; `latex` is all of it."""

    name: str
    value: Answer
    latex: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Several answers. `brackets` are those around them: empty for a plain list, `{}` for a set, `:` for a ratio,
    `[]` for a matrix of rows when `matrix`, otherwise what was written, such as `(]`."""

    brackets: str
    items: tuple[Answer, ...]
    latex: str
    matrix: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """Sets joined by `\\cup`."""

    parts: tuple[Answer, ...]
    latex: str


@dataclass(frozen=True, slots=True)
class Either:
    """Notation with more than one reading."""

    readings: tuple[Answer, ...]


Answer = Numeral | Words | Formula | Named | Collection | Union | Either


def read(text: str) -> Answer:
    """The structure of an answer as it was extracted."""
    return _read(clean(text), 0)


def _read(text: str, depth: int) -> Answer:
    text = _unwrapped(text.strip())
    if depth > _DEEPEST:
        return Formula(text)
    number = read_numeral(text)
    if number is not None:
        if re.fullmatch(r"\d{1,3}(?:,\d{3})+", text):
            return Either((number, _list(text.split(","), text, depth)))
        return number
    comma = decimal_comma(text)
    if comma is not None:
        return Either((comma, _list(text.split(","), text, depth)))
    parts = split(text)
    if len(parts) > 1:
        return _list(parts, text, depth)
    signs = both_signs(parts[0] if parts else text)
    if len(signs) > 1:
        return _list(signs, text, depth)
    return _single(parts[0] if parts else text, depth)


def _list(parts: list[str], latex: str, depth: int, brackets: str = "") -> Collection:
    items = [_read(sign, depth + 1) for part in parts for sign in both_signs(part)]
    flat: list[Answer] = []
    for item in items:
        nested = isinstance(item, Collection) and not item.brackets
        flat += item.items if isinstance(item, Collection) and nested else [item]
    return Collection(brackets, tuple(flat), latex)


_WRAPPERS = re.compile(r"\\(?:text|boxed|fbox|mathbf|bf|rm)\s*\{")


def _unwrapped(text: str) -> str:
    r"""`\boxed{5}`, `{5}` and `\text{5}` without what is around all of it; `\text{five}` stays, for words."""
    for _ in range(8):
        match = _WRAPPERS.match(text)
        start = match.end() - 1 if match else 0
        if not text.startswith("{", start) or closing(text, start) != len(text) - 1:
            return text
        inner = text[start + 1 : -1].strip()
        if not inner or (start == 0 and len(split(inner)) > 1) or (start and _words(text) is not None):
            return text
        text = inner
    return text


_OPENERS, _CLOSERS = "([{", ")]}"


def closing(text: str, start: int) -> int:
    r"""Where the bracket that opens at `start` closes, whatever its kind (`[0, 1)`); -1 if it does not."""
    depth = 0
    for place in range(start, len(text)):
        if text[place] in _OPENERS:
            depth += 1
        elif text[place] in _CLOSERS:
            depth -= 1
            if depth == 0:
                return place
            if depth < 0:
                return -1
    return -1


_JOINING_WORD = re.compile(r",?\s*\b(?:and|or)\b\s*,?|\s*\b(?:et|und|oder|ou)\b\s*")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def split(text: str) -> list[str]:
    """The items of a plain list: what semicolons, or else commas, `and` and `or`, separate outside of brackets."""
    depth, commas, semicolons, joins = 0, [], [], []
    place = 0
    while place < len(text):
        character = text[place]
        if character in _OPENERS:
            depth += 1
        elif character in _CLOSERS:
            depth -= 1
        elif depth == 0:
            if character == ";":
                semicolons.append((place, place + 1))
            elif character == ",":
                commas.append((place, place + 1))
            elif character in " " or (character.isalpha() and text[place - 1 : place] in ("", " ", ")", "}")):
                match = _JOINING_WORD.match(text, place)
                if match and match.group().strip(" ,"):
                    joins.append(match.span())
                    place = match.end()
                    continue
        place += 1
    if any(text[start + 1 : start + 2] == " " for start, _ in commas) or joins:
        commas = [(start, end) for start, end in commas if not _GROUPED.match(text, start)]
    cuts = sorted(semicolons + joins) if semicolons else sorted(commas + joins)
    items, begin = [], 0
    for start, end in cuts:
        items.append(text[begin:start].strip())
        begin = end
    items.append(text[begin:].strip())
    return [item for item in items if item]


_SIGN = re.compile(r"\\(pm|mp)(?![A-Za-z])")


def both_signs(text: str) -> list[str]:
    r"""`1 \pm \sqrt{5}` as its two values; several signs of one formula go together, `\mp` against `\pm`."""
    if not _SIGN.search(text):
        return [text]
    upper = _SIGN.sub(lambda m: "+" if m[1] == "pm" else "-", text)
    lower = _SIGN.sub(lambda m: "-" if m[1] == "pm" else "+", text)
    return [re.sub(r"^\s*\+\s*", "", upper), lower]


_SET_BUILDER = re.compile(r"\||\\in(?![A-Za-z])|(?<!\d):|:(?!\d)")
_MATRIX = re.compile(
    r"[(\[]?\s*\\begin\{(?P<name>[pb]?matrix|smallmatrix|array)\}(?:\{[lcr|\s]*\})?(?P<rows>.*)\\end\{(?P=name)\}\s*[)\]]?",
    re.DOTALL,
)
_APPROXIMATELY = re.compile(r"\s*\\approx(?![A-Za-z])\s*")
_ABOUT = re.compile(r"^(?:(?:about|approximately|approx\.?|roughly|around|exactly|only)\b|\\approx(?![A-Za-z]))\s*")
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")
_MEMBER = re.compile(r"\s*\\in(?![A-Za-z])\s*")
_UNION = re.compile(r"\\cup(?![A-Za-z])")
_INEQUALITY = re.compile(r"<|>|\\(?:le|ge|ne)(?![A-Za-z])")


def _single(text: str, depth: int) -> Answer:
    """One item that is no plain list."""
    text = _ABOUT.sub("", text)
    matrix = _MATRIX.fullmatch(text)
    if matrix and r"\begin" not in matrix["rows"]:
        return _matrix(matrix["rows"], text, depth)
    if len(sides := cut(text, _APPROXIMATELY)) > 1:
        return _approximation(sides, text, depth)
    if len(sides := cut(text, _EQUALS)) > 1:
        return _equation(sides, text, depth)
    if len(sides := cut(text, _MEMBER)) == 2 and is_name(sides[0]):
        return Named(name_of(sides[0]), _read(sides[1], depth + 1), text)
    if is_inequality(text):
        return Formula(text)
    group = _group(text, depth)
    if group is not None:
        return group
    if len(parts := cut(text, _UNION)) > 1:
        return Union(tuple(_read(part, depth + 1) for part in parts), text)
    terms = [read_numeral(term) for term in strip_unit(text).split(":")] if ":" in text else []
    if len(terms) > 1 and None not in terms:
        return Collection(":", tuple(term for term in terms if term is not None), text)
    return _scalar(text)


def is_equation(text: str) -> bool:
    """True when `text` is an equation, not only something with one inside, such as a sum."""
    return len(cut(text, _EQUALS)) > 1


def is_inequality(text: str) -> bool:
    """True when `text` relates its sides by <, >, ≤, ≥ or ≠."""
    return _INEQUALITY.search(text) is not None


_BASED = re.compile(r"(?P<digits>[0-9A-F]+)\s*_\s*\{?\s*(?P<base>[0-9]{1,2})\s*\}?")


def _scalar(text: str) -> Answer:
    based = _BASED.fullmatch(text)
    if based:
        # Their digits count, not their value: `204_5` asks for base five.
        decimal = read_numeral(based["digits"]) if based["base"] == "10" else None
        return decimal or Words(f"{based['digits']} in base {based['base']}")
    words = _words(text)
    if words is not None:
        number = read_numeral(words.text)
        if number is not None:  # `\text{five}`
            return Either((number, words))
        # Up to three letters may be a product of variables.
        return Either((words, Formula(text))) if re.fullmatch(r"[A-Za-z]{1,3}", text) else words
    without_unit = strip_unit(text)
    if without_unit != text:
        number = read_numeral(without_unit)
        return number if number is not None else _scalar(without_unit)
    maybe = _ONE_LETTER_UNIT.fullmatch(text)
    number = read_numeral(maybe["number"]) if maybe else None
    if number is not None and ("." in text or " " in text):
        return Either((number, Formula(text)))
    if text.endswith("%"):
        return Formula(text[:-1].strip(), percent=True)
    return Formula(text)


def _approximation(sides: list[str], text: str, depth: int) -> Answer:
    r"""`x \approx 11` is 11; `\sqrt{2} \approx 1.414` is either side."""
    if len(sides) > 2:
        return Formula(text)
    if is_name(sides[0]):
        return Named(name_of(sides[0]), _read(sides[1], depth + 1), text)
    return Either(tuple(_read(side, depth + 1) for side in sides))


def _equation(sides: list[str], text: str, depth: int) -> Answer:
    """A name and its value, either way round; the end of a calculation; otherwise an equation in its variables."""
    first, last = sides[0], sides[-1]
    if is_name(first):
        return Named(name_of(first), _read(last, depth + 1), text)
    if len(sides) == 2 and is_name(last):
        return Named(name_of(last), _read(first, depth + 1), text)
    if not _variables(first) and not _variables(last):
        return _read(last, depth + 1)
    return Formula(text)


_BINDERS = re.compile(r"\\(?:lim|int|sum|prod|bmod|pmod|binom|gcd|max|min)(?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+")


def _variables(text: str) -> bool:
    """True when letters of variables are in `text` that no limit, sum or integral binds."""
    if _BINDERS.search(text):
        return False
    return re.search(r"[A-Za-z]", _COMMAND.sub(" ", text)) is not None


def _group(text: str, depth: int) -> Answer | None:
    """What brackets around all of `text` hold: a set, a tuple, an interval or a single answer."""
    escaped = text.startswith(r"\{")
    start = 1 if escaped else 0
    if text[start : start + 1] not in _OPENERS or not text or closing(text, start) != len(text) - 1:
        return None
    inner = text[start + 1 : -1].removesuffix("\\").strip()
    if escaped or text[0] == "{":
        if _SET_BUILDER.search(inner) and len(split(inner)) <= 2:
            return Formula(text)
        return _list(split(inner), text, depth, "{}")
    items = split(inner)
    if len(items) == 1:
        return _read(inner, depth + 1)
    return Collection(text[0] + text[-1], tuple(_read(item, depth + 1) for item in items), text) if items else None


def _matrix(rows: str, text: str, depth: int) -> Collection:
    read_rows = []
    for row in re.split(r"\\\\(?:\[[^\]]*\])?", re.sub(r"\\hline", "", rows)):
        if row.strip():
            entries = tuple(_read(entry, depth + 1) for entry in row.split("&"))
            read_rows.append(Collection("()", entries, row))
    return Collection("[]", tuple(read_rows), text, matrix=True)


def cut(text: str, separator: re.Pattern[str]) -> list[str]:
    """`text` at each `separator` outside of brackets."""
    depths, depth = [], 0
    for character in text:
        depth -= character in _CLOSERS
        depths.append(depth)
        depth += character in _OPENERS
    sides, begin = [], 0
    for match in separator.finditer(text):
        if depths[match.start()] == 0 and match.start() >= begin:
            sides.append(text[begin : match.start()].strip())
            begin = match.end()
    sides.append(text[begin:].strip())
    return [side for side in sides if side]


_SCRIPT = re.compile(r"[_^]\s*(?:\{(?:[^{}]|\{[^{}]*\})*\}|\\?[A-Za-z]+|-?\d)")
_ARGUMENTS = re.compile(r"(?<=[A-Za-z'])\s*\([^()]*\)")
_NO_NAME = re.compile(r"[\d+\-*/<>=%]|\\(?:frac|sqrt|cdot|times|le|ge|ne|int|sum|prod|lim|log|ln|binom|pi)(?![A-Za-z])")


def is_name(text: str) -> bool:
    r"""True for what stands left of `=` in `x = 5`, `f(x) = …`, `|AB| = 1`, `S_1 : S = …`, `\angle A = …` and
    `(p, q) = …`: letters, with indices and arguments, and no arithmetic."""
    bare = _ARGUMENTS.sub("", _SCRIPT.sub("", text))
    return 0 < len(text) <= 60 and re.search(r"[A-Za-z]", bare) is not None and not _NO_NAME.search(bare)


def name_of(text: str) -> str:
    """The name in one spelling: no spaces, no braces."""
    return re.sub(r"[\s{}]|\\(?:text|rm|it)(?![A-Za-z])", "", text)


_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_LETTER = re.compile(r"(?:(?:option|choice|answer)\s+)?\(?([A-Z])\)?[.:)]?", re.IGNORECASE)
_LETTER_AND_MORE = re.compile(r"\(([A-J])\)\s*\S.*|([A-J])[).:]\s+\S.*", re.DOTALL)
_WORD_AND_NUMBER = re.compile(r"(?!about|only|Rs)[A-Za-z]{3,}[A-Za-z ]* \d+(?:st|nd|rd|th)?(?:,? \d+)?")
_PLAIN_WORDS = re.compile(r"[^\W\d_][^\W\d_'\u2019\-.,() ]*(?:[ '\u2019\-.,()]+[^\W\d_]+)*[.)]?")


def _words(text: str) -> Words | None:
    r"""A text answer: words alone, with or without `\text{}` around them; or the letter of a choice."""
    bare = re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", text)).strip()
    letter = _LETTER.fullmatch(bare)
    if letter and (bare != text or len(bare) == 1 or not bare.islower()):
        return Words(letter[1].casefold(), letter[1].upper())
    if _WORD_AND_NUMBER.fullmatch(bare):
        return Words(_plain(bare))
    more = _LETTER_AND_MORE.fullmatch(bare)
    if more:
        return Words(_plain(bare), more[1] or more[2])
    if not _PLAIN_WORDS.fullmatch(bare) or _COMMAND.search(bare):
        return None
    if bare == text and not re.search(r"[^\W\d_]{2}", bare):
        return None
    return Words(_plain(bare))


_NO_SOLUTION = re.compile(
    r"(?:there (?:is|are|exists?) |(?:it |the \w+ )?has )?no (?P<kind>real |integer )?solutions?(?: exists?)?"
)


def _plain(text: str) -> str:
    """Words without case and punctuation; the ways to say that nothing solves an equation are one."""
    plain = " ".join(re.sub(r"[^\w\s]", " ", text).casefold().split())
    none = _NO_SOLUTION.fullmatch(plain)
    return f"no {none['kind'] or ''}solution" if none else plain


_SHORT_UNITS = (
    r"(?:k?m|cm|k?g|N|k?J|W|C|V|mi|ft|L)/(?:s|h|hr|min|mol|m|kg|cm|K|L)|"
    r"mins|secs|GHz|GeV|Gyr|MHz|MPa|MeV|Mpc|Myr|Ohm|dyn|erg|hrs|kHz|kPa|keV|kmh|kpc|kph|lbs|min|mol|mph|"
    r"ohm|rad|rpm|sec|yrs|AM|AU|Hz|MJ|MW|PM|Pa|am|cc|cm|dB|dL|eV|ft|hr|in|kJ|kN|kV|kW|kg|km|lb|ly|mA|mJ|mL|"
    r"mV|mW|mg|mi|ml|mm|ms|nJ|nm|ns|oz|pc|pm|ps|sq|sr|yd|yr|[ap]\.m\.?"
)
_ONE_LETTER_UNIT = re.compile(r"(?P<number>.*[\d}])\s*(?P<unit>[NJWVKTFAmsghLCH])(?:\^\s*\{?-?\d\}?)?")
_UNIT_POWER = r"(?:\s*\^\s*\{?\s*-?\d\s*\}?)?"
_UNIT_IN_TEXT = rf"\\text\s*\{{[^{{}}]*\}}{_UNIT_POWER}"
_TEXT_UNIT = re.compile(
    rf"(?:\s*(?:\\cdot|/|\*)?\s*(?:{_UNIT_IN_TEXT}|\\frac\s*\{{\s*{_UNIT_IN_TEXT}\s*\}}\s*\{{\s*{_UNIT_IN_TEXT}\s*\}}))+$"
)
_WORD_UNIT = re.compile(
    rf"(?P<head>.*(?:[\d}}%)]|hundred|thousand|[mbtr]illion|dozen))\s*(?:(?:{_SHORT_UNITS})(?![A-Za-z])|[A-Za-z]{{3,}}\.?){_UNIT_POWER}"
    rf"(?:\s*(?:/|per|\s)\s*[A-Za-z]+{_UNIT_POWER})*",
    re.DOTALL,
)
_CJK_UNIT = re.compile(r"(?P<head>.*\d)\s*[\u3040-\u30ff\u4e00-\u9fff]{1,6}")
_SYMBOL_PREFIX = re.compile(r"^(?:\$|Rs\.?|\\text\s*\{\s*(?:Rs\.?|US)?\s*\})\s*(?=[\d\\.])")


def strip_unit(text: str) -> str:
    r"""`64 square feet`, `15\text{ cm}^2`, `0.64 km` and `Rs. 50` without their unit; `2x` and `4\pi` stay as they are.

    After a number or a formula any `\text{…}` is a unit. Words that are not in `\text` are one only after a number.
    """
    text = _SYMBOL_PREFIX.sub("", text)
    head = _TEXT_UNIT.sub("", text).strip()
    if head and head != text and not head.endswith(("+", "-", "=", "<", ">", "^", "_")):
        return head
    for pattern in (_WORD_UNIT, _CJK_UNIT):
        match = pattern.fullmatch(text)
        if match and (read_numeral(match["head"].strip()) is not None or _is_constant(match["head"])):
            return match["head"].strip()
    return text


def _is_constant(text: str) -> bool:
    """A formula without variables, such as `4\\pi` or `\\frac{\\sqrt{3}}{2}`."""
    return not re.search(r"[A-Za-z]", _COMMAND.sub(" ", text)) and text.count("{") == text.count("}")
