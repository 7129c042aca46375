"""Loads the problems of a card from a local folder or the hub, and checks their count and hash."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.resources import carried
from sfpo_bench.core.types import Problem
from sfpo_bench.problems.canonical import content_sha256
from sfpo_bench.problems.card import AnswerForm, AnswerType, Card, card
from sfpo_bench.problems.data_settings import VARIABLE, DataSettings
from sfpo_bench.problems.hub import hub_rows
from sfpo_bench.problems.jsonl_rows import jsonl_rows

_INTEGER = re.compile(r"[+-]?[0-9]+(?:,[0-9]{3})*(?:\.0+)?")
_BOXED = "\\boxed{"
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_WITH_SOLUTION = (AnswerForm.after_hashes, AnswerForm.last_boxed)  # the column holds a solution with the answer


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """The problems of a card in source order; `verified` if count and content hash match the card."""

    card: Card
    problems: tuple[Problem, ...]
    verified: bool
    origin: str

    @property
    def name(self) -> str:
        return self.card.name


def load_problem_set(name: str, data: DataSettings, key: str = "data") -> ProblemSet:
    """The problem set `name`, checked against its card and cached per process.

    Some small sets are part of the project. `key` is the caller's key of `data`, for error messages. Raises
    `MissingDataError` when the set is neither in the folder nor available from the hub, and `ConfigError` when it does
    not match the card.
    """
    return _load(name, data.folder, data.unverified, key)


@cache
def _load(name: str, folder: Path | None, unverified: bool, key: str) -> ProblemSet:
    known = card(name)
    shipped = carried("evaluations") / "problems"
    if (shipped / f"{name}.jsonl").is_file():
        folder = shipped
    problems, origin = _local(known, folder, key) if folder else _from_hub(known, key)
    _check_problems(known, problems, origin)
    verified = _is_verified(known, problems, origin, unverified, key)
    return ProblemSet(known, tuple(problems), verified, origin)


def _local(known: Card, folder: Path, key: str) -> tuple[list[Problem], str]:
    places = [folder / f"{known.name}.jsonl", *(folder / part / f"{known.name}.jsonl" for part in ("eval", "train"))]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise MissingDataError(
            f"{known.title}: found no {known.name}.jsonl in {folder} or its folders eval/ and train/; expected one "
            f"JSON object per line with id, problem and answer. Put it there, or set {key}.dir to its folder"
        )
    rows = jsonl_rows(file, ("problem", "answer"))
    ids = [row.get("id") or f"{known.name}/{number}" for number, row in enumerate(rows)]
    problems = [
        Problem(one, row["problem"], row["answer"], solution_of(known, row.get("solution", ""), row["answer"]))
        for one, row in zip(ids, rows, strict=True)
    ]
    return problems, str(file)


def _from_hub(known: Card, key: str) -> tuple[list[Problem], str]:
    hub = known.hub
    if not hub.name:
        raise MissingDataError(
            f"{known.title} is not on the hub in this form; set {key}.dir (or ${VARIABLE}) to a folder with "
            f"{known.name}.jsonl"
        )
    origin = f"{hub.name} {hub.config or 'default'} {hub.split} at revision {hub.revision}"
    found = []
    for number, row in enumerate(hub_rows(hub, known, key)):
        if missing := {hub.problem_column, hub.answer_column} - set(row):
            raise ConfigError(
                f"{origin}: found the columns {', '.join(map(str, row))}, expected {', '.join(sorted(missing))} too; "
                f"the hub's copy has changed: take an older revision, or {key}.dir with {known.name}.jsonl"
            )
        answer = _gold(row[hub.answer_column], hub.answer_form, f"{origin} row {number}")
        whole = str(row[hub.answer_column]) if hub.answer_form in _WITH_SOLUTION else ""
        solution = solution_of(known, whole, answer)
        found.append(Problem(f"{known.name}/{number}", str(row[hub.problem_column]), answer, solution))
    return found, origin


def _gold(value: object, form: AnswerForm, where: str) -> str:
    if form is AnswerForm.first_of_list:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise ConfigError(f"{where}: the answer is {value!r}, expected a list with at least one element")
        return str(value[0])
    text = str(value)
    if form is AnswerForm.after_hashes:
        return text.rsplit("####", 1)[-1].strip()
    if form is AnswerForm.last_boxed:
        return last_boxed(text)
    return text


def solution_of(known: Card, text: str, answer: str) -> str | None:
    r"""A written solution as a response with a boxed answer, or None without a solution.

    GSM8K's calculator notes (`<<48/2=24>>`) and the answer after `####` are removed, and a boxed answer is appended if
    there is none. A Countdown problem has no solution, since its answer only states the problem.
    """
    plain = _CALCULATOR.sub("", text).rsplit("####", 1)[0].strip()
    if not plain or known.answer_type is AnswerType.countdown:
        return None
    return plain if last_boxed(plain) else f"{plain}\n\\boxed{{{answer}}}"


def last_boxed(text: str) -> str:
    r"""The content of the last `\boxed{…}`, with nested braces; empty if none is closed."""
    start = text.rfind(_BOXED)
    depth, begin = 1, start + len(_BOXED)
    for place in range(begin, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place]
    return ""


def _check_problems(known: Card, problems: Sequence[Problem], origin: str) -> None:
    """Raise `ConfigError` for an empty text or answer, a repeated id, or a non-integer answer of an integer set."""
    empty = [p.id for p in problems if not p.text.strip() or not p.answer.strip()]
    twice = [one for one, count in Counter(p.id for p in problems).items() if count > 1]
    odd = [p.id for p in problems if known.answer_type is AnswerType.integer and not _INTEGER.fullmatch(p.answer)]
    for found, what in (
        (empty, "an empty problem or answer"),
        (twice, "an id that another problem has too"),
        (odd, "an answer that is no whole number"),
    ):
        if found:
            raise ConfigError(f"{origin}: {len(found)} of {len(problems)} rows have {what} (the first: {found[0]})")


def _is_verified(known: Card, problems: Sequence[Problem], origin: str, unverified: bool, key: str) -> bool:
    found = {"rows": len(problems), "content_sha256": content_sha256(problems)}
    expected = {"rows": known.rows, "content_sha256": known.content_sha256}
    if found == expected:
        return True
    if not unverified:
        raise ConfigError(
            f"{origin}: found {_describe(found)}, expected {_describe(expected)} for {known.title}. Another "
            f"version of the set gives other scores: use the expected one, or set {key}.unverified=true, and every "
            "table will say so"
        )
    return False


def _describe(content: Mapping[str, object]) -> str:
    return f"{content['rows']} problems with content hash {str(content['content_sha256'])[:16]}…"
