"""Nodes made from nodes, as the parser of expressions needs them, and tokens as text again."""

from __future__ import annotations

from fractions import Fraction

from sfpo_bench.grading.lexer import Token
from sfpo_bench.grading.tree import Apply, Node, Number, Symbol

ONE, TWO, MINUS_ONE = Number(Fraction(1)), Number(Fraction(2)), Number(Fraction(-1))
TEN = Number(Fraction(10))


def negative(node: Node) -> Node:
    """The node with the other sign; numbers stay numbers."""
    if isinstance(node, Number):
        return Number(-node.value, node.digits, node.places)
    return Apply("mul", (MINUS_ONE, node))


def product(factors: list[Node]) -> Node:
    """The product of `factors`; a whole number and the proper fraction behind it are a mixed number."""
    merged: list[Node] = []
    for factor in factors:
        if isinstance(factor, Apply) and factor.name == "mixed":
            before = merged.pop() if merged else ONE
            merged.append(mixed(before, factor.arguments[0]))
        else:
            merged.append(factor)
    return merged[0] if len(merged) == 1 else Apply("mul", tuple(merged))


def mixed(whole: Node, part: Node) -> Node:
    """`whole` and a fraction, with the sign of `whole` on both."""
    if isinstance(whole, Number) and whole.value < 0:
        return Apply("add", (whole, negative(part)))
    return Apply("add", (whole, part))


def is_proper(node: Node) -> bool:
    """True for a fraction of whole numbers below one."""
    match node:
        case Apply("div", (Number(above, None), Number(below, None))):
            return 0 < above < below
        case _:
            return False


def power_of_ten(node: Node) -> int | None:
    """The exponent of a power of ten with a whole exponent, None for anything else."""
    match node:
        case Apply("pow", (Number(base), Number(exponent, None))) if base == 10 and exponent.denominator == 1:
            return int(exponent)
        case Number(value, None) if value == 10:
            return 1
        case _:
            return None


def primed(node: Node, count: int, mark: str = "'") -> Node:
    """A name with primes is another name; so is a function called with them."""
    if isinstance(node, Symbol):
        return Symbol(node.name + mark * count)
    if isinstance(node, Apply) and node.name.startswith("?"):
        return Apply(node.name + mark * count, node.arguments)
    return Apply(f"?{mark * count}", (node,))


def written(tokens: tuple[Token, ...]) -> list[str]:
    """The tokens as text, without white space: the same for the same notation."""
    parts: list[str] = []
    for token in tokens:
        if token.kind == "group":
            parts += ["{", *written(token.inner[0]), "}"]
        elif token.kind == "rows":
            cells = (piece for cell in token.inner for piece in (*written(cell), "&"))
            parts += [f"{token.text} {token.widths}", *cells]
        else:
            parts.append(token.text)
    return parts


def split_commas(tokens: tuple[Token, ...]) -> list[tuple[Token, ...]]:
    """The tokens between the commas outside of brackets."""
    parts, start, depth = [], 0, 0
    for place, token in enumerate(tokens):
        if token.kind == "sign":
            depth += (token.text in ("(", "[", r"\{")) - (token.text in (")", "]", r"\}"))
            if token.text == "," and depth == 0:
                parts.append(tokens[start:place])
                start = place + 1
    return [*parts, tokens[start:]]
