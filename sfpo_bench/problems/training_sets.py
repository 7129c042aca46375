"""Known training sets as tasks, graded as in evaluations.

    task=gsm8k            GSM8K train                      reports on GSM8K test
    task=math             MATH train                       reports on MATH-500
    task=dapo_math        DAPO-Math-17k                    reports on the SFPO paper's six benchmarks
    task=dapo_plus_math   DAPO-Math-17k and MATH train, the set of the SFPO paper     the same six
    task=countdown        Countdown train                  reports on Countdown test

The select problems are a part of the training set, by a hash of each problem. Known label errors are left out of
training but stay in the report split, where they affect every method equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Completion, Grade, Problem, Prompt, Split
from sfpo_bench.problems.canonical import asked_text
from sfpo_bench.problems.graded_by_card import grade_responses, require_readable_golds
from sfpo_bench.problems.overlap import without
from sfpo_bench.problems.sets import Card, DataSettings, ProblemSet, card, load_problem_set, overlaps, prompt_template
from sfpo_bench.problems.splits import split_of

_SIX = ["math500", "aime24", "aime25", "amc_aimo83", "minerva", "olympiadbench"]


class OverlapFrom(StrEnum):
    """The side that drops problems in both training and report sets."""

    train = "train"
    report = "report"
    neither = "neither"


@dataclass
class TrainingSets:
    """A task with problems of named training sets, reported on named benchmarks."""

    kind: str = option("", "name of the task")
    train: list[str] = option([], "training sets, by name; duplicates count once")
    report: list[str] = option([], "benchmarks of the report split, by name")
    data: DataSettings = option(DataSettings(), "source of the sets")
    select_share: float = option(0.02, "share of the training problems in the select split", above=0, below=1)
    overlap_from: OverlapFrom = option(
        OverlapFrom.train, "side that drops problems in both train and report: train, report or neither"
    )
    prompt_template: str = option("", "name of a prompt template; empty: that of the set's card")

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, in the order of the sets."""
        return self._problems[split]

    def prompt(self, problem: Problem) -> Prompt:
        """The prompt by the named template, or that of the card."""
        template = prompt_template(self.prompt_template or self._card(problem).prompt)
        return template.fill(problem)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        """The grade of the text, also of a truncated response."""
        return grade_responses(self._card(problem), [problem], [completion.text])[0]

    def grade_many(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        """The grades of all responses, computed in parallel on all cores."""
        grades: dict[int, Grade] = {}
        names = [self._set_of[problem.id] for problem in problems]
        for name in dict.fromkeys(names):
            places = [place for place, own in enumerate(names) if own == name]
            asked = [problems[place] for place in places]
            made = grade_responses(card(name), asked, [completions[place].text for place in places])
            grades.update(zip(places, made, strict=True))
        return [grades[place] for place in range(len(problems))]

    def _card(self, problem: Problem) -> Card:
        return card(self._set_of[problem.id])

    @cached_property
    def _set_of(self) -> dict[str, str]:
        names = {
            p.id: name
            for name in (*self.train, *self.report)
            for p in load_problem_set(name, self.data, "task.data").problems
        }
        return names

    @cached_property
    def _problems(self) -> dict[Split, tuple[Problem, ...]]:
        if self.prompt_template:
            prompt_template(self.prompt_template)
        training = self._once([p for name in self.train for p in self._training_set(name)])
        report = tuple(p for name in self.report for p in self._loaded(name).problems)
        shared = overlaps(report, training)
        if self.overlap_from is OverlapFrom.train:
            training = without(training, (one.training_id for one in shared))
        elif self.overlap_from is OverlapFrom.report:
            report = without(report, (one.evaluation_id for one in shared))
        found: dict[Split, list[Problem]] = {Split.train: [], Split.select: [], Split.report: list(report)}
        for problem in training:
            split = split_of(
                asked_text(problem), salt="training_sets", select_share=self.select_share, report_share=0.0
            )
            found[split].append(problem)
        empty = [split.value for split in Split if not found[split]]
        if empty:
            raise ConfigError(
                f"task={self.kind}: the {' and '.join(empty)} split has no problem; expected at least one. Name sets "
                "in task.train and task.report, and choose a larger task.select_share"
            )
        return {split: tuple(problems) for split, problems in found.items()}

    def _loaded(self, name: str) -> ProblemSet:
        found = load_problem_set(name, self.data, "task.data")
        require_readable_golds(found)
        return found

    def _training_set(self, name: str) -> Sequence[Problem]:
        """A set without its known label errors, whose rewards would teach wrong answers."""
        found = self._loaded(name)
        return without(found.problems, (error.id for error in found.card.label_errors))

    @staticmethod
    def _once(problems: Sequence[Problem]) -> tuple[Problem, ...]:
        """The problems without duplicates, by canonical text; the first one is kept."""
        seen: dict[str, Problem] = {}
        for problem in problems:
            seen.setdefault(asked_text(problem), problem)
        return tuple(seen.values())


@dataclass
class Gsm8k(TrainingSets):
    """GSM8K: grade-school word problems with integer answers."""

    kind: str = option("gsm8k", "GSM8K train, reported on GSM8K test")
    train: list[str] = option(["gsm8k_train"], "training sets, by name")
    report: list[str] = option(["gsm8k_test"], "benchmarks of the report split, by name")


@dataclass
class Math(TrainingSets):
    """MATH: 7,500 competition problems."""

    kind: str = option("math", "MATH train, reported on MATH-500")
    train: list[str] = option(["math_train"], "training sets, by name")
    report: list[str] = option(["math500"], "benchmarks of the report split, by name")


@dataclass
class DapoMath(TrainingSets):
    """DAPO-Math-17k: competition problems with integer answers."""

    kind: str = option("dapo_math", "DAPO-Math-17k, reported on the SFPO paper's six benchmarks")
    train: list[str] = option(["dapo17k"], "training sets, by name")
    report: list[str] = option(_SIX, "benchmarks of the report split, by name")


@dataclass
class DapoPlusMath(TrainingSets):
    """DAPO-Math-17k and MATH train together, as in the SFPO paper."""

    kind: str = option("dapo_plus_math", "DAPO-Math-17k and MATH, reported on the SFPO paper's six benchmarks")
    train: list[str] = option(["dapo17k", "math_train"], "training sets, by name")
    report: list[str] = option(_SIX, "benchmarks of the report split, by name")


@dataclass
class Countdown(TrainingSets):
    """Countdown: reach a target from three or four numbers."""

    kind: str = option("countdown", "Countdown train, reported on Countdown test")
    train: list[str] = option(["countdown_train"], "training sets, by name")
    report: list[str] = option(["countdown_test"], "benchmarks of the report split, by name")
