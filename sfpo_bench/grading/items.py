"""Pieces of an answer that hold no other answers, and tools for lists of tokens."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from sfpo_bench.grading.lexer import Token, Unreadable, written_number
from sfpo_bench.grading.number_words import chinese_number
from sfpo_bench.grading.parser import Parser
from sfpo_bench.grading.quantities import number_of, quantity
from sfpo_bench.grading.terms import written
from sfpo_bench.grading.tree import EMPTY_SET, REALS, Apply, Based, Clock, Either, Node, Number, Sequence, Symbol, Words

Tokens = tuple[Token, ...]
_AND = frozenset(("and", "und", "et", "y", r"\land", "\u548c", "\u4e0e", "\u0438"))
_OR = frozenset(("or", "oder", "ou", r"\lor", "\u6216", "\u6216\u8005", "\u0438\u043b\u0438"))
OPENERS, CLOSERS = ("(", "[", r"\{"), (")", "]", r"\}")
_ENDS = frozenset((".", ",", ";", ":", "\n", "!", "?", "\u3002", "*", "`"))
_BASE_WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_ARTICLES = re.compile(r"(?<![\w])(?:a|an|the)(?= )", re.IGNORECASE)
_SIGNS = re.compile(r"[^\w\s.,;:?'\"*`()-]|_|![^\s]|\)\s?\(")


def plain_words(text: str) -> str:
    """Words to compare: lower case, one space between them, no articles and no punctuation around.

    Text with the signs of mathematics in it stays as it is.
    """
    if _SIGNS.search(text.strip()):
        return " ".join(text.split())
    text = _ARTICLES.sub(" ", text).casefold()
    return " ".join(re.sub(r"[?!\"`*()]", " ", text).split()).strip(" .,:;")


def without_ends(tokens: Tokens) -> Tokens:
    """Without punctuation and marks of emphasis around, and without `=` or an arrow with nothing before it."""
    start, end = 0, len(tokens)
    while end > start and tokens[end - 1].kind == "sign" and tokens[end - 1].text in _ENDS:
        if tokens[end - 1].text == "!" and end > 1 and not tokens[end - 1].space:
            break  # a factorial
        end -= 1
    while (
        start < end and tokens[start].text in (*_ENDS, "=", r"\Rightarrow", r"\approx") and tokens[start].kind != "word"
    ):
        start += 1
    return tokens[start:end]


def split(tokens: Tokens, only: tuple[str, ...] = ()) -> tuple[list[Tokens], list[str]]:
    """The parts between separators outside of brackets, none empty, and what separates each from the next."""
    parts: list[Tokens] = []
    separators: list[str] = []
    depth, start, pending = 0, 0, ""
    for place, token in enumerate((*tokens, Token("sign", ";"))):
        if token.kind == "sign":
            depth += (token.text in OPENERS) - (token.text in CLOSERS)
        kind = _separator(token) if depth <= 0 or place == len(tokens) else ""
        if not kind or (only and kind not in only and place < len(tokens)):
            continue
        if part := without_ends(tokens[start:place]):
            if parts:
                separators.append(pending or ",")
            parts.append(part)
            pending = ""
        if not pending or kind in ("and", "or"):
            pending = kind
        start = place + 1
    return parts, separators


def _separator(token: Token) -> str:
    text = token.text.lower() if token.kind == "word" else token.text
    if token.kind in ("word", "command") and text in _AND:
        return "and"
    if token.kind in ("word", "command") and text in _OR:
        return "or"
    if token.kind == "sign" and token.text in (",", ";", "\n"):
        return token.text
    return ""


def with_usual_brackets(tokens: Tokens) -> Tokens:
    """`]0, 1]` as `(0, 1]` and `[0, 1[` as `[0, 1)`; unchanged where brackets do not close."""
    found = list(tokens)
    opened: list[str] = []
    for place, token in enumerate(tokens):
        if token.kind != "sign" or token.text not in (*OPENERS, *CLOSERS):
            continue
        if token.text == "]" and not opened:
            found[place] = replace(token, text="(")
            opened.append("]")
        elif token.text == "[" and opened[-1:] in (["["], ["]"]) and _ends_an_interval(tokens, place):
            found[place] = replace(token, text=")")
            opened.pop()
        elif token.text in OPENERS:
            opened.append(token.text)
        elif opened:
            opened.pop()
    return tokens if opened else tuple(found)


def _ends_an_interval(tokens: Tokens, place: int) -> bool:
    before, behind = tokens[place - 1], tokens[place + 1] if place + 1 < len(tokens) else None
    return before.text not in (*OPENERS, ",", ";") and (
        behind is None or behind.kind == "word" or behind.text in (*CLOSERS, *_ENDS, r"\cup", r"\cap", r"\setminus")
    )


def opening(tokens: Tokens) -> int:
    """Where the bracket opens that closes at the end."""
    depth = 0
    for place in range(len(tokens) - 1, -1, -1):
        if tokens[place].kind == "sign":
            depth += (tokens[place].text in CLOSERS) - (tokens[place].text in OPENERS)
            if depth == 0:
                return place
    return -1


def at_depth_zero(tokens: Tokens, signs: frozenset[str]) -> list[int]:
    found, depth, bars = [], 0, 0
    for place, token in enumerate(tokens):
        if token.kind == "sign":
            depth += (token.text in OPENERS) - (token.text in CLOSERS)
            bars += token.text == "|"
        if depth <= 0 and token.kind in ("sign", "command") and token.text in signs:
            found.append(place)
    return found


def in_words(tokens: Tokens) -> Words:
    """The tokens as words; only letters, numbers and the signs of brackets may be left out of mathematics."""
    text = plain_words(" ".join(written(tokens)))
    if not text:
        raise Unreadable("nothing")
    return Words(text)


def hour(tokens: Tokens) -> Clock | None:
    """`9 AM`, `9 o'clock`: a full hour."""
    if len(tokens) < 2 or tokens[0].kind != "number" or not tokens[0].text.isdecimal() or int(tokens[0].text) > 24:
        return None
    behind = "".join(token.text for token in tokens[1:] if token.text not in (".", "'")).lower()
    if behind not in ("am", "pm", "oclock"):
        return None
    return Clock((int(tokens[0].text),), behind.removeprefix("oclock"))


def clock(*sides: Tokens) -> Clock | None:
    """`9:05`, `9:05:30 AM`: two digits of minutes and of seconds, below sixty."""
    if not all(side and side[0].kind == "number" for side in sides) or any(len(side) != 1 for side in sides[:-1]):
        return None
    fields = [side[0].text for side in sides]
    half = "".join(token.text for token in sides[-1][1:] if token.text != ".").lower()
    if half not in ("", "am", "pm") or not all(field.isdecimal() for field in fields) or int(fields[0]) > 24:
        return None
    if any(len(field) != 2 or int(field) > 59 for field in fields[1:]):
        return None
    return Clock(tuple(map(int, fields)), half)


def based(tokens: Tokens) -> Node | None:
    """Digits with the base they are written in: `101_2`, `(101)_2`, `101 in base 2`, `1A_{16}`."""
    flat = tuple(token for token in tokens if not (token.kind == "sign" and token.text in ("(", ")")))
    texts = [token.text.lower() for token in flat]
    digits, base = "", 0
    sign = "-" if texts and texts[0] == "-" else ""
    flat, texts = flat[len(sign) :], texts[len(sign) :]
    if (len(flat) >= 3 and texts[-3:-1] == ["in", "base"]) or texts[-2:-1] == ["base"]:
        digits, base = "".join(texts[: texts.index("base")]).removesuffix("in"), _base(flat[-1:])
    elif len(flat) >= 3 and texts[-2] == "_":
        last = flat[-1]
        digits, base = "".join(texts[:-2]), _base(last.inner[0] if last.kind == "group" else flat[-1:])
    if not base or not re.fullmatch(r"[0-9a-z.]+", digits) or not digits[0].isalnum():
        return None
    if not any(character.isdecimal() for character in digits) and (base < 11 or len(digits) < 2):
        return None
    if any(int(digit, 36) >= base for digit in digits if digit != "."):
        return None
    if base == 10:
        return written_number(digits) if re.fullmatch(r"\d+(\.\d+)?", digits) and not sign else None
    return Based(sign + digits.upper(), base)


def _base(tokens: Tokens) -> int:
    text = "".join(token.text for token in tokens).lower().strip("()")
    base = int(text) if text.isdecimal() and len(text) < 3 else _BASE_WORDS.get(text, 0)
    return base if 2 <= base <= 36 else 0


_REALS = re.compile(r"(?:all )?(?:the )?(positive |negative |non ?negative )?(?:real (?:numbers|values)|reals)")


def named_set(tokens: Tokens) -> Node | None:
    """Sets with a sign of their own, such as the empty set."""
    text = "".join(written(tokens))
    if text in (r"\mathbb{R}^+", r"\mathbb{R}^{+}", r"\mathbb{R}_+", r"\mathbb{R}_{>0}", r"\mathbb{R}_{+}"):
        return Sequence("()", (Number(Fraction(0)), Symbol(r"\infty")))
    if text in (r"\mathbb{R}^-", r"\mathbb{R}^{-}", r"\mathbb{R}_-", r"\mathbb{R}_{-}"):
        return Sequence("()", (Apply("mul", (Number(Fraction(-1)), Symbol(r"\infty"))), Number(Fraction(0))))
    if text == r"\emptyset":
        return EMPTY_SET
    if not all(token.kind == "word" or token.text == "-" for token in tokens):
        return None
    words = " ".join(token.text.lower() for token in tokens if token.kind == "word")
    if words == "all real" or not (found := _REALS.fullmatch(words)):
        return REALS if words == "all real" else None
    zero, end = Number(Fraction(0)), Symbol(r"\infty")
    match (found[1] or "").replace(" ", ""):
        case "positive":
            return Sequence("()", (zero, end))
        case "nonnegative":
            return Sequence("[)", (zero, end))
        case "negative":
            return Sequence("()", (Apply("mul", (Number(Fraction(-1)), end)), zero))
        case _:
            return REALS


def reals_except(tokens: Tokens) -> Node | None:
    """`all real numbers except 0 and 1`."""
    place = next((place for place, token in enumerate(tokens) if token.text.lower() in ("except", "excluding")), 0)
    if not place or (base := named_set(tokens[:place])) is None:
        return None
    rest = tokens[place + 1 :]
    parts, _ = split(rest[1:] if rest and rest[0].text.lower() == "for" else rest)
    left_out = Sequence("{}", tuple(expression(part) for part in parts))
    return Apply("difference", (base, left_out)) if parts else None


def number_word(tokens: Tokens) -> Node | None:
    """`twenty-one`, `three quarters`; the word stays a reading beside the number."""
    if not tokens or not all(token.kind == "word" or token.text == "-" for token in tokens):
        return None
    words = [token.text.lower() for token in tokens if token.kind == "word"]
    number = number_of(tokens)
    if number is None and len(words) == len(tokens) == 1 and (chinese := chinese_number(words[0])) is not None:
        number = Fraction(chinese)
    return None if number is None else Number(number)


def scalar(tokens: Tokens) -> Node:
    """A quantity, or an expression."""
    return quantity(tokens, expression)


def expression(tokens: Tokens) -> Node:
    """All of `tokens` as one expression. Raises Unreadable."""
    node = Parser(tokens, _nested).whole()
    return Either((node, Words(plain_words("".join(written(tokens)))))) if _may_be_words(tokens) else node


def _may_be_words(tokens: Tokens) -> bool:
    """True for a single run of two to four letters, which may be a word or a product."""
    return len(tokens) > 1 and all(token.kind == "letter" for token in tokens) and len(tokens[0].run) == len(tokens)


def _nested(tokens: Tokens) -> Node:
    return Parser(tokens, _nested).whole()
