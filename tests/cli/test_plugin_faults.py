"""A user's own class or function that does not import, raises, or returns another thing: one line, with the place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfpo_bench.core.errors import PluginError
from sfpo_bench.core.plugins import guarded
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Prompt, Split
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.problems.protocol import Task
from sfpo_bench.settings.own_classes import CHECKS
from tests.conftest import TINY, Cli
from tests.in_process import sfpo_bench

PROBLEM = Problem("a", "1+1=", "2")
ANSWERED = Completion("a", 0, (1,), (2,), (0.0,), "2", FinishReason.stopped)
RIGHT = Grade(GradeStatus.correct, 1.0, "2")

MODULE = """
from dataclasses import dataclass

from sfpo_bench.core.options import option
from sfpo_bench.problems.arithmetic import Arithmetic


@dataclass
class Mine(Arithmetic):
    kind: str = option("mine", "name")

    {body}


def reward(problem, response):
    return response == problem.answer
"""
AT_ONCE = {
    "raise RuntimeError('boom')": "importing NAME raised RuntimeError (boom) at ",
    "import sys; sys.exit(3)": "importing NAME raised SystemExit (3) at ",
    "def f(:": "importing NAME raised SyntaxError",
    "import no_such_module": "importing NAME failed",
    MODULE.format(body="def prompt(self, problem): return 1 / 0"): "Mine.prompt() raised ZeroDivisionError",
    MODULE.format(body="def prompt(self, problem): raise SystemExit(0)"): "Mine.prompt() raised SystemExit (0)",
    MODULE.format(body="def prompt(self, problem): return problem.text"): "Mine.prompt() returned a str",
    MODULE.format(body="def problems(self, split): return None"): "Mine.problems() returned a NoneType",
    MODULE.format(body="def problems(self, split): return open('gone')"): "Mine.problems() raised FileNotFoundError",
    MODULE.format(body="def __post_init__(self): raise KeyError('a')"): "Mine raised KeyError ('a') at ",
}


@pytest.mark.parametrize("number", range(len(AT_ONCE)))
def test_what_can_be_known_at_once_is_said_before_torch_is_loaded(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, (text, expected) = f"mine_{number}", list(AT_ONCE.items())[number]
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    done = sfpo_bench(tmp_path, "train", "tracking=none", "task=custom", f"task.factory={name}:Mine")
    assert expected.replace("NAME", name) in done.err and len(done.err.splitlines()) == 1, done.err
    assert done.code and not (tmp_path / "results").exists()
    if " at " in expected or "raised Zero" in expected:
        assert f"{name}.py line " in done.err


class Odd(Arithmetic):
    """Returns what it is told to, or raises it."""

    def __init__(self, found: object) -> None:
        super().__init__()
        self._found = found

    def _give(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    def prompt(self, problem: Problem) -> Prompt:
        return self._give()  # type: ignore[return-value]  # what no task may return

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self._give()  # type: ignore[return-value]  # what no task may return

    def grade_many(self, problems: object, completions: object) -> list[Grade]:
        return self._give()  # type: ignore[return-value]  # what no task may return


def own(found: object) -> Odd:
    task = guarded(Odd(found), CHECKS[Task], "mine:Odd")
    assert isinstance(task, Odd)
    return task


@pytest.mark.parametrize(
    "found",
    # Grades whose fields are of other types are what is tried.
    [None, True, 1.0, (True, 1.0), Grade("correct", 1.0, "2"), Grade(GradeStatus.correct, "1", "2"),  # type: ignore[arg-type]
     Grade(GradeStatus.wrong, float("nan"), None), Grade(GradeStatus.wrong, 0.0, 3), OSError("x"), KeyError("x")],  # type: ignore[arg-type]
)  # fmt: skip
def test_what_is_no_grade_is_refused_by_name(found: object) -> None:
    with pytest.raises(PluginError, match=r"mine:Odd\.grade\(\) (returned a|raised) "):
        own(found).grade(PROBLEM, ANSWERED)


def test_many_grades_are_as_many_as_there_are_answers() -> None:
    assert own([RIGHT]).grade_many([PROBLEM], [ANSWERED]) == [RIGHT]
    for found in ([], [RIGHT, RIGHT], RIGHT, [True]):
        with pytest.raises(PluginError, match=r"grade_many\(\) returned a"):
            own(found).grade_many([PROBLEM], [ANSWERED])


def test_a_class_of_the_users_stays_of_its_kind_and_answers_as_before() -> None:
    plain, watched = Odd(RIGHT), own(RIGHT)
    assert watched.grade(PROBLEM, ANSWERED) is RIGHT and own(Prompt("a", "1+1=")).prompt(PROBLEM).content == "1+1="
    assert watched.problems(Split.report) == plain.problems(Split.report)
    assert type(own(RIGHT)) is type(own(None)), "two of one class are equal when their settings are"


@pytest.mark.slow
@pytest.mark.parametrize("body", ["def grade(self, problem, completion): return True", "pass"])
def test_a_fault_in_the_middle_of_a_run_is_the_runs_cause(body: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE.format(body=body))
    task = ["task=custom", "task.factory=mine:Mine"]
    if body == "pass":
        rows = [
            json.dumps({"problem": f"{a}*{b}+10=", "answer": str(a * b + 10)})
            for a in range(2, 10)
            for b in (2, 3, 4, 5)
        ]
        (tmp_path / "own.jsonl").write_text("\n".join(rows))
        task = ["task=jsonl", "task.path=own.jsonl", "task.chat=false", "task.prompt_template='{problem}'",
                "task.grader=mine:reward"]  # fmt: skip
    done = cli("train", "tracking=none", *TINY, *task, check=False, prelude="import sys; sys.path.insert(0, '.')")
    assert done.returncode == 1 and "returned a bool" in done.stderr and "Traceback" not in done.stderr
    [status] = (tmp_path / "results" / "runs").glob("*/status.json")
    content = json.loads(status.read_text())
    assert content["state"] == "failed" and "returned a bool" in content["cause"]
