"""Stored samples are graded, and graded anew by a changed grader, without a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import GradeStatus
from sfpo_bench.evaluation import grading
from sfpo_bench.evaluation.generation import asked_for, missing
from sfpo_bench.evaluation.graded_benchmark import graded_benchmarks
from sfpo_bench.evaluation.grading import Limits, grade_samples
from sfpo_bench.evaluation.prompted_problems import prompted_benchmarks
from sfpo_bench.problems.graded_by_card import grade_responses
from sfpo_bench.problems.sets import DataSettings, suite
from sfpo_bench.results.sample_store import GradedSample, SampleStore
from tests.evaluation.dice import Dice, generation

PAPER = prompted_benchmarks(suite("mixed"), DataSettings())
ANSWERS = {prompted.key: prompted.problem.answer for prompted in PAPER[0].prompted}


def graded(store: SampleStore, engine: Dice, samples: int) -> list[GradedSample]:
    wanted = missing(PAPER, samples, store)
    if wanted:
        generation(engine).run(wanted, store, StopRequest(), lambda count: None)
    return grade_samples(PAPER, asked_for(PAPER, samples, store), store)


def test_gold_answers_are_correct_and_silence_is_no_answer(tmp_path: Path) -> None:
    right = graded(SampleStore(tmp_path / "a"), Dice(lambda key, noise: f"\\boxed{{{ANSWERS[key]}}}"), 1)
    assert {one.status for one in right} == {GradeStatus.correct} and {one.answer_class for one in right} == {0}
    silent = graded(SampleStore(tmp_path / "b"), Dice(lambda key, noise: "I do not know"), 1)
    assert {one.status for one in silent} <= {GradeStatus.no_answer, GradeStatus.wrong}
    assert {one.answer_class for one in silent if one.status is GradeStatus.no_answer} == {-1}


def test_equal_wrong_answers_share_a_class_however_they_are_written(tmp_path: Path) -> None:
    writings = ["\\boxed{1001/2}", "\\boxed{\\frac{1001}{2}}", "\\boxed{500.5}", "\\boxed{777}", "nothing to say"]
    drawn: dict[str, int] = {}

    def write(key: str, noise: int) -> str:
        drawn[key] = drawn.get(key, -1) + 1
        return writings[drawn[key]]

    [benchmark] = graded_benchmarks(graded(SampleStore(tmp_path), Dice(write), 5)).values()
    assert {one.classes for one in benchmark.problems} == {(1, 1, 1, 2, -1)}
    assert (
        benchmark.share("answered") == 0.8 and benchmark.share("boxed") == 0.8 and benchmark.share("truncated") == 0.0
    )


def test_grades_are_kept_and_a_changed_grader_grades_without_generating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, engine, graded_texts = SampleStore(tmp_path), Dice(), []
    inner = grade_responses

    def counting(card, problems, responses, deadline_s):  # type: ignore[no-untyped-def]  # the signature is the inner one's
        graded_texts.extend(responses)
        return inner(card, problems, responses, deadline_s)

    monkeypatch.setattr(grading, "grade_responses", counting)
    first = graded(store, engine, 2)
    assert len(graded_texts) == 32
    assert graded(store, engine, 2) == first and len(graded_texts) == 32
    assert graded(store, engine, 3)[:0] == [] and len(graded_texts) == 48  # the new ones alone
    assert len(engine.asked) == 48
    monkeypatch.setattr(grading, "grader_version", lambda card: "another")
    again = graded(store, engine, 3)
    assert len(graded_texts) == 96 and len(engine.asked) == 48
    assert {one.grader for one in again} == {"another"} and {one.grader for one in first} != {"another"}


def test_a_grader_that_cannot_decide_is_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 16 samples without a verdict is more than 1 %; the samples stay, and the next grading may succeed."""
    store, engine = SampleStore(tmp_path), Dice()

    def tired(card, problems, responses, deadline_s):  # type: ignore[no-untyped-def]  # the signature is the inner one's
        return [replace(one, status=GradeStatus.timeout) for one in grade_responses(card, problems, responses)]

    monkeypatch.setattr(grading, "grade_responses", tired)
    with pytest.raises(RunFailed, match="16 of 16 samples"):
        graded(store, engine, 1)
    monkeypatch.setattr(grading, "grade_responses", grade_responses)
    assert len(graded(store, engine, 1)) == 16 == len(engine.asked)


def test_answers_that_always_time_out_count_as_wrong_by_choice_with_their_share(tmp_path: Path) -> None:
    store, engine = SampleStore(tmp_path), Dice(lambda key, noise: f"Not met before: \\boxed{{{ANSWERS[key]}}}")
    generation(engine).run(missing(PAPER, 1, store), store, StopRequest(), lambda count: None)
    asked = asked_for(PAPER, 1, store)
    with pytest.raises(RunFailed, match=r"undecided_share=1.00"):
        grade_samples(PAPER, asked, store, Limits(deadline_s=1e-9))
    [benchmark] = graded_benchmarks(grade_samples(PAPER, asked, store, Limits(1e-9, undecided_share=1.0))).values()
    scores = benchmark.scores("avg", 1)
    assert benchmark.share("undecided") == 1.0 and scores is not None and scores.sum() == 0.0
    [benchmark] = graded_benchmarks(grade_samples(PAPER, asked, store, Limits())).values()
    assert benchmark.share("undecided") == 0.0


def test_the_stored_table_is_what_was_graded(tmp_path: Path) -> None:
    store = SampleStore(tmp_path)
    assert graded(store, Dice(), 3) == store.graded()
