r"""Text in the characters that the lexer knows: Unicode as LaTeX, thousands joined, delimiters and emphasis gone.

Each function rewrites one habit of writing, keeps its meaning, and takes linear time. `clean` is all of them in order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from sfpo_bench.grading.vocabulary import words

_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon "
    "phi chi psi omega"
)
_GREEK_NAMES = _LETTERS.split()
_CAPITALS = words("gamma delta theta lambda xi pi sigma phi psi omega")
_GREEK = {0x3B1 + place: f"\\{name} " for place, name in enumerate(_GREEK_NAMES)} | {
    0x391 + place: f"\\{name.capitalize()} " for place, name in enumerate(_GREEK_NAMES) if name in _CAPITALS
}
_FRACTIONS = {
    chr(code): r"\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", chr(code)).split("\u2044"))
    for code in (0xBC, 0xBD, 0xBE, *range(0x2150, 0x215F))
}
_FULL_WIDTH = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_UNICODE = {
    **{chr(code): text for code, text in _GREEK.items()},
    **_FRACTIONS,
    **_FULL_WIDTH,
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63", "-"),
    **dict.fromkeys("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
    **dict.fromkeys("\u00d7\u2715\u2a2f", r"\times "),
    **dict.fromkeys("\u00b7\u22c5\u2219\u2022", r"\cdot "),
    **dict.fromkeys("\u00b0\u02da\u00ba", r"^\circ "),
    **dict.fromkeys("\u3001", ","),
    **dict.fromkeys("\u2018\u2019\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u2033", '"'),
    "\u00f7": "/",
    "\u2044": "/",
    "\u2236": ":",
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
    "\u2211": r"\sum ",
    "\u220f": r"\prod ",
    "\u222b": r"\int ",
    "\u2228": r"\lor ",
    "\u2227": r"\land ",
    "\u2192": r"\to ",
    "\u21d2": r"\Rightarrow ",
    "\u2220": r"\angle ",
    "\u2223": r"\mid ",
    "\u2216": r"\setminus ",
    "\u230a": r"\lfloor ",
    "\u230b": r"\rfloor ",
    "\u2308": r"\lceil ",
    "\u2309": r"\rceil ",
    "\u2295": r"\oplus ",
    "\u2297": r"\otimes ",
    "\u2207": r"\nabla ",
    "\u2202": r"\partial ",
    "\u2115": r"\mathbb{N}",
    "\u211a": r"\mathbb{Q}",
    "\u2102": r"\mathbb{C}",
    "\u2713": "",
    "\u2714": "",
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


_CURRENCY = re.compile(r"(?:(?:\\(?:text|mathrm)\s?\{\s?)?\b(?:US|USD|A|C|AU|CA)\s?(?:\}\s?)?)?\\\$|\bUSD\s?\$?")
_CURRENCY_COMMAND = re.compile(r"\\(pounds|euro|yen)(?![A-Za-z])")
_CURRENCY_SIGNS = {"pounds": "\u00a3", "euro": "\u20ac", "yen": "\u00a5"}


def currency_signs(text: str) -> str:
    r"""`US\$` and `USD` as `\$`, `\euro` as the sign."""
    return _CURRENCY_COMMAND.sub(lambda m: _CURRENCY_SIGNS[m[1]], _CURRENCY.sub(lambda m: r"\$", text))


_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]|(?<!\\)\$")


def without_delimiters(text: str) -> str:
    r"""Without `$`, `\(…\)` and `\[…\]`, wherever they stand: `$21,16$ or $11$` is `21,16 or 11`."""
    return _DELIMITERS.sub(" ", text)


_NARROW = re.compile(r"(?<=\d)(?:,?\s?\\[!,:;]|\{\\[,;:]\}|,\{\}|\{\s?,\s?\}|'|\u2019)\s?(?=\d{3}(?!\d))")
_BRACED_COMMA = re.compile(r"\{\s?,\s?\}")


def thousands(text: str) -> str:
    r"""`14{,}916`, `32,\! 349` and `1\,234.5` without what separates their thousands; `~` as a space."""
    text = text.replace("~=", r"\approx ").replace("~", " ")
    return _BRACED_COMMA.sub(",", _NARROW.sub("", text))


_PERCENT = re.compile(r"\\text\s?\{\s?(?:percent|per cent|percentage|pct|\\?%)\s?\}|\b(?:percent|per cent|pct)\b")
_MODULES = re.compile(r"\b(?:np|numpy|math|sp|sympy)\.(?=[A-Za-z])")


def one_spelling(text: str) -> str:
    """The word for percent as its sign, functions of a program without their module."""
    return _MODULES.sub("", _PERCENT.sub(lambda m: r"\%", text))


_EMPHASIS = re.compile(r"\*\*(?![\s\d({\\-])|(?<![\s\w)}\]])\*\*|^\s*(?:\*\*|__)|(?:\*\*|__)\s*$|`+")


def without_emphasis(text: str) -> str:
    """Without the marks of bold text and code; `2**3` stays a power."""
    return _EMPHASIS.sub(" ", text)


_STEPS: tuple[Callable[[str], str], ...] = (
    single_backslashes,
    unicode_signs,
    thousands,
    currency_signs,
    without_delimiters,
    one_spelling,
    without_emphasis,
    str.strip,
)


def clean(text: str) -> str:
    """`text` in the characters that the lexer knows."""
    for step in _STEPS:
        text = step(text)
    return text
