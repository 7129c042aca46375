"""A task whose select problems are those of a suite, for model selection in training and sweeps.

The suite's problems use the templates and graders of their cards, as in `sfpo-bench evaluate`. All problems have equal
weight: accuracy is over problems, not a mean over benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Completion, Grade, Problem, Prompt, Split
from sfpo_bench.problems.graded_by_card import grade_responses, require_readable_golds
from sfpo_bench.problems.overlap import without
from sfpo_bench.problems.part import part
from sfpo_bench.problems.protocol import Task, grade_all
from sfpo_bench.problems.sets import Card, DataSettings, choice_on, load_problem_set, overlaps, prompt_template, suite


@dataclass(frozen=True, slots=True)
class _SuiteProblem:
    """A problem of the suite with its card, and a copy with an id that is unique in the task."""

    card: Card
    problem: Problem
    renamed: Problem


@dataclass
class SuiteSelect:
    """`task` with the problems of the suite `name` as its select split.

    Problems that the task trains on are left out, and those it reports on, unless the suite's role is report. Such a
    suite raises `ConfigError` at the first call, unless `allow_report` is its name.
    """

    task: Task
    name: str
    allow_report: str
    data: DataSettings

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split; those of select in suite order."""
        if split is Split.select:
            return [one.renamed for one in self._suite_problems.values()]
        return self.task.problems(split)

    def prompt(self, problem: Problem) -> Prompt:
        """The prompt by the template of the problem's card, or by the task."""
        entry = self._suite_problems.get(problem.id)
        if entry is None:
            return self.task.prompt(problem)
        return replace(prompt_template(entry.card.prompt).fill(entry.problem), problem_id=problem.id)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        """The grade by the grader of the problem's card, or by the task."""
        return self.grade_many([problem], [completion])[0]

    def grade_many(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        """The grades of all responses, card by card."""
        entries = [self._suite_problems.get(problem.id) for problem in problems]
        names = [one.card.name if one is not None else "" for one in entries]
        grades: dict[int, Grade] = {}
        for name in dict.fromkeys(names):
            places = [place for place, own in enumerate(names) if own == name]
            given = [completions[place] for place in places]
            of_suite = [one for place in places if (one := entries[place]) is not None]
            if of_suite:
                known = [one.problem for one in of_suite]
                made = grade_responses(of_suite[0].card, known, [one.text for one in given])
            else:
                made = grade_all(self.task, [problems[place] for place in places], given)
            grades.update(zip(places, made, strict=True))
        return [grades[place] for place in range(len(problems))]

    @cached_property
    def _suite_problems(self) -> dict[str, _SuiteProblem]:
        taboo = [*self.task.problems(Split.train)]
        if not choice_on(self.name, self.allow_report).on_report:
            taboo += self.task.problems(Split.report)
        found: dict[str, _SuiteProblem] = {}
        for entry in suite(self.name).benchmarks:
            loaded = load_problem_set(entry.name, self.data, "evaluation.data")
            require_readable_golds(loaded)
            drawn = part(entry.name, without(loaded.problems, entry.leave_out), entry.problems)
            for problem in without(drawn, (one.evaluation_id for one in overlaps(drawn, taboo))):
                renamed = replace(problem, id=f"{self.name}:{entry.name}:{problem.id}")
                found[renamed.id] = _SuiteProblem(loaded.card, problem, renamed)
        if not found:
            raise ConfigError(
                f"evaluation.select_suite = {self.name}: the task trains or reports on every problem of it; expected "
                "others. Choose on another suite, or leave it empty for the task's own select problems"
            )
        return found
