"""`sfpo-bench grade`: a file of answers in, a file of grades out."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.grading import Grader, Pair
from sfpo_bench.grading.lines import grade_file, read_lines
from tests.conftest import Cli

ROWS = [
    {"id": "a/1", "gold": "5", "pred": r"\boxed{5.0}", "expected": True, "finish_reason": "stopped"},
    {"id": "a/2", "gold": "5", "pred": r"\boxed{6}", "expected": True, "finish_reason": "truncated"},
    {"id": 3, "gold": 5, "pred": 5, "expected": False},
    {"id": "none", "gold": "5", "pred": ""},
    {"id": "bad gold", "gold": "\\frac{2 k n", "pred": "0.877"},
    {"id": "near", "gold": "0.53", "pred": "0.54", "relative_tolerance": 0.02},
    {"gold": "1", "pred": "2"},
]


def write(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_a_line_for_each_line_and_a_summary_with_the_agreement(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "answers.jsonl", ROWS)
    said = cli("grade", "answers.jsonl", "grades.jsonl", "workers=1").stdout
    rows = [json.loads(line) for line in (tmp_path / "grades.jsonl").read_text().splitlines()]
    assert rows == [
        {"id": "a/1", "status": "correct", "extracted": "5.0", "rule": "boxed", "finish_reason": "stopped"},
        {"id": "a/2", "status": "wrong", "extracted": "6", "rule": "boxed", "finish_reason": "truncated"},
        {"id": 3, "status": "correct", "extracted": "5", "rule": "whole"},
        {"id": "none", "status": "no_answer", "extracted": None, "rule": None},
        {"id": "bad gold", "status": "gold_unparsable", "extracted": "0.877", "rule": "whole"},
        {"id": "near", "status": "correct", "extracted": "0.54", "rule": "whole"},
        {"id": 7, "status": "wrong", "extracted": "2", "rule": "whole"},
    ]
    assert "7 answers: 3 correct, 2 wrong, 1 no_answer, 1 gold_unparsable, 0 timeout, 0 error" in said
    assert "agreement: 1 of 3 (33.3%); 1 accepted wrongly, 1 rejected wrongly" in said
    assert "accepted wrongly: 3\n" in said and "rejected wrongly: a/2\n" in said
    assert "finish reasons: 1 stopped, 1 truncated" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "grades.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: found no JSON"),
        ("[" * 100_000, "line 2: found no JSON"),
        ("[1]", "line 2: found a JSON list, expected an object with gold and pred"),
        ('{"gold": "1"}', "line 2: found the fields gold, expected 'pred'"),
        ('{"gold": null, "pred": "1"}', "line 2: gold is None, expected text or a number"),
        ('{"gold": "1", "pred": ["1"]}', "line 2: pred is ['1'], expected text or a number"),
        ('{"id": {}, "gold": "1", "pred": "1"}', "line 2: id is {}, expected text or an integer"),
        ('{"gold": "1", "pred": "1", "expected": "yes"}', "line 2: expected is 'yes', expected true or false"),
        ('{"gold": "1", "pred": "1", "tolerance": -1}', "line 2: tolerance is -1, expected a number that is not"),
        ('{"gold": "1", "pred": "1", "finish_reason": 4}', "line 2: finish_reason is 4, expected text"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_graded(line: str, message: str, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"gold": "1", "pred": "1"}\n' + line + "\n")
    with pytest.raises(ConfigError) as caught, Grader(workers=1) as grader:
        grade_file(answers, tmp_path / "grades.jsonl", grader, Pair("", ""))
    assert message in str(caught.value)
    assert not (tmp_path / "grades.jsonl").exists()


def test_an_id_that_two_answers_have_is_refused_before_anything_is_graded(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"gold": "5", "pred": "5", "id": "a"}\n{"gold": "5", "pred": "6", "id": "a"}\n')
    with pytest.raises(ConfigError, match="answer 2 has the id 'a' of an earlier one"), Grader(workers=1) as grader:
        grade_file(file, tmp_path / "grades.jsonl", grader, Pair("", ""))


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    file, pipe = tmp_path / "answers.jsonl", tmp_path / "pipe"
    file.write_text('{"gold": "5", "pred": "5", "id": "a"}\n')
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    found: list[str] = []
    reader.start()
    with Grader(workers=1) as grader:
        grade_file(file, pipe, grader, Pair("", ""))
    reader.join(timeout=30)
    assert json.loads(found[0])["status"] == "correct" and not pipe.is_file() and pipe.exists()


def test_a_name_of_an_open_file_is_appended_to_and_stays(tmp_path: Path) -> None:
    """As `/dev/stdout` behind `>> FILE`, here by a link of our own: one that leads to another such link too."""
    file, opened = tmp_path / "answers.jsonl", tmp_path / "opened"
    file.write_text('{"gold": "5", "pred": "5", "id": "a"}\n')
    with open(opened, "w") as handle, Grader(workers=1) as grader:
        handle.write("before\n")
        handle.flush()
        (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{handle.fileno()}")
        (tmp_path / "again").symlink_to("stdout")
        for name in ("stdout", "again"):
            grade_file(file, tmp_path / name, grader, Pair("", ""))
            assert (tmp_path / name).is_symlink()
    before, *graded = opened.read_text().splitlines()
    assert (before, [json.loads(line)["id"] for line in graded]) == ("before", ["a", "a"])


def test_grades_at_a_link_replace_the_file_that_it_leads_to(tmp_path: Path) -> None:
    file, folder = tmp_path / "answers.jsonl", tmp_path / "elsewhere"
    folder.mkdir()
    file.write_text('{"gold": "5", "pred": "5", "id": "a"}\n')
    (folder / "grades.jsonl").write_text("of yesterday\n")
    (tmp_path / "grades.jsonl").symlink_to(folder / "grades.jsonl")
    with Grader(workers=1) as grader:
        grade_file(file, tmp_path / "grades.jsonl", grader, Pair("", ""))
    assert (tmp_path / "grades.jsonl").is_symlink() and "yesterday" not in (folder / "grades.jsonl").read_text()


def test_grades_on_standard_output_have_no_summary_between_them(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "answers.jsonl", ROWS[:1])
    (tmp_path / "out").symlink_to("/proc/self/fd/1")
    run = cli("grade", "answers.jsonl", "out", "workers=1")
    assert len([json.loads(line) for line in run.stdout.splitlines()]) == 1 and "1 answers" in run.stderr


def test_wrong_files_are_refused_at_once_with_exit_code_two(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "answers.jsonl", ROWS)
    (tmp_path / "empty.jsonl").write_text("\n")
    for arguments, message in (
        (("nowhere.jsonl", "grades.jsonl"), "found no such file"),
        (("answers.jsonl", "answers.jsonl"), "is the file of answers itself"),
        (("empty.jsonl", "grades.jsonl"), "found no line"),
        (("answers.jsonl",), "no file for the grades is named"),
        (("answers.jsonl", "no/such/folder.jsonl"), "no such folder"),
    ):
        run = cli("grade", *arguments, check=False)
        assert (run.returncode, message in run.stderr, "Traceback" in run.stderr) == (2, True, False), run.stderr


def test_bytes_that_are_not_utf_8_are_read_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(b'{"gold": "5", "pred": "caf\xe9 \\\\boxed{5}"}\n')
    assert [line.pair.response for line in read_lines(file, Pair("", ""))] == ["caf\ufffd \\boxed{5}"]


def test_the_verb_loads_no_torch_and_its_help_is_quick(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "answers.jsonl", ROWS[:1])
    guard = "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    assert cli("grade", "answers.jsonl", "grades.jsonl", "workers=1", prelude=guard).stderr.strip() == "False"
    started = time.process_time()
    assert "grading_seconds = 5.0" in cli("grade", "--help", prelude=guard).stdout
    assert time.process_time() - started < 2
