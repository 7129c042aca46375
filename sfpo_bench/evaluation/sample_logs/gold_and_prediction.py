"""JSON lines with a gold answer and a prediction: the format of Qwen's mathematics evaluation and of many others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.sample_logs.bounded import json_lines
from sfpo_bench.evaluation.sample_logs.record import Beginning, LoggedSample, SampleLog
from sfpo_bench.evaluation.sample_logs.values import count_of, grade, text_of, texts_of

# If a line has several of these, the first is used. Qwen writes `gt`, responses as `code`, answers as `pred`.
_GOLDS = ("gt", "gold", "ground_truth", "expected_answer", "reference_answer", "target", "answer")
_RESPONSES = (
    *("code", "response", "responses", "completion", "completions", "generation", "generations"),
    *("model_output", "output", "outputs"),
)
_ANSWERS = ("pred", "preds", "prediction", "predictions", "extracted_answer", "model_answer")
_GRADES = ("score", "scores", "correct", "is_correct", "grade", "grades", "acc", "accuracy")
_PROBLEMS = ("idx", "id", "problem_id", "question_id", "unique_id", "uid")
_TEXTS = ("question", "problem", "query", "prompt", "input")
_NUMBERS = ("sample", "epoch", "repeat")
_BENCHMARKS = ("benchmark", "data_name", "dataset", "task")


class GoldAndPrediction:
    """Reader for lines with a gold answer and one or several predictions. A problem may have several lines."""

    looked_for = (
        f"lines of JSON with a gold answer ({', '.join(_GOLDS)}) and a response or a prediction "
        f"({', '.join((*_RESPONSES, *_ANSWERS))})"
    )

    def recognises(self, beginning: Beginning) -> bool:
        names = set(beginning.fields or ())
        return bool(names & set(_GOLDS) and names & {*_RESPONSES, *_ANSWERS})

    def read(self, path: Path, cut_last_line: bool) -> SampleLog:
        """Return the log: one sample for each response if each has its own grade, else one for each line."""
        samples: list[LoggedSample] = []
        benchmarks: dict[str, str] = {}
        named: dict[bool, str] = {}
        for place, row in json_lines(path, cut_last_line):
            benchmarks.setdefault(text_of(_first(row, _BENCHMARKS)) or "", place)
            named.setdefault(text_of(_first(row, _PROBLEMS)) is not None, place)
            samples += _samples(place, len(samples), row)
        if len(benchmarks) > 1:
            names, places = list(benchmarks), list(benchmarks.values())
            raise ConfigError(
                f"{places[1]}: the benchmark is {names[1]!r}, and {names[0]!r} in {places[0]}; expected one in a file: "
                "write a file for each"
            )
        if len(named) > 1:
            raise ConfigError(
                f"{named[False]}: found none of {', '.join(_PROBLEMS)}, which {named[True]} has; expected the "
                "name of the problem on every line, or on none"
            )
        return SampleLog(path, "gold and prediction", next(iter(benchmarks), "") or path.stem, "", tuple(samples))


def _samples(place: str, before: int, row: Mapping[str, object]) -> list[LoggedSample]:
    golds = texts_of(_first(row, _GOLDS))
    answers = texts_of(_first(row, _ANSWERS))
    responses = texts_of(_first(row, _RESPONSES)) or answers
    if not golds or not responses:
        lacking = "gold answer" if not golds else "response"
        raise ConfigError(f"{place}: found no {lacking} in {', '.join(sorted(row))[:200]}; expected one on every line")
    problem, number = text_of(_first(row, _PROBLEMS)), count_of(_first(row, _NUMBERS))
    whole = LoggedSample(
        place=place,
        problem=problem if problem is not None else str(before),
        text=text_of(_first(row, _TEXTS)) or "",
        number=number,
        responses=responses,
        golds=golds,
        grades={},
    )
    name = next((one for one in _GRADES if one in row), "")
    value = row.get(name)
    listed: Sequence[object] = value if isinstance(value, list) else [value]
    if len(listed) != len(responses):
        return [_replaced(whole, responses, {name: grade(place, name, value)} if name else {}, answers)]
    return [
        _replaced(
            whole,
            (response,),
            {name: grade(place, name, listed[at])} if name else {},
            answers[at : at + 1] if len(answers) == len(responses) else (),
        )
        for at, response in enumerate(responses)
    ]


def _replaced(
    whole: LoggedSample, responses: tuple[str, ...], grades: Mapping[str, float | None], answers: tuple[str, ...]
) -> LoggedSample:
    known = dict.fromkeys(grades, answers[0] or None) if len(answers) == 1 == len(responses) else {}
    return LoggedSample(whole.place, whole.problem, whole.text, whole.number, responses, whole.golds, grades, known)


def _first(row: Mapping[str, object], names: Sequence[str]) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)
