"""User-defined problems: a JSONL file, each line a problem and its answer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.options import option
from sfpo_bench.core.plugins import called, find
from sfpo_bench.core.types import Completion, Grade, Message, Problem, Prompt, Split
from sfpo_bench.grading import DEADLINE_S, Pair, grade_math, shared_grader
from sfpo_bench.problems.jsonl_rows import jsonl_objects
from sfpo_bench.problems.protocol import check_grade
from sfpo_bench.problems.splits import split_of

Grader = Callable[[Problem, str], Grade]

_PROMPT = "{problem}\n\nReason step by step and put the final answer in \\boxed{}."


@dataclass
class Jsonl:
    r"""Lines such as `{"id": "a/1", "problem": "What is $2^{10}$?", "answer": "1024"}`; other fields are ignored.

    Methods that train on reference solutions need a `solution` in each line, a whole response. With `path` alone, each
    problem's split is a hash of its text, independent of order, ids and other problems, so a repeated problem stays in
    one split. With `select_path` or `report_path`, those files are these splits, and the problems of `path` go to the
    others. Everything is read and checked on first use.
    """

    kind: str = option("jsonl", "problems from your own JSONL file")
    path: str = option("", "file of problems; only training problems if the other splits have their own files")
    select_path: str = option("", "file of select problems; empty: a part of `path`")
    report_path: str = option("", "file of report problems; empty: a part of `path`")
    select_share: float = option(0.1, "share of `path` in the select split; unused with select_path", low=0, high=1)
    report_share: float = option(0.1, "share of `path` in the report split; unused with report_path", low=0, high=1)
    drop_overlap: bool = option(False, "leave out problems of `path` that are also in select_path or report_path")
    id_field: str = option("id", "field with the problem's id, unique over all files; if absent, a hash of the text")
    problem_field: str = option("problem", "field with the problem's text")
    answer_field: str = option("answer", "field with the gold answer, text or a number")
    solution_field: str = option("solution", "field with a reference solution, if a line has one")
    prompt_template: str = option(_PROMPT, "template of the prompt; {problem} is replaced by the problem's text")
    chat: bool = option(True, "true: one user message in the model's chat template; false: plain text to continue")
    grader: str = option("math", "`math` (docs/grading.md), or your own function `module:function`")
    grading_seconds: float = option(DEADLINE_S, "longest time for one grade by `math`, in seconds", above=0)
    keep_unreadable: bool = option(False, "keep answers that `math` cannot read; then only equal text is correct")

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, in file order."""
        return self._problems[split]

    def prompt(self, problem: Problem) -> Prompt:
        text = self.prompt_template.replace("{problem}", problem.text)
        return Prompt(problem.id, (Message("user", text),) if self.chat else text)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        """The grade of the text, also of a truncated response.

        An exception of a user's grader stops the run, since it must not count as a wrong answer.
        """
        if self.grader == "math":
            return self._grader(problem, completion.text)
        graded: Grade = called(self._grader, f"task.grader = {self.grader}", check_grade, problem, completion.text)
        return graded

    def grade_many(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        """The grades of all responses; computed in parallel on all cores if the grader is `math`."""
        if self.grader != "math":
            return [self.grade(problem, completion) for problem, completion in zip(problems, completions, strict=True)]
        pairs = [Pair(problem.answer, c.text) for problem, c in zip(problems, completions, strict=True)]
        return shared_grader().grade_many(pairs, deadline_s=self.grading_seconds)

    @cached_property
    def _grader(self) -> Grader:
        if self.grader == "math":
            return lambda problem, text: grade_math(problem.answer, text, deadline_s=self.grading_seconds)
        own: Grader = find(self.grader, "task.grader", Path(os.path.expanduser(self.path)) if self.path else None)
        if not callable(own):
            raise ConfigError(
                f"task.grader = {self.grader!r} is a {type(own).__name__}; expected a function of (problem: Problem, "
                f"response: str) that returns a Grade, or `math`"
            )
        return own

    @cached_property
    def _problems(self) -> dict[Split, tuple[Problem, ...]]:
        if "{problem}" not in self.prompt_template:
            raise ConfigError(
                f"task.prompt_template = {self.prompt_template!r} has no {{problem}}, so every prompt would be the same"
            )
        _ = self._grader  # raises the error for a missing grader before the first rollouts
        own_files = {Split.select: self.select_path, Split.report: self.report_path}
        found: dict[Split, list[Problem]] = {
            split: self._read(path, f"task.{split}_path") if path else [] for split, path in own_files.items()
        }
        main = self._without_overlap(self._read(self.path, "task.path"), found)
        shares = {split: 0.0 if own_files[split] else getattr(self, f"{split}_share") for split in own_files}
        found[Split.train] = []
        for problem in main:
            split = split_of(
                _plain(problem.text), salt="jsonl", select_share=shares[Split.select], report_share=shares[Split.report]
            )
            found[split].append(problem)
        _check_ids(found)
        self._check_not_empty(found)
        return {split: tuple(problems) for split, problems in found.items()}

    def _read(self, path: str, key: str) -> list[Problem]:
        file = Path(os.path.expanduser(path))
        if not path or not file.is_file():
            there = "names no file" if not path else "found a folder" if file.is_dir() else "found no such file"
            raise MissingDataError(
                f"{key} = {path!r}: {there}, expected a file with one JSON object per line with the fields "
                f"{self.problem_field!r} and {self.answer_field!r}. Set {key}=FILE (looked in {Path.cwd()})"
            )
        found = [self._problem(row, where) for where, row in jsonl_objects(file)]
        if self.grader == "math" and not self.keep_unreadable:
            self._check_golds(found, file)
        return found

    def _problem(self, row: Mapping[str, Any], where: str) -> Problem:
        text = self._field(row, self.problem_field, where)
        answer = self._field(row, self.answer_field, where)
        found = row.get(self.solution_field)
        # Other values of this field are ignored; methods that train on solutions check that all are present.
        solution = found if isinstance(found, str) and found.strip() else None
        if self.id_field in row:
            return Problem(self._field(row, self.id_field, where), text, answer, solution)
        name = hashlib.sha256(_plain(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return Problem(name, text, answer, solution)

    def _field(self, row: Mapping[str, Any], name: str, where: str) -> str:
        if name not in row:
            raise ConfigError(
                f"{where}: found the fields {', '.join(sorted(row)) or '(none)'}, expected {name!r}. Add it, or name "
                f"the field that has it with task.problem_field, task.answer_field or task.id_field"
            )
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not str(value).strip():
            raise ConfigError(f"{where}: {name!r} is {value!r}, expected text that is not empty, or a number")
        return str(value)

    def _check_golds(self, problems: Sequence[Problem], file: Path) -> None:
        golds = [problem.answer for problem in problems]
        readable = shared_grader().readable_many(golds, deadline_s=self.grading_seconds)
        bad = [problem for problem, good in zip(problems, readable, strict=True) if not good]
        if bad:
            shown = "; ".join(f"{p.id}: {p.answer!r}" for p in bad[:5])
            raise ConfigError(
                f"{file}: the grader cannot read {len(bad)} of {len(problems)} answers as mathematics ({shown}"
                f"{' …' if len(bad) > 5 else ''}). Rewrite or remove them; or set "
                f"task.keep_unreadable=true, and only a response with the same text counts as correct"
            )

    def _without_overlap(self, main: list[Problem], own: Mapping[Split, Sequence[Problem]]) -> list[Problem]:
        """`main` without the problems of the other files; an error unless `drop_overlap` is set."""
        texts = {split: {_plain(problem.text) for problem in problems} for split, problems in own.items()}
        both = texts[Split.select] & texts[Split.report]
        if both:
            raise ConfigError(
                f"task.select_path and task.report_path have {len(both)} problems in common (one: {min(both)[:60]!r}), "
                f"expected none: select problems must not be reported. Remove them from one file"
            )
        shared = [problem for problem in main if _plain(problem.text) in texts[Split.select] | texts[Split.report]]
        if shared and not self.drop_overlap:
            raise ConfigError(
                f"{self.path}: {len(shared)} of {len(main)} problems are also in select_path or report_path "
                f"(the first: {shared[0].id}), expected none. Set task.drop_overlap=true to leave them out of training"
            )
        dropped = {problem.id for problem in shared}
        return [problem for problem in main if problem.id not in dropped]

    def _check_not_empty(self, found: Mapping[Split, Sequence[Problem]]) -> None:
        empty = [split for split in Split if not found[split]]
        if empty:
            counts = ", ".join(f"{split} {len(found[split])}" for split in Split)
            raise ConfigError(
                f"{self.path}: the problems fall into {counts}, expected at least one in each split. Give more "
                f"problems, other shares (task.select_share, task.report_share) or files (task.select_path, "
                f"task.report_path)"
            )


def _plain(text: str) -> str:
    """The text that identifies a problem, without case and white space differences."""
    return " ".join(text.split()).casefold()


def _check_ids(found: Mapping[Split, Sequence[Problem]]) -> None:
    seen: dict[str, str] = {}
    for problem in (problem for problems in found.values() for problem in problems):
        if problem.id in seen:
            raise ConfigError(
                f"two problems have the id {problem.id!r}, {seen[problem.id][:60]!r} and {problem.text[:60]!r}; "
                f"expected ids that are unique over all files. Rename one, or remove duplicate problems"
            )
        seen[problem.id] = problem.text
