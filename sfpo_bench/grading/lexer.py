r"""LaTeX, and formulas typed as in a program, as tokens: fonts, colours, sizes and spaces are gone, `{…}` is nested.

Every pattern here takes linear time: none repeats what is itself repeated over the same characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction

from sfpo_bench.grading.number_words import NUMBER_WORDS
from sfpo_bench.grading.tree import Number
from sfpo_bench.grading.units import unit_of
from sfpo_bench.grading.vocabulary import words

LONGEST = 2000  # characters of an answer; longer ones are compared as text
_DEEPEST = 60  # braces inside braces
_LARGEST_EXPONENT = 100_000  # of a number in e-notation


class Unreadable(ValueError):
    """The text is not in the notation that is read here."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of notation. `kind` is `number`, `letter`, `function`, `word`, `command`, `sign`, `group` or `rows`.

    `space` tells that white space stood before it. `run` is the run of letters that a letter begins. `inner` has the
    tokens of a group, or the cells of all rows one after the other, `widths` of them in each row.
    """

    kind: str
    text: str
    space: bool = False
    run: str = ""
    number: Number | None = None
    inner: tuple[tuple[Token, ...], ...] = ()
    widths: tuple[int, ...] = ()


FUNCTIONS = words(
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan arccot arcsec arccsc asin acos atan "
    "acot asinh acosh atanh arcsinh arccosh arctanh arsinh arcosh artanh log ln lg exp sqrt cbrt abs max min "
    "gcd lcm det deg dim floor ceil sgn sign mod bmod Re Im arg tr rank lim sup inf binom"
)
_GREEK = words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega varphi varepsilon vartheta hbar ell"
)
# Short words that are no product of their letters; any run of five letters or more is a word too.
_SHORT_WORDS = words(
    "and or not for all any if is are the when with such that than then most more over also both only none no "
    "yes odd even true each per day days week year of to so we has have does do did may can else case like "
    "your you one two six ten east west left none sum side real same some feet foot inch mile hour half"
)
_TEXT_FONTS = words(
    "text textbf textit textrm textsf texttt textup textnormal textsc mbox hbox mathrm operatorname "
    "operatorname* mathop mathsf mathtt mathit rm emph unit si underline"
)
_PLAIN_FONTS = words("mathbf boldsymbol bm pmb mathcal mathscr mathfrak boxed fbox framebox ensuremath bold")
_DROPPED = words(
    "left right middle mleft mright big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm "
    "displaystyle textstyle scriptstyle limits nolimits tiny scriptsize footnotesize small normalsize large "
    "Large LARGE huge Huge bf it sf tt checkmark blacksquare square Box qed hfill strut mathstrut par "
    "noindent centering hline quad@"
)
_DROPPED_WITH_ARGUMENT = words("tag label hspace hspace* vspace phantom hphantom vphantom color cellcolor")
_FIRST_ARGUMENT_DROPPED = words("textcolor colorbox fcolorbox raisebox")
_RENAMED = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"), "frac"),
    **dict.fromkeys(("dbinom", "tbinom"), "binom"),
    **dict.fromkeys(("leq", "leqslant", "leqq"), "le"),
    **dict.fromkeys(("geq", "geqslant", "geqq"), "ge"),
    **dict.fromkeys(("neq",), "ne"),
    **dict.fromkeys(("simeq", "thickapprox", "doteq", "sim"), "approx"),
    **dict.fromkeys(("ast", "star@"), "times"),
    **dict.fromkeys(("varnothing",), "emptyset"),
    **dict.fromkeys(("rightarrow", "longrightarrow"), "to"),
    **dict.fromkeys(("implies", "therefore", "Longrightarrow"), "Rightarrow"),
    **dict.fromkeys(("backslash",), "setminus"),
    **dict.fromkeys(("dots", "cdots", "dotsc", "dotsb", "dotsm"), "ldots"),
    **dict.fromkeys(("degree", "textdegree"), "degree"),
    **dict.fromkeys(("vee",), "lor"),
    **dict.fromkeys(("wedge",), "land"),
    **dict.fromkeys(("lnot",), "neg"),
    **dict.fromkeys(("intercal", "mathsf{T}"), "top"),
}
_SIGNS = {
    "lt": "<",
    "gt": ">",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "langle": "(",
    "rangle": ")",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "lbrack": "[",
    "rbrack": "]",
    "colon": ":",
    "div": "/",
    "quad": "\n",
    "qquad": "\n",
    "newline": "\n",
    "prime": "'",
    "lparen": "(",
    "rparen": ")",
}
_ROWS = words("pmatrix bmatrix matrix vmatrix Bmatrix Vmatrix smallmatrix array cases aligned align align* gathered")
_BLACKBOARD = frozenset("RZNQC")

_NUMBER = re.compile(
    r"(?P<grouped>\d{1,3}(?:,\d{3})+(?!\d|,\d)(?:\.\d+)?)"
    r"|(?P<spaced>\d{1,3}(?: \d{3})+(?![\d.]| \d)|\d{1,3}(?:_\d{3})+(?!\d))"
    r"|(?P<decimal>\d*\.\d+|\d+(?:\.(?=[/*+^()\\-]))?)"
)
_EXPONENT = re.compile(r"[eE]([+-]?\d{1,9})(?![A-Za-z0-9]|\.\d)")
_REPETEND = re.compile(r"\\overline\s*\{\s*(\d{1,60})\s*\}|\\(?:dot|overline)\s*\{?\s*(\d)\s*\}?|\((\d{1,60})\)")
_DOTS = re.compile(r"\s*(?:\\[lc]?dots(?![A-Za-z])|\.\.\.|\u2026)")
_COMMAND = re.compile(r"\\(?:([A-Za-z]+\*?)|(.))", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]+")
_PIECES = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?|[^\s\w]|_")
_ARGUMENT = re.compile(r"\s*\{([^{}]*)\}")


@dataclass(slots=True)
class _Lexer:
    text: str
    upright: bool = False
    grouped_in_brackets: bool = False
    decimal_comma: bool = False
    place: int = 0
    depth: int = 0
    brackets: int = 0
    space: bool = False
    found: list[Token] = field(default_factory=list)

    def tokens(self, until: str = "") -> tuple[Token, ...]:
        """The tokens up to `until`, a closing brace, `&` or a command, which is passed over."""
        outer, self.found = self.found, []
        while self.place < len(self.text):
            if until and self.text.startswith(until, self.place):
                self.place += len(until)
                break
            self._next()
        else:
            if until:
                raise Unreadable(f"{until} is missing")
        found, self.found = tuple(self.found), outer
        return found

    def _add(self, kind: str, text: str, **more: object) -> None:
        self.found.append(replace(Token(kind, text, self.space), **more))  # type: ignore[arg-type]  # fields of Token
        self.space = False

    def _next(self) -> None:
        character = self.text[self.place]
        if character.isspace() or character == "~":
            self.space = True
            self.place += 1
            if character == "\n" and self.found:
                self._add("sign", "\n")
        elif character.isdecimal() or (character == "." and self.text[self.place + 1 : self.place + 2].isdecimal()):
            self._number()
        elif character == "\\":
            self._command()
        elif character == "{":
            self.place += 1
            self._group()
        elif character == "}":
            raise Unreadable("a closing brace without an opening one")
        elif match := _LETTERS.match(self.text, self.place):
            self.place = match.end()
            if match.group().isascii():
                self._letters(match.group())
            else:
                self._add("word", match.group())
        else:
            self.place += 1
            self._sign(character)

    def _sign(self, character: str) -> None:
        if character in "*<>!=" and self.text.startswith({"*": "*", "!": "="}.get(character, "="), self.place):
            joined = {"*": "^", "<": r"\le", ">": r"\ge", "!": r"\ne", "=": "="}[character]
            if character != "!" or self.space or not self.found:
                self.place += 1
                self._add("command" if joined.startswith("\\") else "sign", joined)
                return
        if character == "." and self.text.startswith("..", self.place):
            self.place += 2
            self._add("command", r"\ldots")
            return
        self.brackets += (character in "([") - (character in ")]")
        self._add("sign", character)

    def _group(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unreadable("too many braces inside braces")
        space, self.space = self.space, False
        inner = self.tokens("}")
        self.space = space
        self.depth -= 1
        self._add("group", "", inner=(inner,))

    def _number(self) -> None:
        match = _NUMBER.match(self.text, self.place)
        assert match is not None
        whole = match.group()
        allowed = not self.decimal_comma and (self.brackets <= 0 or self.grouped_in_brackets)
        if (match["grouped"] and not allowed) or (match["spaced"] and self._continues_a_number()):
            decimal = re.compile(r"\d*\.\d+|\d+").match(self.text, self.place)
            assert decimal is not None
            whole = decimal.group()
        self.place += len(whole)
        digits = re.sub("[, _]", "", whole)
        if self.decimal_comma and (comma := re.compile(r",(\d+)").match(self.text, self.place)):
            digits, self.place = f"{digits}.{comma[1]}", comma.end()
        behind = self.place
        value = self._value(digits)
        self._add("number", digits + self.text[behind : self.place], number=value)

    def _continues_a_number(self) -> bool:
        return bool(self.found) and self.found[-1].kind == "number"

    def _value(self, digits: str) -> Number:
        """The number that starts with `digits`, with what repeats in it and its exponent, which are passed over."""
        if "." in digits:
            if (repetend := _REPETEND.match(self.text, self.place)) and not self._is_call(repetend):
                self.place = repetend.end()
                return _repeating(digits, next(filter(None, repetend.groups())))
            if dots := _DOTS.match(self.text, self.place):
                block = _repeated_block(digits.partition(".")[2])
                if block is None:
                    raise Unreadable("a decimal that goes on in a way that is not told")
                self.place = dots.end()
                return _repeating(digits, block)
        number = written_number(digits)
        if exponent := _EXPONENT.match(self.text, self.place):
            self.place = exponent.end()
            return times_power_of_ten(number, int(exponent[1]), scientific=True)
        return number

    def _is_call(self, repetend: re.Match[str]) -> bool:
        """True when `(…)` behind a decimal is a factor, as it is when something follows that the decimal multiplies."""
        return repetend.group().startswith("(") and self.text[repetend.end() : repetend.end() + 1] in ("^", "!")

    def _letters(self, run: str) -> None:
        if self.upright and run not in FUNCTIONS:
            self._add("word", run)
        elif run in ("infinity", "infty", "inf", "oo"):
            self._add("command", r"\infty")
        elif run in FUNCTIONS:
            self._add("function", run)
        elif run in _GREEK:
            self._add("command", f"\\{run}")
        elif run == "emptyset":
            self._add("command", r"\emptyset")
        elif is_word(run) or (len(run) > 2 and run.islower() and self.space and self._continues_a_number()):
            self._add("word", run)
        elif run.startswith(("sin", "cos", "tan", "ln", "log")) and len(run) <= 5:
            name = re.match("sin|cos|tan|ln|log", run)
            assert name is not None
            self._add("function", name.group())
            self._letters(run[name.end() :])
        else:
            for place, letter in enumerate(run):
                self._add("letter", letter, run=run if place == 0 else "")

    def _command(self) -> None:
        match = _COMMAND.match(self.text, self.place)
        if match is None:
            self.place = len(self.text)  # a control space whose space is gone
            return
        self.place = match.end()
        name = match[1]
        if name is None:
            self._escaped(match[2])
        elif name in ("begin", "end"):
            self._environment(name)
        elif name in ("SI", "qty", "num", "ang"):
            self._siunitx(name)
        elif name in _DROPPED:
            if name in ("left", "right") and self.text.startswith(".", self.place):
                self.place += 1
        elif name in _DROPPED_WITH_ARGUMENT or name in _FIRST_ARGUMENT_DROPPED:
            self._raw_argument()  # without braces it is one character: `\phantom -1` shows 1
            if name in _FIRST_ARGUMENT_DROPPED:
                self.found += self._nested(self._raw_argument())
        elif name in _TEXT_FONTS:
            self._font(self._raw_argument(), upright=True)
        elif name in _PLAIN_FONTS:
            self.found += self._nested(self._raw_argument())
        elif name == "mathbb":
            self._blackboard(self._raw_argument().strip())
        elif name in _SIGNS:
            self.brackets += (_SIGNS[name] in "([") - (_SIGNS[name] in ")]")
            self._add("sign", _SIGNS[name])
        else:
            name = _RENAMED.get(name, name)
            is_function = name in FUNCTIONS and name not in ("sqrt", "binom")
            self._add("function" if is_function else "command", name if is_function else f"\\{name}")

    def _escaped(self, character: str) -> None:
        if character in ",;: !>":
            self.space = True
        elif character == "\\":
            self._add("sign", "\n")
        elif character in "{}":
            self.brackets += 1 if character == "{" else -1
            self._add("sign", f"\\{character}")
        elif character == "|":
            self._add("sign", "||")
        else:
            self._add("sign", character)

    def _raw_argument(self) -> str:
        """The text of the braces that follow, or of the single character."""
        while self.place < len(self.text) and self.text[self.place].isspace():
            self.place += 1
        if not self.text.startswith("{", self.place):
            self.place += 1
            return self.text[self.place - 1 : self.place]
        depth, start = 0, self.place
        for place in range(start, len(self.text)):
            if self.text[place] in "{}" and self.text[place - 1 : place] != "\\":
                depth += 1 if self.text[place] == "{" else -1
                if depth == 0:
                    self.place = place + 1
                    return self.text[start + 1 : place]
        raise Unreadable("a brace is not closed")

    def _nested(self, text: str, *, upright: bool = False) -> tuple[Token, ...]:
        """The tokens of an argument, in the place of the command that held it."""
        if self.depth >= _DEEPEST:
            raise Unreadable("too many braces inside braces")
        inner = _Lexer(text, upright, self.grouped_in_brackets, self.decimal_comma, depth=self.depth + 1)
        tokens = inner.tokens()
        if tokens and self.space:
            tokens = (replace(tokens[0], space=True), *tokens[1:])
        self.space = False
        return tokens

    def _font(self, text: str, *, upright: bool) -> None:
        """What a text command holds: mathematics in upright type, or words."""
        stripped = text.strip()
        mathematical = not re.search(r"[A-Za-z]{2,}[^A-Za-z]+[A-Za-z]{2,}", stripped) or "\\" in stripped
        if not stripped:
            self.space = True
        elif len(stripped) == 1 and text != stripped:
            self.found += [replace(token, space=True) for token in self._nested(stripped)]
        elif len(stripped) == 1 or stripped in FUNCTIONS or not re.search(r"[A-Za-z\u00c0-\uffff]", stripped):
            self.found += self._nested(stripped)
        elif mathematical and re.search(r"[\\^_={}]", stripped) and not re.search(r"[A-Za-z]{4,}\s", stripped):
            self.found += self._nested(stripped, upright=upright)
        else:
            self._words(text)

    def _words(self, text: str) -> None:
        """The words, numbers and punctuation of plain text."""
        self.space = True
        for piece in _PIECES.finditer(text):
            self.space |= text[piece.start() - 1 : piece.start()].isspace()
            if piece.group()[0].isdecimal():
                self._add("number", piece.group(), number=written_number(piece.group()))
            else:
                self._add("word" if piece.group()[0].isalpha() else "sign", piece.group())
        self.space = True

    def _blackboard(self, letter: str) -> None:
        if letter in _BLACKBOARD and letter:
            self._add("command", rf"\mathbb{{{letter}}}")
        else:
            self.found += self._nested(letter)

    def _siunitx(self, name: str) -> None:
        self.found += self._nested(self._raw_argument())
        if name in ("SI", "qty"):
            self._words(self._raw_argument().replace("\\", " "))
        elif name == "ang":
            self._add("command", r"\degree")

    def _environment(self, which: str) -> None:
        name = self._raw_argument()
        if which == "end" or name not in _ROWS or self.depth > _DEEPEST:
            raise Unreadable(f"the environment {name}")
        if name == "array" and (argument := _ARGUMENT.match(self.text, self.place)):
            self.place = argument.end()
        end = rf"\end{{{name}}}"
        body_end = self.text.find(end, self.place)
        if body_end < 0 or r"\begin" in self.text[self.place : body_end]:
            raise Unreadable(f"the environment {name} is not closed")
        cells: list[tuple[Token, ...]] = []
        widths: list[int] = []
        for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr(?![A-Za-z])", self.text[self.place : body_end]):
            if row.replace(r"\hline", "").strip():
                parts = row.split("&")
                cells += [self._nested(part) for part in parts]
                widths.append(len(parts))
        self.place = body_end + len(end)
        self._add("rows", name, inner=tuple(cells), widths=tuple(widths))


def is_word(run: str) -> bool:
    """True when a run of letters is a word and no product of its letters."""
    low = run.lower()
    if low in _SHORT_WORDS or (low in NUMBER_WORDS and len(run) > 2):
        return True
    if len(run) >= 5:
        return not run.isupper()
    return len(run) > 2 and unit_of(low) is not None and run not in ("abs",)


def written_number(digits: str) -> Number:
    """The number of plain digits with at most one point."""
    whole, _, fraction = digits.partition(".")
    if not fraction:
        return Number(Fraction(int(whole or "0")))
    significant = len((whole + fraction).lstrip("0"))
    return Number(Fraction(int(whole + fraction), 10 ** len(fraction)), significant, len(fraction))


def times_power_of_ten(number: Number, exponent: int, *, scientific: bool = False) -> Number:
    """A decimal in scientific notation; a whole number of few digits, such as `3e5`, is as exact as it looks."""
    if abs(exponent) > _LARGEST_EXPONENT:
        raise Unreadable("an exponent too large")
    value = number.value * Fraction(10) ** exponent
    if number.digits is None:
        return Number(value) if exponent >= 0 else Number(value, len(str(abs(number.value.numerator))), -exponent)
    return Number(value, number.digits, number.places - exponent)


def _repeating(digits: str, block: str) -> Number:
    """The value of a decimal whose `block` of digits repeats behind `digits` for ever."""
    start = written_number(digits)
    places = len(digits.partition(".")[2])
    return Number(start.value + Fraction(int(block), (10 ** len(block) - 1) * 10**places))


def _repeated_block(decimals: str) -> str | None:
    """The shortest block that ends `decimals` at least three times, or twice when it has two digits or more."""
    for length in range(1, len(decimals) // 2 + 1):
        block = decimals[-length:]
        times = 3 if length == 1 else 2
        if len(decimals) >= length * times and decimals.endswith(block * times):
            return block
    return None


def tokens_of(text: str, *, decimal_comma: bool = False) -> tuple[Token, ...]:
    """The tokens of an answer. Raises Unreadable for braces that do not match, or nest too deeply, and for long text.

    With `decimal_comma`, `1,5` is one and a half. Within brackets `1,234` is one number only where other commas of the
    text have a space behind them, as in `(1,234, 5)`.
    """
    if len(text) > LONGEST:
        raise Unreadable("too long")
    spaced = re.search(r"(?<!\\),\s", text) is not None
    return _Lexer(text, grouped_in_brackets=spaced, decimal_comma=decimal_comma).tokens()
