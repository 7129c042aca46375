"""Generated answers: some are mathematics, some nearly, some noise. None breaks a process or takes too long."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading import Grader, Pair

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


def generated(count: int, seed: int) -> list[Pair]:
    draw = random.Random(seed)
    pairs = []
    for number in range(count):
        gold = expression(draw, 2)
        kind = number % 4
        if kind == 0:
            text = response(draw, gold)
        elif kind == 3:
            text = "".join(draw.choices(NOISE, k=draw.randrange(1, 200)))
        else:
            text = response(draw, expression(draw, draw.randrange(1, 4)))
        pairs.append(Pair(gold, text))
    return pairs


def check(pairs: list[Pair], deadline_s: float) -> Counter[GradeStatus]:
    """Every pair has its grade; a grade is reward 1 or 0 and what it shows can be written."""
    with Grader(deadline_s=deadline_s, cache_size=0) as grader:
        grades = grader.grade_many(pairs)
    assert len(grades) == len(pairs)
    for grade in grades:
        assert grade.reward == float(grade.status is GradeStatus.correct)
        (grade.extracted or "").encode("utf-8")
    statuses = Counter(grade.status for grade in grades)
    broken = [pair for pair, grade in zip(pairs, grades, strict=True) if grade.status is GradeStatus.error]
    assert broken == []
    assert statuses[GradeStatus.correct] > len(pairs) / 20, "every fourth response has the gold itself in a frame"
    assert statuses[GradeStatus.timeout] <= len(pairs) / 100
    print(dict(statuses))
    return statuses


def test_five_hundred_generated_answers() -> None:
    check(generated(500, seed=0), deadline_s=5.0)


@pytest.mark.slow
def test_twenty_thousand_generated_answers() -> None:
    check(generated(20_000, seed=1), deadline_s=5.0)


def test_the_same_seed_generates_the_same_and_another_other_answers() -> None:
    assert generated(50, seed=3) == generated(50, seed=3) != generated(50, seed=4)
