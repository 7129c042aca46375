r"""How answers are written: each function rewrites one habit of notation as the reader of answers knows it.

All work on short text (the extracted answer), keep its meaning, and leave alone what they do not know. `clean` is all
of them in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_UNICODE = {
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63\uff0d", "-"),
    **dict.fromkeys("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
    **dict.fromkeys("\u00d7\u2715\u2a2f", r"\times "),
    **dict.fromkeys("\u00b7\u22c5\u2219\u2022", r"\cdot "),
    **dict.fromkeys("\u00b0\u02da\u00ba", r"^\circ "),
    **dict.fromkeys("\uff0c\u3001", ","),
    **dict.fromkeys("\u2018\u2019\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u2033", '"'),
    "\u00f7": "/",
    "\u2044": "/",
    "\uff0f": "/",
    "\u2236": ":",
    "\uff1a": ":",
    "\uff1b": ";",
    "\uff1d": "=",
    "\uff0b": "+",
    "\uff05": "%",
    "\uff0e": ".",
    "\uff08": "(",
    "\uff09": ")",
    "\u2264": r"\le ",
    "\u2a7d": r"\le ",
    "\u2265": r"\ge ",
    "\u2a7e": r"\ge ",
    "\u2260": r"\ne ",
    "\u2248": r"\approx ",
    "\u2243": r"\approx ",
    "\u2208": r"\in ",
    "\u222a": r"\cup ",
    "\u2229": r"\cap ",
    "\u2205": r"\emptyset ",
    "\u221e": r"\infty ",
    "\u00b1": r"\pm ",
    "\u2213": r"\mp ",
    "\u211d": r"\mathbb{R}",
    "\u2124": r"\mathbb{Z}",
    "\u03c0": r"\pi ",
    "\u03b8": r"\theta ",
    "\u03b1": r"\alpha ",
    "\u03b2": r"\beta ",
    "\u03b3": r"\gamma ",
    "\u03bb": r"\lambda ",
    "\u00bd": r"\frac{1}{2}",
    "\u2153": r"\frac{1}{3}",
    "\u2154": r"\frac{2}{3}",
    "\u00bc": r"\frac{1}{4}",
    "\u00be": r"\frac{3}{4}",
}
_TRANSLATION = str.maketrans(_UNICODE)
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]{1,9}")
_ROOT_SIGN = re.compile("\u221a\\s?(\\(|\\d+|[A-Za-z])")


def unicode_signs(text: str) -> str:
    """Signs such as `×`, `°`, `π`, `½`, `m²` and `√2`, and full-width punctuation, as LaTeX or ASCII."""
    text = _ROOT_SIGN.sub(lambda m: r"\sqrt" + (m[1] if m[1] == "(" else f"{{{m[1]}}}"), text)
    text = _SUPERSCRIPT.sub(lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}", text)
    text = text.translate(_TRANSLATION)
    return "".join(character for character in text if character.isprintable() or character in "\n\t ")


_DOUBLED = re.compile(r"\\\\(?=[A-Za-z{}%$()\[\],!;])")
_WRITTEN_NEWLINE = re.compile(r"\\n(?![A-Za-z])")


def single_backslashes(text: str) -> str:
    r"""`\\frac` and `\n` as they stand in JSON or source code that was not decoded; rows of a matrix stay apart."""
    if r"\begin" in text:
        return text
    return _WRITTEN_NEWLINE.sub(" ", _DOUBLED.sub(lambda m: "\\", text))


_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]|(?<!\\)\$")


def without_delimiters(text: str) -> str:
    r"""Without `$`, `\(…\)` and `\[…\]`, wherever they stand: `$21,16$ or $11$` is `21,16 or 11`."""
    return _DELIMITERS.sub(" ", text)


_CURRENCY = re.compile(r"\\\$|\\(?:pounds|euro|yen)(?![A-Za-z])|[\u00a3\u20ac\u00a5\u20b9\u20bd\u20a9]|\bUSD\b")


def without_currency(text: str) -> str:
    r"""Without the sign of a currency: `\$32,348` is 32,348."""
    return _CURRENCY.sub(" ", text)


_SIZES = re.compile(r"\\(?:left|right|middle|mleft|mright|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![A-Za-z])\.?")
_FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_FONTS = re.compile(
    r"\\(?:mathrm|mathbf|mathit|mathsf|mathtt|text(?:normal|bf|it|rm|sf|tt|up)|mbox|hbox|operatorname\*?)\s*(?=\{)"
)
_UPRIGHT_LETTER = re.compile(r"\\text\{\s*([eid])\s*\}(?![A-Za-z])")
_RELATIONS = (
    (re.compile(r"\\(?:leq|leqslant|leqq)(?![A-Za-z])|<="), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant|geqq)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\neq(?![A-Za-z])|!="), r"\\ne "),
    (re.compile(r"\\(?:simeq|thickapprox|doteq)(?![A-Za-z])|~="), r"\\approx "),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:varnothing|O(?=\s*$))(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\(?:[lr]vert|mid)(?![A-Za-z])"), "|"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\\ast(?![A-Za-z])|\\times(?![A-Za-z])"), r"\\times "),
)


def one_spelling(text: str) -> str:
    r"""One command for each meaning: `\dfrac` is `\frac`, `\leq` is `\le`, `\mathrm{cm}` is `\text{cm}`."""
    text = _FONTS.sub(lambda m: r"\text", _FRACTIONS.sub(lambda m: r"\frac", _SIZES.sub("", text)))
    text = _UPRIGHT_LETTER.sub(r"\1", text)
    for pattern, replacement in _RELATIONS:
        text = pattern.sub(replacement, text)
    return text


_BRACED_COMMA = re.compile(r"\{\s*,\s*\}")
_NARROW = re.compile(r"(?<=\d)(?:,?\s*\\[!,:;]|\{\\[,:;]\})\s*(?=\d{3}(?!\d))")


def thousands(text: str) -> str:
    r"""`14{,}916`, `32,\! 349` and `1\,234.5` without what separates their thousands."""
    joined = re.sub(r"(?<=\d)\{\s*,\s*\}(?=\d{3}(?!\d))", "", text)
    return _BRACED_COMMA.sub(",", _NARROW.sub("", joined))


_SPACES = re.compile(r"(?<!\\)\\(?:[,;:!> ]|(?:q?quad|hfill)(?![A-Za-z])|[hv]space\*?\{[^{}]*\})|~|\s+")


def plain_spaces(text: str) -> str:
    r"""One space for each kind of it: `\,`, `\quad`, `~`, new lines."""
    return re.sub(r" {2,}", " ", _SPACES.sub(" ", text)).strip()


_JOINING_TEXT = re.compile(r"\\text\s*\{\s*,?\s*(and|or|,|;)\s*\}")
_NAMES = re.compile(r"\\text\s*\{[^{}\\\d]*\}")
_JOINING = re.compile(r",\s*(?:and|or)\b|,|\b(?:and|or)\b")


def plain_joining_words(text: str) -> str:
    r"""`\text{ and }` and `\text{ or }` as plain words; `\text{Ann and Bob}` as two names."""
    text = _JOINING_TEXT.sub(r" \1 ", text)
    names = _NAMES.fullmatch(text)
    return _JOINING.sub(r"} \g<0> \\text{", text) if names else text


_PERCENT_WORD = re.compile(r"\\text\s*\{\s*(?:percent|per cent|percentage|pct|\\?%)\s*\}|\b(?:percent|per cent|pct)\b")


def percent_sign(text: str) -> str:
    r"""`\%`, `percent`, `\text{ percent}` as `%`."""
    return _PERCENT_WORD.sub("%", text).replace(r"\%", "%")


_TRIGONOMETRY = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_DEGREE = r"(?:\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree(?![A-Za-z])|\\text\s*\{\s*\^\\circ\s*\})"
_DEGREES = re.compile(_DEGREE + r"(?:\s*(?:\\text\s*)?\{?\s*[CFK](?![A-Za-z])\}?)?")
_ANGLE = re.compile(r"(\d+(?:\.\d+)?)\s*" + _DEGREE)


def degrees(text: str) -> str:
    r"""`74^\circ`, `74°` and `20^\circ\text{C}` are their number; inside a trigonometric function the angle counts."""
    if _TRIGONOMETRY.search(text):
        return _ANGLE.sub(r"(\1\\cdot \\frac{\\pi}{180})", text)
    return _DEGREES.sub(" ", text)


_POWER = re.compile(r"(?<=[\w)\]}])\s*\*\*\s*(?=[\w({\\-])")
_ROOT_WORD = re.compile(r"(?<![A-Za-z\\])sqrt\s*\(([^()]*)\)")
_WORD_COMMANDS = re.compile(r"(?<![A-Za-z\\{])(infinity|infty|inf|pi|emptyset)(?![A-Za-z])")
_COMMANDS = {"infinity": r"\infty ", "infty": r"\infty ", "inf": r"\infty ", "pi": r"\pi ", "emptyset": r"\emptyset "}
_E_NOTATION = re.compile(r"(?<![A-Za-z0-9\\.])(\d+(?:\.\d*)?)[eE]([+-]?\d+)(?![A-Za-z0-9.])")


def plain_algebra(text: str) -> str:
    r"""`2**3`, `sqrt(5)`, `3*x`, `pi` and `4.5e33`, as one types them in a program, as LaTeX."""
    text = _ROOT_WORD.sub(r"\\sqrt{\1}", _POWER.sub("^", text))
    text = _WORD_COMMANDS.sub(lambda m: _COMMANDS[m[1]], text)
    text = re.sub(r"\^\s*\(([^()]*)\)", r"^{\1}", text)
    return _E_NOTATION.sub(r"\1\\times 10^{\2}", text)


_CONDITION = re.compile(r"[\s,]*(?:\\text\s*\{\s*)?\(?\b(?:for (?:some|all|any|every|each)|where|such that)\b.*$", re.I)


def without_condition(text: str) -> str:
    r"""Without a condition in words at the end: `cx \text{ for some } c > 0` is `cx`."""
    match = _CONDITION.search(text)
    return text[: match.start()] if match and match.start() > 0 else text


_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
_BASE_WORD = re.compile(r"_\s*\{?\s*\\text\s*\{\s*(" + "|".join(_BASES) + r")\s*\}\s*\}?")


def base_numerals(text: str) -> str:
    r"""`204_{\text{five}}` is `204_{5}`."""
    return _BASE_WORD.sub(lambda m: f"_{{{_BASES[m[1]]}}}", text)


_MARKDOWN = re.compile(r"^(?:\*\*|__|`)+|(?:\*\*|__|`)+$")


_FOLLOWS = re.compile(r"^(?:=>|\\(?:Rightarrow|implies|therefore)(?![A-Za-z])|=(?!=))\s*")


def without_ends(text: str) -> str:
    """Without emphasis around it, an equals sign with nothing before it, and full stops, commas, colons and semicolons
    at the end."""
    text = _MARKDOWN.sub("", text.strip().rstrip(".,;: ")).strip().rstrip(".,;: ")
    return _FOLLOWS.sub("", text)


_STEPS: tuple[Callable[[str], str], ...] = (
    single_backslashes,
    unicode_signs,
    thousands,
    without_delimiters,
    without_currency,
    one_spelling,
    plain_spaces,
    plain_joining_words,
    percent_sign,
    base_numerals,
    without_condition,
    degrees,
    plain_algebra,
    without_ends,
    plain_spaces,
)


def clean(text: str) -> str:
    """`text` in the notation the reader of answers knows."""
    for step in _STEPS:
        text = step(text)
    return text


def squeezed(text: str) -> str:
    """The text by which two answers are the same as written: no white space, no dollar signs."""
    return "".join(text.split()).replace("$", "")
