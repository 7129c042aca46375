from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Message, Problem, Split
from sfpo_bench.problems.jsonl import Jsonl
from tests.problem_sets.shared_data import SHARED, needs_shared_data

ROWS = [{"id": f"sum/{n}", "problem": f"What is {n} + {n}?", "answer": 2 * n} for n in range(200)]


def write(file: Path, rows: Sequence[Any]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def splits(task: Jsonl) -> dict[str, Split]:
    return {problem.id: split for split in Split for problem in task.problems(split)}


def completion(problem: Problem, text: str, finish: FinishReason = FinishReason.stopped) -> Completion:
    return Completion(problem.id, 0, (1,), (2,), (-0.5,), text, finish)


def refused(task: Jsonl) -> str:
    with pytest.raises(ConfigError) as caught:
        task.problems(Split.train)
    return str(caught.value)


def own_grader(problem: Problem, response: str) -> Grade:
    return Grade(GradeStatus.correct, 0.25, f"{problem.answer}:{response}")


def test_every_line_is_a_problem_of_one_split(tmp_path: Path) -> None:
    task = Jsonl(path=write(tmp_path / "p.jsonl", ROWS))
    assert splits(task).keys() == {f"sum/{n}" for n in range(200)}
    assert Problem("sum/7", "What is 7 + 7?", "14") in [p for split in Split for p in task.problems(split)]


def test_the_order_of_the_file_and_its_ids_do_not_change_the_splits(tmp_path: Path) -> None:
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    renamed = [{**row, "id": f"other/{row['id']}"} for row in ROWS]
    first = splits(Jsonl(path=write(tmp_path / "a.jsonl", ROWS)))
    assert splits(Jsonl(path=write(tmp_path / "b.jsonl", shuffled))) == first
    assert splits(Jsonl(path=write(tmp_path / "c.jsonl", renamed))) == {f"other/{id_}": s for id_, s in first.items()}
    assert splits(Jsonl(path=write(tmp_path / "d.jsonl", ROWS[:100]))).items() < first.items()


def test_the_same_problem_twice_stays_in_one_split(tmp_path: Path) -> None:
    again = [{"id": f"again/{n}", "problem": f"what  is {n} + {n}?", "answer": 2 * n} for n in range(200)]
    found = splits(Jsonl(path=write(tmp_path / "p.jsonl", [*ROWS, *again])))
    assert all(found[f"sum/{n}"] is found[f"again/{n}"] for n in range(200))


def test_files_of_their_own_are_the_splits(tmp_path: Path) -> None:
    task = Jsonl(
        path=write(tmp_path / "train.jsonl", ROWS[:50]),
        select_path=write(tmp_path / "select.jsonl", ROWS[50:60]),
        report_path=write(tmp_path / "report.jsonl", ROWS[60:80]),
    )
    assert [len(task.problems(split)) for split in (Split.train, Split.select, Split.report)] == [50, 10, 20]


def test_with_a_report_file_alone_the_rest_is_train_and_select(tmp_path: Path) -> None:
    report = write(tmp_path / "report.jsonl", ROWS[150:])
    task = Jsonl(path=write(tmp_path / "p.jsonl", ROWS[:150]), report_path=report)
    assert len(task.problems(Split.report)) == 50
    assert len(task.problems(Split.train)) + len(task.problems(Split.select)) == 150
    assert len(task.problems(Split.select)) > 0


def test_a_problem_of_the_report_file_may_not_be_trained_on(tmp_path: Path) -> None:
    report = write(tmp_path / "report.jsonl", [{**ROWS[3], "id": "r", "problem": "WHAT is 3 + 3?"}])
    path = write(tmp_path / "p.jsonl", ROWS)
    assert "1 of 200 problems are also in select_path or report_path (the first: sum/3)" in refused(
        Jsonl(path=path, report_path=report)
    )
    assert "sum/3" not in splits(Jsonl(path=path, report_path=report, drop_overlap=True))


def test_select_and_report_files_may_not_share_a_problem(tmp_path: Path) -> None:
    select, report = write(tmp_path / "s.jsonl", ROWS[:5]), write(tmp_path / "r.jsonl", ROWS[4:9])
    task = Jsonl(path=write(tmp_path / "p.jsonl", ROWS[20:]), select_path=select, report_path=report)
    assert "1 problems in common" in refused(task)


def test_without_an_id_a_problem_is_named_by_its_text(tmp_path: Path) -> None:
    rows = [{"problem": row["problem"], "answer": row["answer"]} for row in ROWS]
    first = splits(Jsonl(path=write(tmp_path / "a.jsonl", rows)))
    assert len(first) == 200
    assert splits(Jsonl(path=write(tmp_path / "b.jsonl", rows[::-1]))) == first


def test_other_field_names(tmp_path: Path) -> None:
    rows = [{"uid": n, "question": f"{n}?", "target": str(n)} for n in range(100)]
    task = Jsonl(
        path=write(tmp_path / "p.jsonl", rows), id_field="uid", problem_field="question", answer_field="target"
    )
    assert splits(task).keys() == {str(n) for n in range(100)}


def test_the_prompt_is_one_user_turn_or_plain_text() -> None:
    problem = Problem("a", r"What is $\frac{1}{2} + {problem}$?", "1")
    wanted = problem.text + "\n\nReason step by step and put the final answer in \\boxed{}."
    assert Jsonl().prompt(problem).content == (Message("user", wanted),)
    assert Jsonl(chat=False, prompt_template="Q: {problem}\nA:").prompt(problem).content == f"Q: {problem.text}\nA:"


def test_the_gold_answer_grades_one_and_the_empty_answer_zero() -> None:
    task, problem = Jsonl(), Problem("a", "?", r"\frac{1}{2}")
    assert task.grade(problem, completion(problem, r"so \boxed{\frac{1}{2}}")).reward == 1.0
    assert task.grade(problem, completion(problem, "")).status is GradeStatus.no_answer
    assert task.grade(problem, completion(problem, r"\boxed{0.5} hm", FinishReason.truncated)).reward == 1.0


def test_a_grader_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_grading.py").write_text(
        "from sfpo_bench.core.types import Grade, GradeStatus\n"
        "def grade(problem, response):\n"
        "    return Grade(GradeStatus.correct, 0.25, problem.answer + response)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    task = Jsonl(
        path=write(tmp_path / "p.jsonl", [{**row, "answer": "anything"} for row in ROWS]), grader="my_grading:grade"
    )
    problem = task.problems(Split.train)[0]
    assert task.grade(problem, completion(problem, "!")) == Grade(GradeStatus.correct, 0.25, "anything!")


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        ("absent_module:grade", "absent_module"),
        ("math:absent", "absent"),
        ("math:pi", "is a float"),
        ("maths", "module"),
    ],
)
def test_a_grader_that_cannot_be_used_is_an_error_before_any_grading(tmp_path: Path, grader: str, message: str) -> None:
    assert message in refused(Jsonl(path=write(tmp_path / "p.jsonl", ROWS), grader=grader))


def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"task\.path = '.*absent\.jsonl': found no such file"):
        Jsonl(path=str(tmp_path / "absent.jsonl")).problems(Split.train)
    with pytest.raises(MissingDataError, match=r"task\.path = ''"):
        Jsonl().problems(Split.train)
    with pytest.raises(MissingDataError, match=r"task\.report_path = .*found a folder"):
        Jsonl(path=write(tmp_path / "p.jsonl", ROWS), report_path=str(tmp_path)).problems(Split.train)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 1, "problem"', "line 2: found no JSON"),
        ("[1, 2]", "line 2: found a JSON list, expected an object"),
        ('{"id": 1, "problem": "1?"}', "line 2: found the fields id, problem, expected 'answer'"),
        ('{"id": 1, "answer": "1"}', "line 2: found the fields answer, id, expected 'problem'"),
        ('{"id": 1, "problem": "1?", "answer": ""}', "line 2: 'answer' is '', expected text"),
        ('{"id": 1, "problem": "1?", "answer": null}', "line 2: 'answer' is None, expected text"),
        ('{"id": 1, "problem": "1?", "answer": ["1"]}', "line 2: 'answer' is ['1'], expected text"),
        ('{"id": 1, "problem": "1?", "answer": true}', "line 2: 'answer' is True, expected text"),
        ('{"id": " ", "problem": "1?", "answer": "1"}', "line 2: 'id' is ' ', expected text"),
        ('{"id": "sum/0", "problem": "1?", "answer": "1"}', "two problems have the id 'sum/0'"),
        (
            '{"id": 1, "problem": "1?", "answer": "\\\\frac{"}',
            "cannot read 1 of 2 answers as mathematics (1: '\\\\frac{')",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n", encoding="utf-8")
    assert message in refused(Jsonl(path=str(file)))


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b'{"id": "\xff"}\n')
    assert "not UTF-8 at 8" in refused(Jsonl(path=str(tmp_path / "p.jsonl")))


def test_an_answer_that_cannot_be_read_may_be_kept(tmp_path: Path) -> None:
    rows = [*ROWS, {"id": "odd", "problem": "odd?", "answer": "\\frac{2 k n"}]
    path = write(tmp_path / "p.jsonl", rows)
    assert "task.keep_unreadable=true" in refused(Jsonl(path=path))
    assert "odd" in splits(Jsonl(path=path, keep_unreadable=True))


def test_an_empty_split_is_refused_with_counts(tmp_path: Path) -> None:
    assert "fall into train 1, select 0, report 0" in refused(Jsonl(path=write(tmp_path / "p.jsonl", ROWS[:1])))


def test_a_template_without_the_problem_is_refused(tmp_path: Path) -> None:
    assert "has no {problem}" in refused(Jsonl(path=write(tmp_path / "p.jsonl", ROWS), prompt_template="Solve it."))


def test_the_settings_survive_a_configuration_file(tmp_path: Path) -> None:
    node = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.structured(Jsonl(path="p.jsonl", chat=False))))
    made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Jsonl), node))
    assert made == Jsonl(path="p.jsonl", chat=False)


@needs_shared_data
@pytest.mark.parametrize(
    ("name", "count"), [("eval/gsm8k_test", 1319), ("eval/math500", 500), ("eval/amc23", 40), ("train/dapo17k", 17243)]
)
def test_public_data_sets_load(name: str, count: int) -> None:
    assert len(splits(Jsonl(path=str(SHARED / f"{name}.jsonl")))) == count


@needs_shared_data
def test_training_on_one_set_and_reporting_on_another(tmp_path: Path) -> None:
    """Eight of the training set's rows are MATH-500 problems, to the letter; white space and case may find more."""
    train, report = str(SHARED / "train" / "dapo17k.jsonl"), str(SHARED / "eval" / "math500.jsonl")
    assert "problems are also in select_path or report_path" in refused(Jsonl(path=train, report_path=report))
    task = Jsonl(path=train, report_path=report, drop_overlap=True)
    assert len(task.problems(Split.report)) == 500
    assert 17243 - 20 <= len(task.problems(Split.train)) + len(task.problems(Split.select)) < 17243
