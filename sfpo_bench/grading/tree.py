"""The expression tree of an answer: what `structure.read` makes of text and `equality.same` compares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    r"""A number as it is written. `digits` and `places` are the significant digits and decimal places of a decimal,
    None for integers: `1.50` has 3 and 2, `1.5 \times 10^3` has 2 and -2."""

    value: Fraction
    digits: int | None = None
    places: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    r"""A variable or a named object, with its accents, primes and index in the name: `x`, `x_1`, `\vec a`, `f'`."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation or function applied to its arguments: `Apply("add", (Symbol("x"), Number(Fraction(1))))`.

    A function that has no meaning of its own has a name that starts with `?`, such as `?f`.
    """

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain of comparisons: `a < b <= c` has three sides and the signs `<` and `<=`."""

    signs: tuple[str, ...]
    sides: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """Statements joined by `and`, by `or`, or by a comma (`,`), which may be either."""

    joined_by: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several answers in the order of the text. `brackets` are those around them: empty for a plain list, `{}` for a
    set, `:` for a ratio, otherwise what was written, such as `(]`."""

    brackets: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class SetBuilder:
    r"""`\{x \in domain \mid condition\}`."""

    variable: Node
    condition: Node


@dataclass(frozen=True, slots=True)
class Words:
    """A text answer such as `odd`, in lower case without punctuation and articles."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The letter of a choice, in upper case, and the value behind it."""

    letter: str
    rest: Node | None = None


@dataclass(frozen=True, slots=True)
class Based:
    """Digits in a base other than ten."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day: hours, minutes and perhaps seconds as written, `am`, `pm` or nothing."""

    fields: tuple[int, ...]
    half: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """Powers of base units and the factor to them; `known` is False for the noun of a count, such as `apples`."""

    powers: tuple[tuple[str, int], ...] = ()
    factor: Fraction = Fraction(1)
    known: bool = True


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its unit."""

    value: Node
    unit: Unit


@dataclass(frozen=True, slots=True)
class Where:
    r"""A value with a condition on its parameters, such as `2k\pi, k \in \mathbb{Z}`; None where it is trivial."""

    value: Node
    condition: Node | None


@dataclass(frozen=True, slots=True)
class Either:
    """Notation with more than one reading."""

    readings: tuple[Node, ...]


Node = (
    Number
    | Symbol
    | Apply
    | Relation
    | Logic
    | Sequence
    | Matrix
    | SetBuilder
    | Words
    | Choice
    | Based
    | Clock
    | Quantity
    | Where
    | Either
)

EMPTY_SET = Sequence("{}", ())
REALS = Symbol(r"\mathbb{R}")
INFINITY = Symbol(r"\infty")
IMAGINARY = Symbol("i")
_BINDING = ("sum", "prod", "int")  # (body, variable, lower, upper)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Apply(_, arguments):
            return arguments
        case Relation(_, sides):
            return sides
        case Logic(_, parts):
            return parts
        case Sequence(_, items):
            return items
        case Matrix(rows):
            return tuple(entry for row in rows for entry in row)
        case SetBuilder(variable, condition):
            return (variable, condition)
        case Quantity(value, _):
            return (value,)
        case Where(value, condition):
            return (value,) if condition is None else (value, condition)
        case Either(readings):
            return readings
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    pending = [node]
    while pending:
        here = pending.pop()
        yield here
        pending += children(here)


def free_symbols(node: Node) -> frozenset[str]:
    """The names of the variables in `node` that no sum, product or integral binds."""
    if isinstance(node, Symbol):
        return frozenset({node.name})
    # Each part once: twice at every level of sums within sums would take 2^depth steps.
    if isinstance(node, Apply) and node.name in _BINDING and isinstance(node.arguments[1], Symbol):
        body, variable, *bounds = node.arguments
        assert isinstance(variable, Symbol)
        return (free_symbols(body) - {variable.name}).union(*map(free_symbols, bounds))
    return frozenset[str]().union(*map(free_symbols, children(node)))


def has(node: Node, name: str) -> bool:
    """True when the operation or symbol `name` occurs in `node`."""
    return any(isinstance(part, (Apply, Symbol)) and part.name == name for part in walk(node))
