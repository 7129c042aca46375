"""Reader for lm-evaluation-harness logs: `samples_TASK_DATE.jsonl`, a line for each problem and filter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.sample_logs.bounded import json_lines
from sfpo_bench.evaluation.sample_logs.record import Beginning, LoggedSample, LoggedSampling, SampleLog
from sfpo_bench.evaluation.sample_logs.values import count_of, grade, inside, share_of, text_of, texts_of

_FIELDS = frozenset({"doc_id", "doc", "target", "resps", "filtered_resps"})
_NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?")
# Names of the problem text among a task's own fields. The prompt in `arguments` differs between models.
_PROBLEM = ("problem", "question", "query", "input", "prompt", "text")


class LmEvalLog:
    """Reader for the samples of lm-evaluation-harness. Lines that differ only in their filter form one sample."""

    looked_for = f"lm-evaluation-harness: lines of JSON with {', '.join(sorted(_FIELDS))}"

    def recognises(self, beginning: Beginning) -> bool:
        return beginning.fields is not None and set(beginning.fields) >= _FIELDS

    def read(self, path: Path, cut_last_line: bool) -> SampleLog:
        """Return the log: one sample for each problem, with a grade for each metric and filter (`metric,filter`)."""
        found: dict[str, LoggedSample] = {}
        sampling = LoggedSampling()
        for place, row in json_lines(path, cut_last_line):
            one = _sample(place, row)
            before = found.get(one.problem)
            found[one.problem] = one if before is None else _joined(before, one)
            sampling = _sampling(row) if before is None and not found.keys() - {one.problem} else sampling
        named = _NAME.fullmatch(path.stem)
        task = named["task"] if named else path.stem.removeprefix("samples_")
        return SampleLog(path, "lm-evaluation-harness", task, path.parent.name, tuple(found.values()), sampling)


def _sample(place: str, row: Mapping[str, object]) -> LoggedSample:
    if lacking := _FIELDS - row.keys():
        raise ConfigError(f"{place}: found no {', '.join(sorted(lacking))}; expected a sample of lm-evaluation-harness")
    problem = text_of(row["doc_id"])
    if problem is None:
        raise ConfigError(f"{place}: doc_id is {row['doc_id']!r:.80}, expected a number or a text")
    filtered, metrics = text_of(row.get("filter")) or "none", row.get("metrics")
    listed = texts_of(metrics)
    names = {f"{one},{filtered}": row.get(one) for one in listed if _is_scalar(row.get(one))}
    answer = texts_of(row["filtered_resps"])
    doc = row["doc"]
    text = next((found for key in _PROBLEM if (found := text_of(inside(doc, key)))), _prompt(row))
    gold = text_of(row["target"])
    return LoggedSample(
        place=place,
        problem=problem,
        text=text,
        number=None,
        responses=_responses(row["resps"]),
        golds=() if gold is None else (gold,),
        grades={name: grade(place, name, value) for name, value in names.items()},
        answers=dict.fromkeys(names, answer[0]) if len(answer) == 1 else {},
    )


def _joined(before: LoggedSample, after: LoggedSample) -> LoggedSample:
    """Return a problem's sample with the grades of another filter added. Raises `ConfigError` for a duplicate line."""
    if twice := sorted(before.grades.keys() & after.grades.keys()) or before.responses != after.responses:
        what = ", ".join(twice) if isinstance(twice, list) else "other responses"
        raise ConfigError(
            f"{after.place}: the problem {after.problem} occurs twice with {what} (the first is "
            f"{before.place.rpartition(', ')[2]}); expected every problem once for each filter. Take one of them out"
        )
    return replace(before, grades={**before.grades, **after.grades}, answers={**before.answers, **after.answers})


def _responses(resps: object) -> tuple[str, ...]:
    """Return the generated texts. There are none if the problem has several requests, as with likelihoods."""
    requests: Sequence[object] = resps if isinstance(resps, list) else []
    return texts_of(requests[0]) if len(requests) == 1 else ()


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float))


def _prompt(row: Mapping[str, object]) -> str:
    return text_of(inside(row.get("arguments"), "gen_args_0", "arg_0")) or ""


def _sampling(row: Mapping[str, object]) -> LoggedSampling:
    asked = inside(row.get("arguments"), "gen_args_0", "arg_1")
    return LoggedSampling(
        temperature=share_of(inside(asked, "temperature")),
        top_p=share_of(inside(asked, "top_p")),
        max_new_tokens=count_of(inside(asked, "max_gen_toks")),
    )
