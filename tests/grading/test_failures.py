"""Too many grades that are no verdicts end a run; a few do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.types import EvaluationRecord, GradeStatus, JournalRecord, Split, StepRecord
from sfpo_bench.grading import GradingFailures, failures_so_far
from tests.conftest import TINY, Cli

FINE = [GradeStatus.correct, GradeStatus.wrong, GradeStatus.no_answer, GradeStatus.gold_unparsable]


def test_one_per_cent_is_borne_and_more_is_not() -> None:
    failures = GradingFailures()
    failures.count(FINE * 500)
    failures.count([GradeStatus.timeout] * 12 + [GradeStatus.error] * 8)
    assert (failures.graded, failures.failed) == (2020, 20)
    with pytest.raises(RunFailed, match=r"21 of 2021 responses could not be graded.*task.grading_seconds"):
        failures.count([GradeStatus.error])


def test_few_failures_are_borne_whatever_their_share() -> None:
    failures = GradingFailures()
    failures.count([GradeStatus.timeout] * 10)
    with pytest.raises(RunFailed):
        failures.count([GradeStatus.timeout])


def test_a_run_resumed_goes_on_counting_where_its_journal_ends() -> None:
    journal: list[JournalRecord] = []
    counted = GradingFailures()
    for step in (1, 2, 3):
        lost = GradeStatus.timeout if step == 2 else GradeStatus.error
        grades = [lost] * step + FINE * 100
        counted.count(grades)
        costs = Costs(responses=sum(400 + i for i in range(1, step + 1)))
        journal.append(StepRecord(step, 0.0, costs, {"grading_failed_share": step / len(grades)}, ()))
        counted.count([GradeStatus.timeout] + FINE * 5)
        statuses = {"correct": 5, "wrong": 5, "no_answer": 5, "gold_unparsable": 5, "timeout": 1}
        journal.append(EvaluationRecord(step, 0.0, costs, Split.report, "sampled", 1.0, 0.25, 21, 21, statuses, 0, 0.0))
    assert failures_so_far(journal) == counted and counted.failed == 9
    assert failures_so_far([]) == GradingFailures()


def test_a_training_run_stops_with_the_share_and_what_to_do(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "graders.py").write_text(
        "from sfpo_bench.core.types import Grade, GradeStatus\n"
        "def late(problem, response): return Grade(GradeStatus.timeout, 0.0, None)\n"
    )
    problems = "".join(f'{{"problem": "{n}+1=", "answer": "{n + 1}"}}\n' for n in range(60))
    (tmp_path / "problems.jsonl").write_text(problems)
    run = cli(
        "train",
        "tracking=none",
        "task=jsonl",
        "task.path=problems.jsonl",
        "task.chat=false",
        "task.prompt_template='{problem}'",
        "task.grader=graders:late",
        *TINY,
        check=False,
        prelude="import sys; sys.path.insert(0, '.')",
    )
    assert run.returncode == 1, run.stderr
    assert "responses could not be graded in time" in run.stderr and "(100.0%)" in run.stderr
