"""The embedded task: `a*b+c` with one intermediate step, which can be learned in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from sfpo_bench.core.options import option
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Prompt, Split
from sfpo_bench.problems.splits import split_of, unordered


@dataclass
class Arithmetic:
    """`a*b+c`, `a*b-c`, `c+a*b` or `c-a*b` with a, b in 2..9 and c in 10..99: 23,040 problems of seven characters.

    The prompt is the problem and `=`. A full response writes the product first, as in `7*8-35=56-35=21`. Reward 1 when
    the text after the last `=` is exactly the answer and the response is complete, else 0. Splits are by a hash of
    `Expression.canonical`: of the 6,480 problems that differ in more than order, about 80 % are in train, 10 % in
    select and 10 % in report, each with all its orders.
    """

    kind: str = option("arithmetic", "name of the task")

    def problems(self, split: Split) -> Sequence[Problem]:
        return _problems()[split]

    def prompt(self, problem: Problem) -> Prompt:
        return Prompt(problem.id, f"{problem.text}=")

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        answer = completion.text.rsplit("=", 1)[-1].strip()
        if not answer:
            return Grade(GradeStatus.no_answer, 0.0, None)
        right = answer == problem.answer and completion.finish_reason is FinishReason.stopped
        return Grade(GradeStatus.correct if right else GradeStatus.wrong, float(right), answer)


@dataclass(frozen=True, slots=True)
class Expression:
    """One problem before it becomes text; with `product_first` the product is left of the sign."""

    a: int
    b: int
    c: int
    sign: str
    product_first: bool

    @property
    def text(self) -> str:
        product_text = f"{self.a}*{self.b}"
        return f"{product_text}{self.sign}{self.c}" if self.product_first else f"{self.c}{self.sign}{product_text}"

    @property
    def canonical(self) -> str:
        """The problem without its order: `7*8-35` for `7*8-35`, `8*7-35`, `35-7*8` and `35-8*7`.

        A reversed difference is the same work, with the other sign of the answer.
        """
        return f"{unordered('*', self.a, self.b)}{self.sign}{self.c}"

    @property
    def answer(self) -> int:
        left, right = (self.a * self.b, self.c) if self.product_first else (self.c, self.a * self.b)
        return left + right if self.sign == "+" else left - right

    @property
    def step(self) -> str:
        """The intermediate step: the expression with its product evaluated, `56-35`."""
        value = str(self.a * self.b)
        return f"{value}{self.sign}{self.c}" if self.product_first else f"{self.c}{self.sign}{value}"

    @property
    def worked_out(self) -> str:
        """A full response: the intermediate step and the answer, `56-35=21`."""
        return f"{self.step}={self.answer}"


def expressions() -> list[Expression]:
    """All 23,040 expressions, in a fixed order."""
    factors, addends = range(2, 10), range(10, 100)
    return [Expression(*parts) for parts in product(factors, factors, addends, "+-", (True, False))]


def expression_split(expression: Expression) -> Split:
    """The split of the problem, equal for every order of its factors and terms."""
    return split_of(expression.canonical, salt="arithmetic")


@cache
def _problems() -> dict[Split, tuple[Problem, ...]]:
    found: dict[Split, list[Problem]] = {split: [] for split in Split}
    for expression in expressions():
        problem = Problem(
            f"arithmetic/{expression.text}", expression.text, str(expression.answer), expression.worked_out
        )
        found[expression_split(expression)].append(problem)
    return {split: tuple(problems) for split, problems in found.items()}
