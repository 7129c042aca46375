"""Every verdict ends well under a second, whatever is written, and takes no state from one to the next."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading.effort import OPERATIONS, TooMuch, limited, spend
from sfpo_bench.grading.items import expression
from sfpo_bench.grading.lexer import tokens_of
from sfpo_bench.grading.records import Question, Request
from sfpo_bench.grading.verdicts import reply

SECONDS = 1.5  # of processor time, on a machine with other work; the budget of operations is worth a third of one

_PIECES = (
    "0 1 2 7 x y n + - * / ^ _ = < > ( ) [ ] { } , ; : | ! ' \\frac \\sqrt \\sum \\int \\binom \\pm \\text{ or } "
    "\\text{not} \\boxed{ } \\left \\right \\pi e i \\infty \\cup \\le \\begin{pmatrix} \\end{pmatrix} & \\\\ "
    "and or per cm \\% "
    "10^{9} $"
)
LATEX = _PIECES.split(" ")
GOLDS = {"number": "5", "name": "x", "function": r"\sin x", "list": ",".join(map(str, range(60)))}


def seconds_of(gold: str, response: str) -> tuple[float, GradeStatus]:
    started = time.process_time()
    status = reply(Request(Question.grade, gold, response)).status
    return time.process_time() - started, status


@pytest.mark.parametrize(
    "answer",
    [
        "5 abc" + "pera" * 400 + "!",
        "5 cm" + "/a" * 400 + "!",
        "5 " + r"\text{a}^2 " * 120 + "!",
        "5" + r"\cdot\text{a}" * 120 + "!",
        "|" * 1900,
        "^" * 1900,
        "1:" * 900 + "1",
        r"1 \pm " * 200 + "1",
        "5, " * 600 + "x",
        "a'" * 900 + "!",
        "and " * 400,
        "(" * 900,
        "{" * 900,
        "-" * 1900,
        r"\sqrt{" * 300 + "2" + "}" * 300,
        r"\frac{1}{" * 200 + "5" + "}" * 200,
        r"9^{9^{9^{9}}}",
        "((((9^9)^9)^9)^9)^9",
        "2^{1000000}",
        "(10^{9})!",
        "((((5!)!)!)!)!",
        r"\binom{10^9}{5\cdot 10^8}",
        r"\sum_{k=1}^{10^9} k^k",
        r"\sum_{k=1}^{\infty} \sin(k^k)",
        r"\sum_{a=1}^{1000}\sum_{b=1}^{1000}\sum_{c=1}^{1000} abc",
        r"\int_0^1 \sin(\sin(\sin(x^{7})))^{x^x} dx",
        r"\int_0^\infty \frac{\sin x}{x} dx",
        r"(x+1)^{100000}",
        "1e-999999999",
        r"\sum_{k=1}^{10^9} " * 20 + "k",
        r"\bino" + r"\frac{1}{" * 50 + "2" + "}" * 50 + "m{n}{3}",
        r"5\frac{" * 50 + r"\text{m}" + r"}{\text{s}}" * 50,
        "a/" * 60 + "m",
        r"\frac{1}{" * 40 + "a b" + "}" * 40,
        r"x \in (" * 17 + "a b" + r" \text{ or } 2)" * 17,
        r"\int_0^1 " * 40 + "x" + " dx" * 40,
        r"\binom{-1}{2^{100}}",
        r"\binom{-4999}{2^{60}+\sqrt{2}-\sqrt{2}}",
        ",".join([r"\sum_{a=1}^{400}\sum_{b=1}^{400} a^b"] * 40),
        "9" * 1900,
        r"\neg \prod_{k=1}^{3}{(" * 12 + "f(k)" + ")}" * 12,
        r"\neg \prod_{k=1}^{3}{" * 12 + "x" + "}" * 12,
        r"\sum_{a=1}^{50}" * 3 + r"\begin{vmatrix}" + r"\\".join(["&".join(["a"] * 6)] * 6) + r"\end{vmatrix}",
    ],
    ids=lambda answer: answer[:24],
)
@pytest.mark.parametrize(
    "gold", ["5", "x", r"\sin x", ",".join(map(str, range(60)))], ids=["number", "name", "function", "list"]
)
def test_an_answer_that_is_slow_to_read_or_work_out_is_wrong_at_once(gold: str, answer: str) -> None:
    spent, status = seconds_of(gold, rf"\boxed{{{answer}}}")
    assert spent < SECONDS and status is not GradeStatus.correct
    spent, status = seconds_of(answer, rf"\boxed{{{gold}}}")
    assert spent < SECONDS and status is not GradeStatus.correct


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(LATEX), max_size=60).map(" ".join),
    st.lists(st.sampled_from(LATEX), max_size=25).map("".join),
)
def test_any_pieces_of_notation_get_a_verdict_in_time(response: str, gold: str) -> None:
    spent, status = seconds_of(gold or "5", rf"\boxed{{{response}}}")
    assert spent < SECONDS and status in GradeStatus


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=200), st.text(min_size=1, max_size=40))
@example("", "\u2776")  # a digit that is no decimal
@example("5_\u2461", "1:\u2461\u2461")
@example("\u00b2", "\\frac\u2461\u0663")
def test_any_text_gets_a_verdict_in_time(response: str, gold: str) -> None:
    spent, status = seconds_of(gold, response)
    assert spent < SECONDS and status in GradeStatus


@settings(max_examples=300, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12), st.integers(1, 10**6), st.integers(1, 10**6))
def test_fractions_are_equal_exactly_when_they_are(first: int, second: int, below: int, other: int) -> None:
    _, status = seconds_of(rf"\frac{{{first}}}{{{below}}}", rf"\boxed{{\frac{{{second}}}{{{other}}}}}")
    assert (status is GradeStatus.correct) == (first * other == second * below)
    _, again = seconds_of(rf"\frac{{{first}}}{{{below}}}", rf"\boxed{{{first * other}/{below * other}}}")
    assert again is GradeStatus.correct


def test_operations_are_counted_within_one_verdict_alone() -> None:
    spend(OPERATIONS * 2)  # outside of a verdict nothing is counted
    with limited(3):
        spend(3)
        with pytest.raises(TooMuch):
            spend()
    with limited(3):
        spend(3)


@pytest.mark.parametrize("gold", ["x,y", "x^2, 5"])
def test_points_where_nothing_has_a_value_end_in_time_too(gold: str) -> None:
    """Sums of a thousand million terms cannot be worked out: at each of many points the trees were walked alone."""
    answer = r"\sum_{k=1}^{10^9} 1 \pm " * 60 + "2 m"
    for expected, written in ((gold, answer), (answer, gold)):
        spent, status = seconds_of(expected, rf"\boxed{{{written}}}")
        assert spent < SECONDS and status is not GradeStatus.correct


def test_the_expressions_within_one_reading_are_counted() -> None:
    tokens = tokens_of("a+(b+(c+d))")
    with limited(3):
        expression(tokens)
    with limited(2), pytest.raises(TooMuch):
        expression(tokens)


@pytest.mark.parametrize(
    "item", ["x^2+{0}x+1 ;; 1+{0}x+x^2", r"\frac{{{0}\pi}}{{12}}+2\pi m ;; 2m\pi+\frac{{{0}\pi}}{{12}}"]
)
def test_a_long_list_in_another_order_and_form_is_within_what_a_verdict_may_take(item: str) -> None:
    written, rewritten = ([form.format(number) for number in range(1, 51)] for form in item.split(" ;; "))
    _, status = seconds_of(", ".join(written), rf"\boxed{{{', '.join(reversed(rewritten))}}}")
    assert status is GradeStatus.correct
    _, status = seconds_of(", ".join(written), rf"\boxed{{{', '.join([*rewritten[1:], rewritten[1]])}}}")
    assert status is GradeStatus.wrong
