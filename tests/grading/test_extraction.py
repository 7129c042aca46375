from __future__ import annotations

import time

import pytest

from sfpo_bench.grading.extraction import Rule, extract


@pytest.mark.parametrize(
    ("response", "answer", "rule"),
    [
        (r"\boxed{\frac{1}{1+\sqrt{2}}} is it", r"\frac{1}{1+\sqrt{2}}", Rule.boxed),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}", Rule.boxed),
        (r"\boxed{7} or \boxed{8", r"7, \boxed{8", Rule.boxed),
        (r"\boxed{7} or maybe 8", "7, 8", Rule.boxed),
        (r"it is not \boxed{7}", "not 7", Rule.boxed),
        (r"Either \boxed{3} or maybe \boxed{5}", "3, 5", Rule.boxed),
        (r"Case 1 gives \boxed{3}. Case 2 gives \boxed{5}. I cannot decide.", "3, 5", Rule.boxed),
        (r"\boxed{10} and then \boxed{42}", "42", Rule.boxed),
        ("\\boxed{42}\n\n\\boxed{42}", "42", Rule.boxed),
        (r"\boxed{42} \boxed{42}", "42", Rule.boxed),
        (r"\boxed{7}. The final answer is boxed above.", "7", Rule.boxed),
        ("#### Step 2: add\n3 + 4 = 7. The answer is 7.", "7", Rule.answer_is),
        ("The answer is 6 because 6^2 = 36.", "6", Rule.answer_is),
        ("The answer is at least 5.", "at least 5", Rule.answer_is),
        (r"\boxed{7}<end_of_turn>\boxed{9}", "7", Rule.boxed),
        (
            r"<|channel|>analysis<|message|>\boxed{9}<|end|><|channel|>final<|message|>\boxed{8}<|return|>",
            "8",
            Rule.boxed,
        ),
        (r"#### 3 and \boxed{4}", "4", Rule.boxed),
        (r"$\boxed{1}, \boxed{2}$ and $\boxed{3}$", "1, 2, 3", Rule.boxed),
        (r"case \boxed{1} gives nothing. So \boxed{2} or \boxed{3}", "2, 3", Rule.boxed),
        (r"\boxed{\boxed{6}}", "6", Rule.boxed),
        (r"\fbox{9}", "9", Rule.boxed),
        (r"\\boxed{3}", "3", Rule.boxed),
        (r"first \boxed{5}. The final answer is $6$.", "$6$", Rule.final_answer_is),
        (r"The final answer is $5$, in a box: \boxed{6}", "6", Rule.boxed),
        ("so\n#### 1,234", "1,234", Rule.hashes),
        ("The answer is $x=5$.", "$x=5$", Rule.answer_is),
        ("the answer is 5 because of this", "5", Rule.answer_is),
        ("**Answer:** 21", "21", Rule.answer_is),
        ("**Final Answer**\n\n21", "21", Rule.answer_is),
        ("The answer is 5. No, the answer is 6.", "6", Rule.answer_is),
        (r"Answer: \[ \frac{1}{2} \]", r"\frac{1}{2}", Rule.answer_is),
        ("The answer is (B) because it fits", "(B)", Rule.answer_is),
        ("x = 5", "x = 5", Rule.whole),
        ("it takes 5 days", "5", Rule.last_expression),
        ("first $3$ apples, then $4$ pears", "4", Rule.last_expression),
        ("it costs $7.50 or $8", "7.50 or 8", Rule.last_expression),
        (r"<think>\boxed{1}</think> so it is 2 at last", "2", Rule.last_expression),
        ("it is 2 at last<|im_end|> and 3", "2", Rule.last_expression),
    ],
)
def test_the_final_answer_is_found_and_by_this_rule(response: str, answer: str, rule: Rule) -> None:
    found = extract(response)
    assert found is not None and (", ".join(found.texts), found.rule) == (answer, rule)


@pytest.mark.parametrize(
    "response",
    [
        r"<think>maybe \boxed{12}, but let me check",
        "<think>\\boxed{9}</think>\n\n",
        r"[THINK]\boxed{9}",
        r"<|channel|>analysis<|message|>maybe \boxed{9}<|end|>",
    ],
)
def test_a_thought_is_no_answer(response: str) -> None:
    assert extract(response) is None


@pytest.mark.parametrize(
    "response", ["", " ", "\n", r"\boxed{}", r"\boxed{", "####", "\x00", "$", "$$", "...", "The answer is"]
)
def test_nothing_is_found_where_nothing_is(response: str) -> None:
    found = extract(response)
    assert found is None or found.rule is Rule.whole


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 14_000,
        r"\boxed{1}" * 11_000,
        "{" * 100_000,
        "}" * 100_000,
        "$" * 100_000,
        "$ 1 " * 25_000,
        "(" * 100_000,
        "9" * 100_000,
        "1," * 50_000,
        "[" + "1," * 50_000,
        "(" + "-1.5, " * 16_000,
        "(1,2," * 20_000,
        "$[" + ",".join(map(str, range(1, 20_000))),
        "answer is " * 10_000,
        "answer: " * 12_000,
        r"\frac{" * 16_000,
        r"\(" * 50_000,
        "#### " * 20_000,
        " " * 100_000,
        "a" * 100_000,
        "</think>" * 12_000,
        "-" * 100_000,
        "and " * 25_000,
        r"\text{" * 16_000,
    ],
    ids=lambda text: text[:8].strip() or "blanks",
)
def test_extraction_takes_linear_time_on_the_longest_text_there_is(text: str) -> None:
    started = time.process_time()
    extract(text)
    assert time.process_time() - started < 2.0
