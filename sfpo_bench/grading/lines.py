"""Files of answers to grade and of grades: a JSON object per line."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.json_text import json_object
from sfpo_bench.core.output_names import is_written_through
from sfpo_bench.core.types import Grade, GradeStatus
from sfpo_bench.grading.failures import LIMIT, failed
from sfpo_bench.grading.grader import LONGEST_RESPONSE, Grader
from sfpo_bench.grading.records import Pair

_AT_ONCE = 1000  # lines whose responses are in memory together …
_CHARACTERS_AT_ONCE = 10_000_000  # … unless they are this long before
_SHOWN = 20  # disagreements that the summary lists


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: what to grade, and what goes with it to the file of grades or into the summary."""

    id: str | int
    pair: Pair
    finish_reason: str | None
    expected: bool | None
    kind: str


@dataclass(slots=True)
class Summary:
    """The summary of a file: counts by status, rule and finish reason, and agreement with `expected`."""

    statuses: Counter[GradeStatus] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    finish_reasons: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    agreeing: Counter[str] = field(default_factory=Counter)
    wrongly_accepted: list[str | int] = field(default_factory=list)
    wrongly_rejected: list[str | int] = field(default_factory=list)

    def count(self, line: Line, grade: Grade) -> None:
        self.statuses[grade.status] += 1
        if grade.rule:
            self.rules[grade.rule] += 1
        if line.finish_reason is not None:
            self.finish_reasons[line.finish_reason] += 1
        if line.expected is None:
            return
        accepted = grade.status is GradeStatus.correct
        self.expected[line.kind] += 1
        self.agreeing[line.kind] += accepted == line.expected
        if accepted and not line.expected:
            self.wrongly_accepted.append(line.id)
        elif line.expected and not accepted:
            self.wrongly_rejected.append(line.id)

    def text(self) -> str:
        """The summary as it is printed, a fact on each line."""
        total = self.statuses.total()
        lines = [f"{total} answers: " + ", ".join(f"{self.statuses[status]} {status.value}" for status in GradeStatus)]
        lines += [f"{title}: {_counts(counts)}" for title, counts in self._counters() if counts]
        if self.expected:
            agreeing, expected = self.agreeing.total(), self.expected.total()
            lines.append(
                f"agreement: {agreeing} of {expected} ({agreeing / expected:.1%}); "
                f"{len(self.wrongly_accepted)} accepted wrongly, {len(self.wrongly_rejected)} rejected wrongly"
            )
            if len(self.expected) > 1:
                lines += [f"  {kind}: {self.agreeing[kind]} of {self.expected[kind]}" for kind in self.expected]
            lines += [
                f"  {title}: {_names(names)}"
                for title, names in (
                    ("accepted wrongly", self.wrongly_accepted),
                    ("rejected wrongly", self.wrongly_rejected),
                )
                if names
            ]
        failures = sum(count for status, count in self.statuses.items() if failed(status))
        if failures > LIMIT * total:
            lines.append(
                f"warning: {failures} of {total} answers were not graded (timeout, error), more than {LIMIT:.0%}; a "
                f"training run stops here. They count as not correct"
            )
        return "\n".join(lines)

    def _counters(self) -> tuple[tuple[str, Counter[str]], ...]:
        return ("extracted by", self.rules), ("finish reasons", self.finish_reasons)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())


def _names(names: list[str | int]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more


def grade_file(answers: Path, grades: Path, grader: Grader, default: Pair) -> Summary:
    """Grade every line of `answers` into `grades`, in order; `default` gives the tolerances of lines without their own.

    The whole file is checked before the first line is graded, and `grades` appears when it is complete. Bytes that are
    not UTF-8 are read as U+FFFD. Raises `MissingDataError` without a file and `ConfigError` for a line that is no such
    object.
    """
    if not answers.is_file():
        raise MissingDataError(
            f"answers = {str(answers)!r}: found no such file, expected one JSON object per line with gold and pred "
            f"(looked in {Path.cwd()})"
        )
    if not grades.name:
        raise ConfigError("no file for the grades is named; expected sfpo-bench grade ANSWERS.jsonl GRADES.jsonl")
    if grades.is_dir():
        raise ConfigError(f"grades = {str(grades)!r} is a folder; expected the name of a file")
    if grades.exists() and grades.samefile(answers):
        raise ConfigError(f"grades = {str(grades)!r} is the file of answers itself; name another file")
    if not grades.absolute().parent.is_dir():
        raise ConfigError(f"grades = {str(grades)!r}: there is no such folder; make it first, or name a file elsewhere")
    if not any(True for _ in read_lines(answers, default)):
        raise ConfigError(f"{answers}: found no line, expected one JSON object per line with gold and pred")
    _check_ids(answers, default)
    if is_written_through(grades):
        with open(grades, "a", encoding="utf-8") as out:
            return _write_grades(read_lines(answers, default), grader, out)
    target = grades.resolve()  # a link stays, and leads to the new grades
    partial = target.with_name(f".{target.name}.partial")
    try:
        with open(partial, "w", encoding="utf-8") as out:
            summary = _write_grades(read_lines(answers, default), grader, out)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return summary


def _check_ids(answers: Path, default: Pair) -> None:
    """Read all lines; raises `ConfigError` for an id that two of them have."""
    seen: set[str | int] = set()
    for number, line in enumerate(read_lines(answers, default), start=1):
        if line.id in seen:
            raise ConfigError(
                f"{answers}: answer {number} has the id {line.id!r} of an earlier one, expected every id once; a line "
                "without an id is named by its number"
            )
        seen.add(line.id)


def _write_grades(lines: Iterator[Line], grader: Grader, out: TextIO) -> Summary:
    summary = Summary()
    for group in _groups(lines):
        for line, grade in zip(group, grader.grade_many([line.pair for line in group]), strict=True):
            summary.count(line, grade)
            out.write(json.dumps(_row(line, grade), ensure_ascii=False) + "\n")
    return summary


def _groups(lines: Iterator[Line]) -> Iterator[list[Line]]:
    group: list[Line] = []
    characters = 0
    for line in lines:
        group.append(line)
        characters += len(line.pair.response) + len(line.pair.gold)
        if len(group) >= _AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _row(line: Line, grade: Grade) -> dict[str, str | int | None]:
    row = {"id": line.id, "status": grade.status.value, "extracted": grade.extracted, "rule": grade.rule or None}
    return row if line.finish_reason is None else {**row, "finish_reason": line.finish_reason}


def read_lines(file: Path, default: Pair) -> Iterator[Line]:
    """The lines of a file of answers; blank ones are passed over. Raises `ConfigError` with the number of a bad one."""
    with open(file, encoding="utf-8-sig", errors="replace", newline="\n") as handle:
        for number, text in enumerate(handle, start=1):
            if text.strip():
                yield _line(text, f"{file} line {number}", number, default)


def _line(text: str, where: str, number: int, default: Pair) -> Line:
    row = json_object(text, where, "with gold and pred")
    name = row.get("id", number)
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise ConfigError(f"{where}: id is {name!r:.80}, expected text or an integer")
    pair = Pair(
        _text(row, "gold", where),
        _text(row, "pred", where)[-LONGEST_RESPONSE:],
        _tolerance(row, "tolerance", default.tolerance, where),
        _tolerance(row, "relative_tolerance", default.relative_tolerance, where),
    )
    finish_reason, expected = row.get("finish_reason"), row.get("expected")
    if finish_reason is not None and not isinstance(finish_reason, str):
        raise ConfigError(
            f"{where}: finish_reason is {finish_reason!r:.80}, expected text such as stopped or truncated"
        )
    if expected is not None and not isinstance(expected, bool):
        raise ConfigError(f"{where}: expected is {expected!r:.80}, expected true or false")
    return Line(_utf8(name), pair, finish_reason and str(_utf8(finish_reason)), expected, str(row.get("kind", "")))


def _text(row: dict[str, Any], key: str, where: str) -> str:
    if key not in row:
        raise ConfigError(f"{where}: found the fields {', '.join(sorted(row)) or '(none)'}, expected {key!r}. Add it")
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ConfigError(f"{where}: {key} is {value!r:.80}, expected text or a number")
    return str(value)


def _tolerance(row: dict[str, Any], key: str, default: float, where: str) -> float:
    value = row.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ConfigError(f"{where}: {key} is {value!r:.80}, expected a number that is not negative")
    return float(value)


def _utf8(name: str | int) -> str | int:
    return name.encode("utf-8", "replace").decode("utf-8") if isinstance(name, str) else name
