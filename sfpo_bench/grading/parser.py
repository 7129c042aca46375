"""Expressions: tokens to a tree. Here are its atoms: names, brackets, fractions, roots, functions, sums, integrals."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sfpo_bench.grading.lexer import Token, Unreadable
from sfpo_bench.grading.operators import ACCENTS, BIG, CONSTANT_COMMANDS, DEEPEST, VARIABLE_COMMANDS, Operators
from sfpo_bench.grading.terms import MINUS_ONE, ONE, TEN, TWO, primed, product, split_commas, written
from sfpo_bench.grading.tree import Apply, Matrix, Node, Number, Sequence, Symbol

# Letters that are functions when brackets follow; of any other letter brackets are a factor, unless only one letter
# or number stands in them.
_FUNCTION_LETTERS = frozenset("fgFGPEC")
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
             "sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh"}  # fmt: skip
_CANONICAL = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "acot": "arccot", "asinh": "arcsinh",
              "acosh": "arccosh", "atanh": "arctanh", "arsinh": "arcsinh", "arcosh": "arccosh", "artanh": "arctanh",
              "sign": "sgn", "bmod": "mod"}  # fmt: skip
_TAKES_A_LIST = frozenset(("max", "min", "gcd", "lcm"))
_FENCES = {"(": ")", "[": "]", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", r"\{": r"\}", "|": "|", "||": "||"}
_MEANT = frozenset(
    (*_INVERSES, *_INVERSES.values(), *_TAKES_A_LIST, "log", "ln", "exp", "abs", "floor", "ceil", "sgn", "mod", "binom")
)


@dataclass(slots=True)
class Parser(Operators):
    """Reads all of `tokens` as one expression with `whole`. Raises Unreadable."""

    def _atom(self) -> Node:
        token = self._take()
        match token.kind:
            case "number":
                assert token.number is not None
                return token.number
            case "letter":
                return self._letter(token.text)
            case "group":
                return self._braces(token)
            case "function":
                return self._function(token.text)
            case "rows":
                return self._rows(token)
            case "sign" | "command":
                return self._sign(token.text)
            case _:
                raise Unreadable(f"the words {token.text}")

    def _letter(self, name: str) -> Node:
        node: Node = Symbol(name)
        while self._peek() in ("'", "_") or (self._peek() == "^" and self._peek(1) == "'"):
            node = self._named_further(node)
        return self._called(node)

    def _named_further(self, node: Node) -> Node:
        if self._peek() == "^":
            self.place += 1
        sign = self._take().text
        return primed(node, 1) if sign == "'" else self._indexed(node, self._index())

    def _called(self, node: Node) -> Node:
        """`f(x)` where the letter is one of a function, or where a single letter or number stands in the brackets."""
        inverse = self._inverse()
        moment = self._peek() == "[" and isinstance(node, Symbol) and node.name in ("E", "P", "V")
        if (self._peek() == "(" or moment) and isinstance(node, Symbol):
            content = self._bracketed(self.place)
            alone = content[0].kind if len(content) == 1 else ""
            single = alone in ("letter", "command") and content[0].text != node.name
            known = node.name.strip("'")[:1] in _FUNCTION_LETTERS or node.name.startswith(
                (r"\phi", r"\psi", r"\varphi")
            )
            if known or "'" in node.name or alone == "number" or (single and node.name[:1] not in "xyznk\\") or inverse:
                self.place += len(content) + 2
                return self._call(f"{node.name}{inverse}", content)
        if inverse:
            self.place -= 2
        return node

    def _call(self, name: str, content: tuple[Token, ...]) -> Node:
        """A function of its arguments; a name where statements stand in the brackets, as in `P(X = 2)`."""
        try:
            arguments = tuple(self.nested(part) for part in split_commas(content))
            chosen = name == "C" and len(arguments) == 2 and all(isinstance(each, Number) for each in arguments)
            return Apply("binom" if chosen else f"?{name}", arguments)
        except Unreadable:
            return Symbol(f"{name}({''.join(written(content))})")

    def _inverse(self) -> str:
        """`^{-1}` before brackets, which is passed over."""
        if self._peek() == "^" and self._peek(1) == "<group>" and self._peek(2) == "(":
            tokens = self.tokens[self.place + 1].inner[0]
            if "".join(token.text for token in tokens) == "-1":
                self.place += 2
                return "^-1"
        return ""

    def _braces(self, token: Token) -> Node:
        """A group: empty before an index (`{}_{10}C_3`), a choice (`{n \\choose k}`), or an expression."""
        tokens = token.inner[0]
        for place, inner in enumerate(tokens):
            if inner.text == r"\choose":
                return Apply("binom", (self._inside(tokens[:place]), self._inside(tokens[place + 1 :])))
            if inner.text == r"\over":
                return Apply("div", (self._inside(tokens[:place]), self._inside(tokens[place + 1 :])))
        if not tokens:
            return self._combination()
        return self._inside(tokens)

    def _combination(self) -> Node:
        """`{}_{10}C_3`, the number of ways to choose."""
        if self._peek() == "_":
            self.place += 1
            above = self._inside(self._index())
            if self._take().text == "C" and self._peek() == "_":
                self.place += 1
                return Apply("binom", (above, self._inside(self._index())))
        raise Unreadable("empty braces")

    def _inside(self, tokens: tuple[Token, ...]) -> Node:
        return Parser(tokens, self.nested, self.depth + 1).whole() if self.depth < DEEPEST else _too_deep()

    def _rows(self, token: Token) -> Node:
        cells = iter(token.inner)
        rows = tuple(tuple(self.nested(next(cells)) for _ in range(width)) for width in token.widths)
        if token.text in ("cases", "aligned", "align", "align*", "gathered") or not rows:
            raise Unreadable("a system of statements")
        if len(set(token.widths)) != 1:
            raise Unreadable("rows of different lengths")
        matrix = Matrix(rows)
        return Apply("determinant", (matrix,)) if token.text == "vmatrix" else matrix

    def _sign(self, sign: str) -> Node:
        if sign in _FENCES:
            return self._fenced(sign)
        if sign == r"\frac":
            return self._fraction()
        if sign == r"\sqrt":
            return self._root()
        if sign == r"\binom":
            return Apply("binom", (self._argument(), self._argument()))
        if sign in BIG:
            return self._big(BIG[sign])
        if sign[1:] in ACCENTS:
            return self._accent(sign)
        if sign in CONSTANT_COMMANDS or sign in VARIABLE_COMMANDS or sign.startswith(r"\mathbb"):
            return self._letter(sign)
        if sign in (r"\angle", r"\triangle", r"\neg", r"\forall", r"\exists", r"\not", r"\measuredangle"):
            return Apply(f"?{sign}", (self._power(),))
        raise Unreadable(f"the sign {sign}")

    def _fenced(self, opener: str) -> Node:
        """The content of brackets, bars or floor signs."""
        closer = _FENCES[opener]
        if opener in ("(", "[", r"\{"):
            content = self._bracketed(self.place - 1)
            self.place += len(content) + 1
            end = self.tokens[self.place - 1].text
            if end != closer:
                raise Unreadable("an interval in an expression")
            parts = split_commas(content)
            if len(parts) > 1 and opener != r"\{":
                return Sequence(opener + closer, tuple(self.nested(part) for part in parts))
            node = self.nested(content)
            return Apply("?set", (node,)) if opener == r"\{" else node
        self.closers.append(closer)
        inner = self.sum()
        self.closers.pop()
        if self._take().text != closer:
            raise Unreadable(f"{closer} is missing")
        names = {"|": "abs", "||": "?norm", r"\lfloor": "floor", r"\lceil": "ceil"}
        return Apply(names[opener], (inner,))

    def _argument(self) -> Node:
        """The argument of a command: a group, or the next digit, letter or command."""
        token = self.tokens[self.place] if self.place < len(self.tokens) else None
        if token is not None and token.kind == "number" and token.text.isdecimal() and len(token.text) > 1:
            # `\frac34` and `\frac12x` take a digit each.
            digit, rest = token.text[0], token.text[1:]
            rest_token = Token("number", rest, number=Number(Fraction(int(rest))))
            self.tokens = (*self.tokens[: self.place], rest_token, *self.tokens[self.place + 1 :])
            return Number(Fraction(int(digit)))
        return self._inside(self._index()) if token is not None and token.kind == "group" else self._atom()

    def _fraction(self) -> Node:
        derivative = self._derivative()
        if derivative is not None:
            return derivative
        above = self._argument()
        return Apply("div", (above, self._argument()))

    def _derivative(self) -> Node | None:
        r"""`\frac{dy}{dx}`, a name of its own, and `\frac{d}{dx}`, an operator on what follows."""
        if self._peek() != "<group>" or self._peek(1) != "<group>":
            return None
        above, below = (self.tokens[self.place + ahead].inner[0] for ahead in (0, 1))
        marks = ("d", r"\partial")
        if not (above and len(below) > 1 and above[0].text in marks and below[0].text in marks):
            return None
        self.place += 2
        name = "".join(written(above)) + "/" + "".join(written(below))
        operator = all(token.text in (*marks, "^") or token.kind == "number" for token in above)
        return Apply(f"?{name}", (self._product(),)) if operator else Symbol(name)

    def _root(self) -> Node:
        degree: Node = TWO
        if self._peek() == "[":
            content = self._bracketed(self.place)
            self.place += len(content) + 2
            degree = self._inside(content)
        return Apply("root", (degree, self._argument()))

    def _accent(self, sign: str) -> Node:
        r"""`\bar z` is a conjugate, `\overline{AB}` and `\hat x` are names."""
        index = self._index()
        if (
            sign in (r"\bar", r"\overline")
            and len(index) == 1
            and index[0].kind == "letter"
            and index[0].text.islower()
        ):
            return Apply("conj", (Symbol(index[0].text),))
        if sign in (r"\overline", r"\bar") and not all(token.kind in ("letter", "number") for token in index):
            return Apply("conj", (self._inside(index),))
        return self._letter(f"{sign} {''.join(written(index))}")

    def _big(self, name: str) -> Node:
        r"""`\sum_{k=1}^{n} body`, `\int_0^1 body\,dx`; without bounds the object has no value here."""
        lower = upper = None
        while self._peek() in ("_", "^"):
            if self._take().text == "_":
                lower = self._index()
            else:
                upper = self._index()
        if name == "int":
            return self._integral(lower, upper)
        body = self._product()
        equals = [place for place, token in enumerate(lower or ()) if token.text == "="]
        if lower is None or upper is None or len(equals) != 1:
            mark = "".join(written(lower or ())) + "^" + "".join(written(upper or ()))
            return Apply(f"?{name}{mark}", (body,))
        variable = self._inside(lower[: equals[0]])
        return Apply(name, (body, variable, self._inside(lower[equals[0] + 1 :]), self._inside(upper)))

    def _integral(self, lower: tuple[Token, ...] | None, upper: tuple[Token, ...] | None) -> Node:
        for place in range(len(self.tokens) - 2, self.place - 1, -1):
            if self.tokens[place].text == "d" and self.tokens[place + 1].kind in ("letter", "command"):
                body_tokens, variable = self.tokens[self.place : place], Symbol(self.tokens[place + 1].text)
                self.place = place + 2
                body = self._inside(body_tokens) if body_tokens else ONE
                if lower is None or upper is None:
                    return Apply("?int", (body, variable))
                return Apply("int", (body, variable, self._inside(lower), self._inside(upper)))
        raise Unreadable("an integral without its variable")

    def _function(self, name: str) -> Node:
        name = _CANONICAL.get(name, name)
        if name in ("lim", "sup", "inf"):
            return self._limit(name)
        base: Node | None = None
        powers: list[Node] = []
        primes = ""
        while self._peek() in ("^", "_", "'"):
            mark = self._take().text
            if mark == "_":
                base = self._inside(self._index())
            elif mark == "'":
                primes += "'"
            else:
                powers.append(self._exponent())
        if powers == [MINUS_ONE] and name in _INVERSES:
            name, powers = _INVERSES[name], []
        arguments = self._function_arguments(name)
        if base is not None:
            node = Apply("log", (base, *arguments)) if name == "log" else Apply(f"?{name}_", (base, *arguments))
        else:
            node = self._plain_function(name + primes, arguments)
        for power in powers:
            node = Apply("pow", (node, power))
        return node

    def _plain_function(self, name: str, arguments: tuple[Node, ...]) -> Apply:
        if name == "sqrt":
            return Apply("root", (TWO, *arguments))
        if name == "cbrt":
            return Apply("root", (Number(Fraction(3)), *arguments))
        if name in ("Re", "Im", "arg"):
            return Apply(name, arguments)
        if name == "lg":
            return Apply("log", (TEN, *arguments))
        return Apply(name if name in _MEANT else f"?{name}", arguments)

    def _limit(self, name: str) -> Node:
        under: tuple[Token, ...] = ()
        if self._peek() == "_":
            self.place += 1
            under = self._index()
        return Apply(f"?{name} {''.join(written(under))}", (self._product(),))

    def _function_arguments(self, name: str) -> tuple[Node, ...]:
        """Brackets, or the factors up to the next function or bracket: `\\sin 2x \\cos x` has the argument `2x`."""
        if self._peek() in ("(", "[", r"\{"):
            content = self._bracketed(self.place)
            self.place += len(content) + 2
            parts = split_commas(content) if name in _TAKES_A_LIST or name in ("mod", "log", "binom") else [content]
            return tuple(self.nested(part) for part in parts)
        if self._peek() == "<group>" and name in _TAKES_A_LIST:
            parts = split_commas(self._take().inner[0])
            return tuple(self.nested(part) for part in parts)
        if name in _TAKES_A_LIST:
            raise Unreadable(f"{name} of one value")
        factors = [self._signed()]
        while self._starts() and self._peek() not in ("(", "[", "<function>", r"\{", *BIG):
            factors.append(self._juxtaposed())
        return (product(factors),)

    def _indexed(self, node: Node, index: tuple[Token, ...]) -> Node:
        """`x_1` and `x_{max}` are names; an index of letters that may vary is an argument: `a_{n+1}`."""
        text = "".join(written(index))
        if not isinstance(node, Symbol):
            raise Unreadable("an index of no name")
        varies = any(token.kind == "letter" and token.text in "ijklmnrt" for token in index)
        fixed = all(token.kind in ("number", "word", "function", "command") for token in index)
        if fixed or not varies or len(index) > 12:
            return Symbol(f"{node.name}_{text}")
        return Apply(f"?{node.name}_", (self._inside(index),))


def _too_deep() -> Node:
    raise Unreadable("too deep")
