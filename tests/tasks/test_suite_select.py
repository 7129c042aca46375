"""A suite in the place of a task's select problems: asked and graded as in evaluations, and only for choosing."""

from __future__ import annotations

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Completion, FinishReason, Split
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.problems.sets import DataSettings, load_problem_set, prompt_template
from sfpo_bench.problems.suite_select import SuiteSelect
from sfpo_bench.problems.training_sets import TrainingSets

DATA = DataSettings()
TASK = Arithmetic()


def response(text: str) -> Completion:
    return Completion("", 0, (), (), (), text, FinishReason.stopped)


def test_only_the_select_split_is_another() -> None:
    task = SuiteSelect(TASK, "embedded_select", "", DATA)
    for split in (Split.train, Split.report):
        assert task.problems(split) == TASK.problems(split)
    shipped = load_problem_set("arithmetic_select", DATA).problems
    assert [p.text for p in task.problems(Split.select)] == [p.text for p in shipped]
    own = {problem.id for split in Split for problem in TASK.problems(split)}
    assert not own & {problem.id for problem in task.problems(Split.select)}


def test_problems_are_asked_and_graded_by_their_card_and_the_others_by_the_task() -> None:
    task = SuiteSelect(TASK, "embedded_select", "", DATA)
    mine, others = task.problems(Split.select)[:3], TASK.problems(Split.train)[:3]
    template = prompt_template(load_problem_set("arithmetic_select", DATA).card.prompt)
    for problem in mine:
        assert task.prompt(problem).content == template.fill(problem).content
        assert task.prompt(problem).problem_id == problem.id
        assert task.grade(problem, response(f"\\boxed{{{problem.answer}}}")).reward == 1.0
    for problem in others:
        assert task.prompt(problem) == TASK.prompt(problem)
    mixed = [mine[0], others[0], mine[1], others[1]]
    completions = [response(f"={problem.answer}") for problem in mixed]
    assert task.grade_many(mixed, completions) == [task.grade(p, c) for p, c in zip(mixed, completions, strict=True)]


def test_what_is_trained_or_reported_on_is_not_chosen_on() -> None:
    trains = TrainingSets(kind="own", train=["arithmetic_select"], report=["mixed"], select_share=0.3)
    reports = TrainingSets(kind="own", train=["arithmetic"], report=["arithmetic_select"], select_share=0.3)
    left = SuiteSelect(trains, "embedded_select", "", DATA).problems(Split.select)
    assert {p.text for p in left} == {p.text for p in trains.problems(Split.select)}
    with pytest.raises(ConfigError, match="trains or reports on every problem"):
        SuiteSelect(reports, "embedded_select", "", DATA).problems(Split.select)


def test_a_suite_for_reporting_is_refused_unless_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match="embedded is a suite for reporting"):
        SuiteSelect(TASK, "embedded", "embedded_select", DATA).problems(Split.select)
    assert len(SuiteSelect(TASK, "embedded", "embedded", DATA).problems(Split.select)) == 100
