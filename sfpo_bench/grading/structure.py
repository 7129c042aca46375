r"""The structure of an answer: lists, statements, sets, intervals, ratios, quantities; expressions inside them.

`read` never raises: what is in no notation known here is its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

from sfpo_bench.grading.effort import TooMuch, limited, spend
from sfpo_bench.grading.items import (
    CLOSERS,
    OPENERS,
    Tokens,
    at_depth_zero,
    based,
    clock,
    expression,
    hour,
    in_words,
    named_set,
    number_word,
    opening,
    plain_words,
    reals_except,
    scalar,
    split,
    with_usual_brackets,
    without_ends,
)
from sfpo_bench.grading.lexer import Token, Unreadable, tokens_of
from sfpo_bench.grading.meanings import is_name
from sfpo_bench.grading.notation import clean
from sfpo_bench.grading.quantities import sum_of
from sfpo_bench.grading.tree import (
    EMPTY_SET,
    Apply,
    Choice,
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
)
from sfpo_bench.grading.vocabulary import words

_RELATIONS = frozenset({"=", "<", ">"}) | words(
    r"\le \ge \ne \approx \in \notin \subset \subseteq \supset \supseteq \equiv \cong \to \Rightarrow \Leftrightarrow "
    r"\iff \mid \nmid \parallel \perp \propto \ll \gg \mapsto"
)
_SET_SIGNS = {r"\cup": "union", r"\cap": "intersection", r"\setminus": "difference"}
_QUALIFIERS = frozenset(("for", "where", "with", "when", "if", "such", "as", "whenever", "given"))
_LEADING = words(
    "about approximately approx exactly only roughly around answer is are the there equals equal value final "
    "total result"
)
_ONE_COMMA = re.compile(r"[^,()\[\]\d]*(\d+),(\d+)(?![\d,])[^,()\[\]\d]*")
_EUROPEAN = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?|[-+]?\d{1,3}(?: \d{3})+,\d+")
_INDIAN = re.compile(r"[-+]?\d{1,2}(?:,\d{2})+,\d{3}")
# Words that a condition may hold without adding another answer to it.
_HARMLESS = words(
    "for where with when if such that as whenever given all any every each some is are a an the be of in real "
    "integer integers number numbers constant constants positive negative nonnegative natural even odd "
    "arbitrary complex value values and function"
)
# Parts that one reading may try: an answer within answers has more readings than anybody means.
_PARTS = 5_000
_DENIALS = words("not false wrong incorrect or and also either no isn neither is maybe perhaps possibly unsure")


def read(text: str, *, is_gold: bool = False) -> Node:
    """The tree of an answer as it was extracted, words where it is no mathematics."""
    text = clean(text)
    readings: list[Node] = []
    for spelling, comma in spellings(text, is_gold=is_gold):
        try:
            with limited(_PARTS):
                node = statements(with_usual_brackets(tokens_of(spelling, decimal_comma=comma)))
        except (Unreadable, RecursionError, TooMuch):
            continue
        if node not in readings:
            readings.append(node)
    if not readings:
        return Words(plain_words(text))
    return readings[0] if len(readings) == 1 else Either(tuple(readings))


def spellings(text: str, *, is_gold: bool) -> list[tuple[str, bool]]:
    """The text, and other readings of its commas and points: (spelling, whether a comma is a decimal point)."""
    found = [(text, False)]
    one = _ONE_COMMA.fullmatch(text)
    grouped = one is not None and len(one[2]) == 3 and len(one[1]) <= 3 and one[1] != "0"
    # A gold with a comma is a list unless it can hardly be one.
    if one and "." not in text and not grouped and (not is_gold or one[1] == "0" or len(one[2]) > 1):
        found.append((text, True))
    if _EUROPEAN.fullmatch(text) and (text.count(".") > 1 or "," in text):
        found.append((text.replace(".", "").replace(" ", "").replace(",", "."), False))
    if _INDIAN.fullmatch(text):
        found.append((text.replace(",", ""), False))
    return found


def statements(tokens: Tokens) -> Node:
    """All of an answer: what commas, semicolons, line breaks, `and` and `or` separate."""
    spend()
    tokens = without_ends(tokens)
    if not tokens:
        raise Unreadable("nothing")
    if len(tokens) == 1 and tokens[0].kind == "group":
        return _grouped(tokens[0].inner[0])
    if len(tokens) == 1 and tokens[0].text in ("cases", "aligned", "align", "align*", "gathered") and tokens[0].inner:
        return _system(tokens[0])
    if len(tokens) > 2 and tokens[0].text.lower() in _LEADING and tokens[1].text == ":":
        return statements(tokens[2:])
    if node := choice(tokens) or number_word(tokens) or reals_except(tokens):
        return node
    parts, separators = split(tokens)
    if ";" in separators and len(set(separators)) > 1:
        groups = split(tokens, only=(";",))[0]
        return Sequence("", tuple(statements(group) for group in groups))
    if len(parts) == 1:
        return conditional(parts[0])
    return joined([conditional(part) for part in parts], separators)


def _grouped(tokens: Tokens) -> Node:
    """`{5}` is 5, `{1, 2}` a set."""
    inner = without_ends(tokens)
    if any(token.text in (r"\choose", r"\over") for token in inner):
        return expression((Token("group", "", inner=(tokens,)),))
    parts, _ = split(inner)
    if len(parts) > 1:
        return Sequence("{}", tuple(statements(part) for part in parts))
    return statements(inner)


def _system(token: Token) -> Node:
    """The statements of `cases` or `aligned`, one on each line."""
    cells, parts = iter(token.inner), []
    for width in token.widths:
        row = tuple(piece for _ in range(width) for piece in next(cells))
        parts.append(statements(row))
    return joined(parts, ["and"] * (len(parts) - 1)) if len(parts) > 1 else parts[0]


def joined(nodes: list[Node], separators: list[str]) -> Node:
    """Statements as logic, a value with conditions behind it, or a list."""
    if all(is_statement(node) for node in nodes):
        return _logic(nodes, separators)
    conditions = [node for node in nodes[1:] if is_statement(node)]
    if len(conditions) == len(nodes) - 1 and not {"or"} & set(separators):
        return Where(nodes[0], conditions[0] if len(conditions) == 1 else Logic(",", tuple(conditions)))
    if is_statement(nodes[0]) and not any(map(is_statement, nodes[1:])) and "," in separators:
        return _continued(nodes)
    if set(separators) == {"and"} and (total := sum_of(nodes)) is not None:
        return Either((Sequence("", tuple(nodes)), total))
    if len(nodes) == 2 and separators == ["and"] and _is_mixed(*nodes):
        return Either((Sequence("", tuple(nodes)), Apply("add", tuple(nodes))))
    flat: list[Node] = []
    for node in _dots_filled(nodes):
        flat += node.items if isinstance(node, Sequence) and not node.brackets else [node]
    return Sequence("", tuple(flat))


def _logic(nodes: list[Node], separators: list[str]) -> Node:
    """`and` binds more closely than `or`; commas mean the word beside them, if there is one."""
    if "or" in separators and "and" in separators:
        groups: list[list[Node]] = [[nodes[0]]]
        for node, separator in zip(nodes[1:], separators, strict=True):
            if separator == "or":
                groups.append([node])
            else:
                groups[-1].append(node)
        return Logic("or", tuple(group[0] if len(group) == 1 else Logic("and", tuple(group)) for group in groups))
    word = "or" if "or" in separators else "and" if "and" in separators else ","
    return Logic(word, tuple(nodes))


def _continued(nodes: list[Node]) -> Node:
    """`x = 1, 2`: the name holds for all the values."""
    first = nodes[0]
    if isinstance(first, Relation) and first.signs == ("=",):
        return Relation(("=",), (first.sides[0], Sequence("", (first.sides[1], *nodes[1:]))))
    return Sequence("", tuple(nodes))


def _is_mixed(whole: Node, part: Node) -> bool:
    match whole, part:
        case Number(first, None), Apply("div", (Number(above, None), Number(below, None))):
            return first.denominator == 1 and 0 < above < below
        case _:
            return False


def _dots_filled(nodes: list[Node]) -> list[Node]:
    """`1, 2, \\ldots, 5` with the whole numbers that the dots stand for; unchanged where they are not clear."""
    places = [place for place, node in enumerate(nodes) if node == Symbol(r"\ldots")]
    if len(places) != 1 or places[0] < 2 or places[0] != len(nodes) - 2:
        return nodes
    numbers = [node.value for node in nodes if isinstance(node, Number) and node.digits is None]
    if len(numbers) != len(nodes) - 1:
        return nodes
    step = numbers[1] - numbers[0]
    steps = {second - first for first, second in pairwise(numbers[:-1])}
    count = (numbers[-1] - numbers[0]) / step if step else Fraction(-1)
    if steps != {step} or count.denominator != 1 or not len(numbers) - 1 <= count <= 1000:
        return nodes
    return [Number(numbers[0] + step * place) for place in range(int(count) + 1)]


def is_statement(node: Node) -> bool:
    """True for a statement, such as an equation or an inequality; false for a value."""
    if isinstance(node, Either):
        return all(is_statement(reading) for reading in node.readings)
    return isinstance(node, (Relation, Logic))


def conditional(tokens: Tokens) -> Node:
    """One item; behind it may stand a condition in words or in brackets, such as `for all n` or `(x > 0)`."""
    for place, token in enumerate(tokens):
        if place and token.kind == "word" and token.text.lower() in _QUALIFIERS:
            return _qualified(tokens[:place], tokens[place:])
    if len(tokens) > 3 and tokens[-1].text == ")":
        start = opening(tokens)
        inside = tokens[start + 1 : -1] if start > 0 else ()
        if any(token.text in _RELATIONS for token in inside) and not tokens[start - 1].text.isalpha():
            condition = statements(inside)
            if is_statement(condition) and tokens[start - 1].kind != "function":
                return Where(item(tokens[:start]), condition)
    return item(tokens)


def _qualified(value: Tokens, qualifier: Tokens) -> Node:
    """A value and a condition that is known to add nothing; any other qualifier makes all of it words."""
    words = {token.text.lower() for token in qualifier if token.kind == "word"}
    numbers = any(token.kind == "number" for token in qualifier)
    relations = any(token.text in _RELATIONS for token in qualifier)
    if not words <= _HARMLESS or (numbers and not relations):
        raise Unreadable("a condition that may say more")
    rest = tuple(token for token in qualifier if token.kind != "word")
    condition: Node | None = None
    if relations:
        condition = statements(rest)
        if not is_statement(condition):
            raise Unreadable("a condition that is none")
    return Where(item(without_ends(value)), condition)


def item(tokens: Tokens) -> Node:
    """What is no list: a statement, set, interval, tuple, ratio, number in a base, quantity, expression, or words."""
    tokens = without_ends(tokens)
    for reader in _READERS:
        try:
            node = reader(tokens)
        except Unreadable:
            continue
        if node is not None:
            return node
    if len(tokens) > 1 and tokens[0].kind == "word" and tokens[0].text.lower() in _LEADING:
        return item(tokens[1:])
    return in_words(tokens)


def relation(tokens: Tokens) -> Node | None:
    """A chain of comparisons."""
    places = at_depth_zero(tokens, _RELATIONS)
    if not places:
        return None
    bounds = [-1, *places, len(tokens)]
    sides = [tokens[start + 1 : end] for start, end in pairwise(bounds)]
    if not all(sides):
        raise Unreadable("a side is missing")
    modulus: list[Node] = []
    if r"\pmod" in [token.text for token in sides[-1]]:
        cut = [token.text for token in sides[-1]].index(r"\pmod")
        modulus, sides[-1] = [expression(sides[-1][cut + 1 :])], sides[-1][:cut]
    nodes = [item(side) for side in sides]
    last = nodes[-1] if is_name(_formula(nodes[0])) else _formula(nodes[-1])
    nodes = [*map(_formula, nodes[:-1]), last]
    return Relation(tuple(tokens[place].text for place in places), (*nodes, *modulus))


def _formula(node: Node) -> Node:
    """A side of a comparison without the reading of its letters as a word."""
    if isinstance(node, Either) and len(node.readings) == 2 and isinstance(node.readings[1], Words):
        return node.readings[0]
    return node


def set_operation(tokens: Tokens) -> Node | None:
    """Unions, intersections and differences of sets, from left to right."""
    places = at_depth_zero(tokens, frozenset(_SET_SIGNS))
    if not places:
        return None
    node = item(tokens[: places[0]])
    for place, end in zip(places, [*places[1:], len(tokens)], strict=True):
        node = Apply(_SET_SIGNS[tokens[place].text], (node, item(tokens[place + 1 : end])))
    return node


def bracketed(tokens: Tokens) -> Node | None:
    """What brackets around all of `tokens` hold: a set, a tuple or an interval; None where they hold one value."""
    if len(tokens) < 2 or tokens[0].kind != "sign" or tokens[-1].kind != "sign":
        return None
    opener, closer = tokens[0].text, tokens[-1].text
    if opener not in OPENERS or closer not in CLOSERS or opening(tokens) != 0:
        return None
    inner = tokens[1:-1]
    if opener == r"\{":
        return _set(inner)
    parts, separators = split(inner)
    if len(parts) < 2:
        if parts and parts[0] != inner:
            return None
        if opener + closer not in ("()", "[]"):
            raise Unreadable("brackets that do not match")
        single = item(inner) if inner else None
        return single if isinstance(single, (Sequence, Words, Relation, Matrix)) else None
    if {"and", "or"} & set(separators):
        return statements(inner)
    if len(parts) != 2 and opener + closer not in ("()", "[]"):
        raise Unreadable("brackets that do not match")
    return Sequence(opener + closer, tuple(statements(part) for part in parts))


def _set(inner: Tokens) -> Node:
    """The members of a set, or the condition of its members."""
    if not inner:
        return EMPTY_SET
    bars = [place for place in at_depth_zero(inner, frozenset((r"\mid", "|", ":")))]
    if len(bars) == 1 and 0 < bars[0] < len(inner) - 1:
        member, condition = item(inner[: bars[0]]), statements(inner[bars[0] + 1 :])
        variable = member.sides[0] if isinstance(member, Relation) else member
        parts = (member, condition) if isinstance(member, Relation) else (condition,)
        return SetBuilder(variable, parts[0] if len(parts) == 1 else Logic("and", parts))
    parts_of_set, _ = split(inner)
    read_parts = [statements(part) for part in parts_of_set]
    return Sequence("{}", tuple(_dots_filled(read_parts)))


def ratio(tokens: Tokens) -> Node | None:
    """A time of day or a ratio."""
    places = at_depth_zero(tokens, frozenset((":",)))
    if not places:
        return None
    bounds = [-1, *places, len(tokens)]
    sides = [tokens[start + 1 : end] for start, end in pairwise(bounds)]
    if len(sides) in (2, 3) and (time_of_day := clock(*sides)) is not None:
        return time_of_day
    if not all(sides):
        raise Unreadable("a side is missing")
    return Sequence(":", tuple(item(side) for side in sides))


def choice(tokens: Tokens) -> Node | None:
    r"""The letter of a choice: `B`, `(B)`, `B)`, `\textbf{(B)}\ 42`, and nothing that names another."""
    flat = list(tokens)
    if len(flat) > 1 and flat[0].kind == "word" and flat[0].text.lower() in ("option", "choice"):
        flat = flat[1:]
    start = 1 if flat[0].text == "(" else 0
    if len(flat) <= start or len(flat[start].text) != 1 or flat[start].text not in "ABCDEFGHIJ":
        return None
    letter, rest = flat[start].text, flat[start + 1 :]
    closed = bool(rest) and rest[0].text == ")" and rest[0].kind == "sign"
    if closed:
        rest = rest[1:]
    elif start or (rest and (rest[0].text not in (".", ":") or (len(rest) > 1 and not rest[1].space))):
        return None
    if rest and rest[0].text in (",", ";", r"\approx", "=", r"\Rightarrow", "\n") and rest[0].kind != "word":
        return None
    rest = list(without_ends(tuple(rest)))
    if not rest:
        return Choice(letter)
    if rest[0].kind == "sign" and rest[0].text not in ("-", "(", r"\{", "[", "$", "|"):
        return None
    if any(token.kind in ("word", "letter") and (token.text in "ABCDEFGHIJ" or _denies(token)) for token in rest):
        raise Unreadable("more than one choice")
    if closed and rest[0].kind == "sign" and rest[0].text in ("(", "+", "-", "^", "_", "/", "*", "="):
        return None
    return Choice(letter, statements(tuple(rest)))


def _denies(token: Token) -> bool:
    return token.text.lower() in _DENIALS


_READERS: tuple[Callable[[Tokens], Node | None], ...] = (
    named_set,
    based,
    number_word,
    relation,
    set_operation,
    bracketed,
    ratio,
    hour,
    scalar,
)
