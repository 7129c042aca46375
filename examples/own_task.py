"""A task of your own: twice a number, `2*7+0=`.

sfpo-bench train task=custom task.factory=own_task:Doubling name=doubling
"""

from dataclasses import dataclass

from sfpo_bench import Completion, Grade, GradeStatus, Problem, Prompt, Split, option, split_of


@dataclass
class Doubling:
    """`2*n+0` for every n up to `largest`."""

    kind: str = option("doubling", "name of the task")
    largest: int = option(200, "the largest number that is doubled", low=100)

    def problems(self, split: Split) -> list[Problem]:
        every = [Problem(f"doubling/{n}", f"2*{n}+0", str(2 * n)) for n in range(self.largest + 1)]
        return [one for one in every if split_of(one.text, salt="doubling", report_share=0.2) is split]

    def prompt(self, problem: Problem) -> Prompt:
        return Prompt(problem.id, f"{problem.text}=")

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        answer = completion.text.strip()
        right = answer == problem.answer
        return Grade(GradeStatus.correct if right else GradeStatus.wrong, float(right), answer)
