r"""Variants of golds: mutants, which say something else, and rewrites, which say the same.

`equal_by_sympy` is the independent check of a mutant that was accepted: math-verify reads both texts, and sympy
compares them as values at random complex points, as sets, or entry by entry. It shares no code with the grader.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from tests.problem_sets.shared_data import SHARED

_REPLACEMENTS = (
    ("+", "-"), ("-", "+"), ("<", ">"), (">", "<"), (r"\le", "<"), (r"\ge", ">"), (r"\leq", r"\geq"), (r"\ge", r"\le"),
    ("=", r"\ne"), ("=", "<"), ("(", "["), (")", "]"), ("[", "("), ("]", ")"), (r"\sin", r"\cos"), (r"\cos", r"\tan"),
    (r"\sqrt", r"\ln"), (r"\pi", "e"), (r"\cup", r"\cap"), ("^2", "^3"), ("^", "_"), (r"\frac", r"\binom"), ("!", ""),
    ("'", ""), (r"\infty", r"-\infty"), (r"\pm", "+"), ("cm", "m"), ("km", "m"), ("minutes", "hours"),
    ("inches", "feet"),
    ("hours", "days"), (r"\%", r" \text{ million}"), (r"\cdot", "+"), (r"\times", "+"), ("/", "*"), (r"\{", "("),
    (r"\in", r"\notin"), (r"\circ", "2"), ("dollars", "cents"), ("AM", "PM"), ("even", "odd"), (r"\vec", r"\hat"),
)  # fmt: skip
_WRAPPINGS = (
    "-{}", "-({})", "{}+1", "{}-1", r"\frac{{1}}{{2}}({})", r"{} \text{{ or }} 977", r"{}, 977", r"\text{{not }} {}",
    r"{}\text{{ million}}", r"{}\text{{ dozen}}", "x \\ge {}", "x^2 = {}", "|x| = {}", r"\sin x = {}",
    r"{} \approx 977",
    r"\text{{at least }} {}", r"\text{{twice }} {}", r"{} \text{{ is wrong}}", "977{}", "{}977",
)  # fmt: skip


def mutants(gold: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    """(what was changed, mutant): a digit, name, sign, bracket or word changed, items swapped, or all of it wrapped."""
    for match in re.finditer(r"\d", gold):
        other = str((int(match.group()) + draw.randrange(1, 10)) % 10)
        yield "digit", gold[: match.start()] + other + gold[match.end() :]
    for match in re.finditer(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", gold):
        other = draw.choice([letter for letter in "abkmnpqxyztuvw" if letter != match.group()])
        yield "name", gold[: match.start()] + other + gold[match.end() :]
    for old, new in _REPLACEMENTS:
        places = list(re.finditer(re.escape(old) + ("(?![A-Za-z])" if old[-1].isalpha() else ""), gold))
        for match in places[:2]:
            yield f"{old} to {new}", gold[: match.start()] + new + gold[match.end() :]
    for wrapping in _WRAPPINGS:
        yield wrapping, wrapping.format(gold)
    pair = re.fullmatch(r"(\(?)([^,()]+),([^,()]+)(\)?)", gold)
    if pair and pair[1]:
        yield "swapped", f"{pair[1]}{pair[3]},{pair[2]}{pair[4]}"


def rewrites(gold: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    """(what was done, response): the same answer in other fonts, spaces, fractions, boxes, orders and sentences."""
    yield "boxed", rf"\boxed{{{gold}}}"
    yield "two boxes", rf"\boxed{{{gold}}} \boxed{{{gold}}}"
    yield "two paragraphs", f"So \\boxed{{{gold}}}.\n\nHence \\boxed{{{gold}}}."
    yield "remark", rf"Hence \boxed{{{gold}}}. This final answer is as required."
    yield "sentence", rf"The final answer is $\boxed{{{gold}}}$. I hope it is correct."
    yield "thought", rf"<think>\boxed{{977}}?</think> \boxed{{{gold}}}<|im_end|>"
    yield "dollars", r"\boxed{$" + re.sub(r"(?<!\\)\$", "", gold) + "$}"
    yield "spaces", rf"\boxed{{ \, {gold} \; }}"
    yield "stop", rf"\boxed{{{gold}.}}"
    yield "size", rf"\boxed{{\displaystyle {gold}}}"
    yield "large", rf"\boxed{{\large {gold}}}"
    yield "colour", rf"\boxed{{\textcolor{{red}}{{{gold}}}}}"
    yield "fractions", r"\boxed{" + gold.replace(r"\frac", r"\dfrac") + "}"
    yield "brackets", rf"\boxed{{{_sized(gold)}}}"
    yield "operators", r"\boxed{" + re.sub(r"(?<![\^_{(\\\[\s])([+=])", r" \1 ", gold) + "}"
    if re.fullmatch(r"-?\d+", gold):
        yield from _of_a_whole_number(int(gold), draw)
    fraction = re.fullmatch(r"(-?)\\frac\{(\d+)\}\{(\d+)\}", gold)
    if fraction:
        yield "slash", rf"\boxed{{{fraction[1]}{fraction[2]}/{fraction[3]}}}"
        yield "unreduced", rf"\boxed{{{fraction[1]}\frac{{{3 * int(fraction[2])}}}{{{3 * int(fraction[3])}}}}}"
    items = [item.strip() for item in gold.split(",")]
    if len(items) > 1 and all(re.fullmatch(r"-?\d{1,2}", item) for item in items):
        draw.shuffle(items)
        yield "order", rf"\boxed{{{', '.join(items)}}}"
        yield "set", rf"\boxed{{\{{{', '.join(items)}\}}}}"


def _sized(gold: str) -> str:
    if gold.count("(") != gold.count(")") or re.search(r"\\left|\\right|\\big|\[", gold):
        return gold
    return gold.replace("(", r"\left(").replace(")", r"\right)")


def _of_a_whole_number(value: int, draw: random.Random) -> Iterator[tuple[str, str]]:
    yield "bold", rf"\boxed{{\mathbf{{{value}}}}}"
    yield "named", rf"\boxed{{n = {value}}}"
    yield "decimal", rf"\boxed{{{value}.0}}"
    yield "sum", rf"\boxed{{{value - 7} + 7}}"
    yield "quotient", rf"\boxed{{\frac{{{value * 6}}}{{6}}}}"
    yield "stated", f"Therefore, the answer is {value}."
    yield "reason", f"The answer is {value} because {value + 1} is one more."
    yield "hashes", f"So it is.\n#### {value}"
    yield "grouped", rf"\boxed{{{value:,}}}"
    yield "unit", rf"\boxed{{{value}\text{{ apples}}}}"
    yield "minus", rf"\boxed{{{value}}}".replace("-", "\u2212")
    yield "in prose", f"The result is ${value}$."


def golds(*names: str) -> list[str]:
    """The distinct answers of sets below `shared/data`, in order."""
    found: dict[str, None] = {}
    for name in names:
        for line in (SHARED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            found[json.loads(line)["answer"]] = None
    return list(found)


def equal_by_sympy(first: str, second: str) -> bool:
    """True when sympy finds both texts equal, as math-verify reads them."""
    from math_verify import LatexExtractionConfig, parse

    parsed = [
        [
            item
            for item in parse(f"${text.replace('$', '')}$", [LatexExtractionConfig()], parsing_timeout=None)
            if not isinstance(item, str)
        ]
        for text in (first, second)
    ]
    return bool(parsed[0] and parsed[1]) and _equal(parsed[0][0], parsed[1][0])


def _equal(first: Any, second: Any) -> bool:
    import sympy

    if first == second:
        return True
    if isinstance(first, sympy.Expr) and isinstance(second, sympy.Expr):
        return _equal_at_points(first, second)
    if isinstance(first, sympy.Eq) and isinstance(second, sympy.Eq):
        return _equal(first.lhs, second.lhs) and _equal(first.rhs, second.rhs)
    if hasattr(first, "args") and type(first) is type(second) and len(first.args) == len(second.args):
        return all(_equal(one, other) for one, other in zip(first.args, second.args, strict=True))
    return False


def _equal_at_points(first: Any, second: Any) -> bool:
    import sympy

    draw = random.Random("sympy")
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    for _ in range(6):
        point = {symbol: sympy.Float(draw.uniform(0.1, 3)) for symbol in symbols}
        values = [sympy.N(side.subs(point), 30) for side in (first, second)]
        if not all(value.is_number for value in values) or abs(values[0] - values[1]) > 1e-12 * (1 + abs(values[0])):
            return False
    return True
