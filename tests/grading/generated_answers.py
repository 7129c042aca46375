"""Generated answers: formulas from a grammar, the frames they stand in, and noise."""

from __future__ import annotations

import random

ATOMS = [
    *(
        "0",
        "1",
        "-1",
        "2",
        "7",
        "12",
        "-3.5",
        "0.333",
        "1,234",
        "1e9",
        r"\pi",
        "e",
        "i",
        "x",
        "y",
        "n",
        r"\theta",
        r"\infty",
    ),
    *(
        r"\frac{1}{2}",
        r"\frac12",
        "3/4",
        r"2\frac{1}{3}",
        r"\sqrt{2}",
        r"\sqrt[3]{5}",
        "50\\%",
        r"90^\circ",
        r"\$5",
        "A",
        "(B)",
    ),
    *(
        r"\text{odd}",
        r"\text{ cm}",
        "204_5",
        "7:3",
        r"\emptyset",
        r"\mathbb{R}",
        "10^{10}",
        "2^{100}",
        "5!",
        r"\alpha_1",
    ),
]
BINARY = [
    "{} + {}",
    "{} - {}",
    "{}{}",
    r"{} \cdot {}",
    r"\frac{{{}}}{{{}}}",
    "{}^{{{}}}",
    "{} = {}",
    r"{} \le {}",
    "{}, {}",
]
BINARY += [
    "({}, {})",
    "[{}, {})",
    r"\{{{}, {}\}}",
    r"{} \cup {}",
    r"{} \text{{ or }} {}",
    r"{} \pm {}",
    r"{} \approx {}",
]
BINARY += [
    r"\begin{{pmatrix}} {} \\ {} \end{{pmatrix}}",
    r"\log_{{{}}} {}",
    r"{} \pmod{{{}}}",
    r"\binom{{{}}}{{{}}}",
    "{}; {}",
]
UNARY = [
    r"\sqrt{{{}}}",
    "({})",
    "-{}",
    r"\left({}\right)",
    r"\sin({})",
    "|{}|",
    "{}!",
    r"\text{{{}}}",
    "${}$",
    r"f({})",
    "{}\\%",
]
UNARY += [
    r"\int_0^1 {} dx",
    r"\sum_{{k=1}}^{{5}} {}",
    r"\lim_{{x\to0}} {}",
    "{{{}}}",
    r"\boxed{{{}}}",
    r"\overline{{{}}}",
    "**{}**",
]
FRAMES = [
    r"\boxed{{{}}}",
    "{}",
    "The answer is {}.",
    "#### {}",
    "so ${}$",
    r"\[ {} \]",
    "Answer: {} because",
    "it is {} units",
]
FRAMES += [r"\boxed{{{}", "The final answer is ${}$. I hope it is correct.", "<think>{}</think> yes", "{}<|im_end|>{}"]
NOISE = "{}[]()\\$^_%#&,;:.=<>|+-*/!'\"`~ \n\t\x00\u00e9\u4e2d\ud800\u202e0123456789abcxyzABC"


def expression(draw: random.Random, depth: int) -> str:
    """A formula of at most 2^depth atoms, sometimes with a character lost, doubled or replaced."""
    if draw.random() < 0.01:  # a long list, closed or not
        entries = [draw.choice(["1", "-2", "1.5", "0,5", r"\frac12", "x"]) for _ in range(draw.randrange(200))]
        text = draw.choice("([{") + draw.choice([",", ", ", ";", " "]).join(entries) + draw.choice(["", ")", "]", "}"])
    elif depth == 0 or draw.random() < 0.3:
        text = draw.choice(ATOMS)
    elif draw.random() < 0.4:
        text = draw.choice(UNARY).format(expression(draw, depth - 1))
    else:
        text = draw.choice(BINARY).format(expression(draw, depth - 1), expression(draw, depth - 1))
    if text and draw.random() < 0.05:
        place = draw.randrange(len(text))
        text = text[:place] + draw.choice(["", text[place] * 2, draw.choice(NOISE)]) + text[place + 1 :]
    return text


def response(draw: random.Random, answer: str) -> str:
    frame = draw.choice(FRAMES)
    return frame.format(*[answer] * frame.count("{}")) if frame.count("{}") else frame
