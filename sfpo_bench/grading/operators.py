r"""Sums, products (also without a sign), signs, powers and marks behind a factor, by precedence.

sum      product (+ product | - product | \pm product)*
product  factor (\cdot factor | / factor | factor)*
factor   [+ -] atom postfix* [^ factor]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from sfpo_bench.grading.effort import spend
from sfpo_bench.grading.lexer import Token, Unreadable, times_power_of_ten
from sfpo_bench.grading.terms import is_proper, mixed, negative, power_of_ten, primed, product
from sfpo_bench.grading.tree import Apply, Node, Number, Symbol
from sfpo_bench.grading.vocabulary import words

DEEPEST = 60
ACCENTS = words(
    "vec hat bar overline tilde dot ddot dddot overrightarrow widehat widetilde underline overarc wideparen"
)
_NON_COMMUTATIVE = frozenset((r"\oplus", r"\otimes", r"\circ", r"\odot", r"\ominus", r"\star", r"\bullet", r"\#", "#"))
BIG = {r"\sum": "sum", r"\prod": "prod", r"\int": "int"}
CONSTANT_COMMANDS = frozenset((r"\pi", r"\infty", r"\hbar", r"\ell", r"\nabla", r"\partial", r"\ldots"))
VARIABLE_COMMANDS = frozenset(
    rf"\{name}"
    for name in words(
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho "
        "sigma tau phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega aleph Re Im"
    )
)
_NOT_FACTORS = frozenset(
    rf"\{name}"
    for name in words(
        "le ge ne approx in notin subset subseteq supset supseteq cup cap setminus to Rightarrow "
        "Leftrightarrow iff mid nmid equiv cong pmod lor land pm mp cdot times oplus otimes circ odot ominus "
        "star bullet rfloor rceil degree parallel perp propto choose over leftarrow mapsto ll gg prec succ "
        "neg forall exists sim because"
    )
)


@dataclass(slots=True)
class Operators:
    """Reads the operators between atoms, which `Parser` reads. Raises Unreadable.

    `nested` reads what stands in brackets.
    """

    tokens: tuple[Token, ...]
    nested: Callable[[tuple[Token, ...]], Node]
    depth: int = 0
    place: int = 0
    closers: list[str] = field(default_factory=list)

    def _atom(self) -> Node:
        raise NotImplementedError

    def _indexed(self, node: Node, index: tuple[Token, ...]) -> Node:
        raise NotImplementedError

    def whole(self) -> Node:
        """The expression that all tokens make."""
        node = self.sum()
        if self.place < len(self.tokens):
            raise Unreadable(f"{self.tokens[self.place].text} is left over")
        return node

    def _peek(self, ahead: int = 0) -> str:
        """The text of the next sign or command; of other tokens their kind in angle brackets."""
        if self.place + ahead >= len(self.tokens):
            return ""
        token = self.tokens[self.place + ahead]
        return token.text if token.kind in ("sign", "command") else f"<{token.kind}>"

    def _take(self) -> Token:
        if self.place >= len(self.tokens):
            raise Unreadable("the expression ends too early")
        self.place += 1
        return self.tokens[self.place - 1]

    def sum(self) -> Node:
        """Terms and their signs."""
        spend()
        terms = [self._product()]
        while (sign := self._peek()) in ("+", "-", r"\pm", r"\mp"):
            self.place += 1
            term = self._product()
            if sign == "-":
                term = negative(term)
            elif sign != "+":
                term = Apply(sign[1:], (term,))
            terms.append(term)
        return terms[0] if len(terms) == 1 else Apply("add", tuple(terms))

    def _product(self) -> Node:
        factors = [self._signed()]
        while True:
            sign = self._peek()
            if sign in ("*", r"\cdot", r"\times"):
                self.place += 1
                factors = self._times(factors, self._signed(), crossed=sign == r"\times")
            elif sign == "/":
                self.place += 1
                factors = [self._divided(factors, self._signed())]
            elif sign in _NON_COMMUTATIVE:
                self.place += 1
                factors = [Apply(f"?{sign}", (product(factors), *([self._signed()] if self._starts() else [])))]
            elif sign == "<function>" and self.tokens[self.place].text in ("mod", "bmod"):
                self.place += 1
                factors = [Apply("mod", (product(factors), self._signed()))]
            elif self._starts():
                factors.append(self._juxtaposed())
            else:
                return product(factors)

    def _times(self, factors: list[Node], factor: Node, *, crossed: bool) -> list[Node]:
        r"""`1.5 \times 10^{-7}` is one number; the cross product of vectors has an order."""
        power = power_of_ten(factor)
        if len(factors) == 1 and isinstance(factors[0], Number) and power is not None and abs(power) < 100_000:
            return [times_power_of_ten(factors[0], power)]
        vectors = any(
            isinstance(side, Symbol) and side.name.startswith((r"\vec", r"\hat")) for side in (*factors, factor)
        )
        if crossed and vectors:
            return [Apply("?\\times", (product(factors), factor))]
        return [*factors, factor]

    def _divided(self, factors: list[Node], divisor: Node) -> Node:
        """`3 1/2` is a mixed number; otherwise the product so far is divided."""
        if len(factors) == 2 and all(isinstance(part, Number) and part.digits is None for part in (*factors, divisor)):
            return mixed(factors[0], Apply("div", (factors[1], divisor)))
        if any(isinstance(first, Number) and isinstance(second, Number) for first, second in pairwise(factors)):
            raise Unreadable("two numbers side by side")
        return Apply("div", (product(factors), divisor))

    def _starts(self) -> bool:
        """True when the next token can begin a factor."""
        token = self._peek()
        if token == "|":
            return "|" not in self.closers
        if token in self.closers and self.closers and token == self.closers[-1]:
            return False
        return (
            token in ("<number>", "<letter>", "<function>", "<group>", "<rows>", "(", "[", r"\lfloor", r"\lceil", r"\{")
            or token in CONSTANT_COMMANDS
            or token in VARIABLE_COMMANDS
            or token in (r"\frac", r"\sqrt", r"\binom", r"\mathbb{R}", r"\ldots", *BIG)
            or token[1:] in ACCENTS
            or (token.startswith("\\") and token[1:].isalpha() and token not in _NOT_FACTORS)
        )

    def _juxtaposed(self) -> Node:
        """A factor without a sign before it; two numbers side by side are no product."""
        before = self.tokens[self.place - 1]
        token = self.tokens[self.place]
        factor = self._power()
        if before.kind == "number" and before.number is not None:
            if token.kind == "number":
                if self._peek() != "/" or before.number.digits is not None:
                    raise Unreadable("two numbers side by side")
            elif token.text == r"\frac" and before.number.digits is None and is_proper(factor):
                return Apply("mixed", (factor,))
        return factor

    def _signed(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("too deep")
        sign = self._peek()
        if sign in ("+", "-", r"\pm", r"\mp"):
            self.place += 1
            inner = self._signed()
            node = inner if sign == "+" else negative(inner) if sign == "-" else Apply(sign[1:], (inner,))
        else:
            node = self._power()
        self.depth -= 1
        return node

    def _power(self) -> Node:
        base = self._postfix(self._atom())
        while self._peek() == "^":
            self.place += 1
            base = self._raised(base)
            base = self._postfix(base)
        return base

    def _raised(self, base: Node) -> Node:
        """`base` with the exponent that follows: degrees, primes, a transpose or conjugate, or a power."""
        if self._peek() == "<group>":
            tokens = self.tokens[self.place].inner[0]
            mark = tokens[0].text if len(tokens) == 1 and tokens[0].kind in ("command", "sign", "letter") else ""
            primes = len(tokens) if tokens and all(token.text == "'" for token in tokens) else 0
        else:
            mark, primes = (self.tokens[self.place].text if self.place < len(self.tokens) else ""), 0
        if mark in (r"\circ", r"\degree"):
            self.place += 1
            return Apply("deg", (base,))
        if primes or mark == "'":
            self.place += 1
            return primed(base, primes or 1)
        if mark in (r"\top", r"\dagger", "*", r"\times", r"\perp") or (mark == "T" and not isinstance(base, Number)):
            self.place += 1
            if mark == r"\times":
                return primed(base, 1, r"^\times")
            return Apply("conj" if mark == "*" else "?transpose", (base,))
        exponent = self._signed() if self._peek() in ("-", "+") else self._exponent()
        return Apply("pow", (base, exponent))

    def _exponent(self) -> Node:
        atom = self._postfix(self._atom())
        if self._peek() == "^":
            self.place += 1
            return self._raised(atom)
        return atom

    def _postfix(self, node: Node) -> Node:
        while True:
            sign = self._peek()
            if sign == "!" and self._peek(1) == "!":
                self.place += 2
                node = Apply("?!!", (node,))
            elif sign == "!":
                self.place += 1
                node = Apply("factorial", (node,))
            elif sign == "'":
                self.place += 1
                node = self._prime(node)
            elif sign == "%":
                self.place += 1
                node = Apply("percent", (node,))
            elif sign == r"\degree":
                self.place += 1
                node = Apply("deg", (node,))
            elif sign == "_":
                self.place += 1
                node = self._indexed(node, self._index())
            else:
                return node

    def _prime(self, node: Node) -> Node:
        """Minutes of arc behind a number or degrees, a derivative or another object behind a name."""
        if isinstance(node, (Symbol, Apply)) and not isinstance(node, Number):
            if isinstance(node, Apply) and node.name == "deg":
                raise Unreadable("minutes without a number")
            return primed(node, 1)
        return Apply("arcmin", (node,))

    def _index(self) -> tuple[Token, ...]:
        token = self._take()
        return token.inner[0] if token.kind == "group" else (token,)

    def _bracketed(self, start: int) -> tuple[Token, ...]:
        """The tokens inside the brackets that open at `start`."""
        open_brackets: list[str] = []
        for place in range(start, len(self.tokens)):
            token = self.tokens[place]
            if token.kind == "sign" and token.text in ("(", "[", r"\{"):
                open_brackets.append({"(": ")", "[": "]", r"\{": r"\}"}[token.text])
            elif token.kind == "sign" and token.text in (")", "]", r"\}"):
                if token.text != open_brackets.pop():
                    raise Unreadable("brackets that do not match")
                if not open_brackets:
                    return self.tokens[start + 1 : place]
        raise Unreadable("a bracket is not closed")
