"""Sums of two small numbers, for a chat model that knows some arithmetic but answers too verbosely.

The default range is 1 to 20. It has 400 problems, so that each split has dozens (one-digit numbers give only 100), and
sums with a carry remain to be learned after the format of the answer.

Measured with SmolLM2-135M-Instruct (bfloat16, 12 new tokens, this prompt; n responses sampled at T = 1 and decoded
greedily):

    range                            sampled (n)    greedy (n)
    0 to 9                           .12 (192)      .66 (100)
    1 to 20, the report problems     .07 (460)      .37 (115)
    10 to 99                         .01 (192)      .16 (100)

70 % of sampled responses are truncated at 12 tokens, so the model first learns to stop. Prompts tried on 0 to 9 and
rejected: `3 + 4 =` (sampled .01: too rare a signal), the question without the last sentence (.03), the instruction as a
system message (.04), one worked example (.78: little left to learn).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Message, Problem, Prompt, Split
from sfpo_bench.problems.splits import split_of, unordered

# A number: digits with commas or points in between, and a leading minus sign unless a digit precedes it.
_NUMBER = re.compile(r"(?<![0-9])-?[0-9]+(?:[.,][0-9]+)*")


@dataclass
class Addition:
    """`a + b` for all a and b from `low` to `high`: `Problem("addition/3+4", "3 + 4", "7", "7")`.

    `3 + 4` and `4 + 3` are in the same split, so no report problem is trained on in the other order.
    """

    kind: str = option("addition", "sums of two small numbers, asked in a chat")
    low: int = option(1, "smallest number to add", low=0, high=499)
    high: int = option(20, "largest number to add; below 500, so no sum needs a separator", low=0, high=499)
    select_share: float = option(0.2, "share of the problems in the select split", low=0, high=1)
    report_share: float = option(0.3, "share of the problems in the report split", low=0, high=1)

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, in ascending order of a, then b."""
        if self.low > self.high:
            raise ConfigError(f"low = {self.low} and high = {self.high} leave no numbers to add; set low at most high")
        numbers = range(self.low, self.high + 1)
        found = [
            Problem(f"addition/{a}+{b}", f"{a} + {b}", str(a + b), solution=str(a + b))
            for a in numbers
            for b in numbers
            if self._split(a, b) is split
        ]
        if not found:
            raise ConfigError(
                f"the {split} split of {len(numbers) ** 2} sums is empty with select_share = {self.select_share:g} and "
                f"report_share = {self.report_share:g}; give it a larger share or widen low to high"
            )
        return found

    def _split(self, a: int, b: int) -> Split:
        shares = {"select_share": self.select_share, "report_share": self.report_share}
        return split_of(unordered("+", a, b), salt="addition", **shares)

    def prompt(self, problem: Problem) -> Prompt:
        """One user message, such as `What is 3 + 4? Answer with just the number.`"""
        return Prompt(problem.id, (Message("user", f"What is {problem.text}? Answer with just the number."),))

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        """Reward 1 when the last number of a complete response is the sum, else 0.

        Using the last number accepts `3 + 4 = 7` and `The answer is 7.` as well as `7`. It must be a plain integer
        (`7.0` and `1,007` are wrong). A truncated response has no answer.
        """
        numbers = _NUMBER.findall(completion.text) if completion.finish_reason is FinishReason.stopped else []
        if not numbers:
            return Grade(GradeStatus.no_answer, 0.0, None)
        answer: str = numbers[-1]
        # Compared as text, since int() rejects more than 4300 digits.
        if (answer.lstrip("0") or "0") == problem.answer:
            return Grade(GradeStatus.correct, 1.0, answer)
        return Grade(GradeStatus.wrong, 0.0, answer)
