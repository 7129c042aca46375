"""Reader for inspect logs: `.eval`, a zip with a header and a JSON file for each sample and epoch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.sample_logs.bounded import json_object, member, opened_zip
from sfpo_bench.evaluation.sample_logs.record import Beginning, LoggedSample, LoggedSampling, SampleLog
from sfpo_bench.evaluation.sample_logs.values import count_of, grade, inside, share_of, text_of, texts_of

_HEADER, _START = "header.json", "_journal/start.json"
_ATTACHED = "attachment://"


class InspectLog:
    """Reader for `.eval` files of inspect. An unfinished log is read up to its last sample."""

    looked_for = "inspect: a zip with header.json or _journal/start.json, and samples/"

    def recognises(self, beginning: Beginning) -> bool:
        return beginning.magic.startswith(b"PK") and bool(beginning.names & {_HEADER, _START})

    def read(self, path: Path, cut_last_line: bool) -> SampleLog:
        """Return the log: every sample of every epoch with the grades of all scorers."""
        with opened_zip(path) as archive:
            names = archive.namelist()
            about = _HEADER if _HEADER in names else _START
            header = json_object(f"{path}, {about}", member(path, archive, about))
            samples = tuple(_samples(path, archive))
        status = text_of(header.get("status"))
        notes = () if status == "success" else (f"{path}: the evaluation was not finished ({status or 'no status'})",)
        return SampleLog(
            path,
            "inspect",
            text_of(inside(header, "eval", "task")) or path.stem,
            text_of(inside(header, "eval", "model")) or "",
            samples,
            _sampling(inside(header, "plan", "config")),
            notes,
        )


def _samples(path: Path, archive: zipfile.ZipFile) -> Iterator[LoggedSample]:
    for name in archive.namelist():
        if name.startswith("samples/") and name.endswith(".json"):
            place = f"{path}, {name}"
            yield _sample(place, json_object(place, member(path, archive, name)))


def _sample(place: str, row: Mapping[str, object]) -> LoggedSample:
    problem, epoch = text_of(row.get("id")), count_of(row.get("epoch"))
    if problem is None or epoch is None:
        raise ConfigError(f"{place}: found no id or no epoch, expected a sample of inspect, which has both")
    attached = row.get("attachments")
    grades, answers = _grades(place, row.get("scores"))
    # inspect grades the first choice only.
    choices = inside(row, "output", "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    response = text_of(inside(first, "message", "content")) or text_of(inside(row, "output", "completion"))
    tokens = count_of(inside(row, "output", "usage", "output_tokens"))
    return LoggedSample(
        place=place,
        problem=problem,
        text=_resolved(_question(row.get("input")), attached),
        number=epoch,
        responses=() if response is None else (_resolved(response, attached),),
        golds=texts_of(row.get("target")),
        grades=grades,
        answers=answers,
        truncated=None if first is None else (inside(first, "stop_reason") in ("max_tokens", "model_length"),),
        tokens=None if tokens is None else (tokens,),
    )


def _question(value: object) -> str:
    """Return the problem text of a sample's input: the input itself, or the user's messages in it."""
    if isinstance(value, list):
        said = [text_of(inside(one, "content")) for one in value if inside(one, "role") == "user"]
        return "\n".join(one for one in said if one)
    return text_of(value) or ""


def _resolved(text: str, attached: object) -> str:
    """Return the text, or the attachment that it refers to: inspect stores long texts separately."""
    if not text.startswith(_ATTACHED):
        return text
    return text_of(inside(attached, text.removeprefix(_ATTACHED))) or text


def _grades(place: str, scores: object) -> tuple[dict[str, float | None], dict[str, str | None]]:
    """Return grades and answers by scorer. A scorer with several values has an entry for each, `scorer/value`."""
    grades: dict[str, float | None] = {}
    answers: dict[str, str | None] = {}
    for name, score in scores.items() if isinstance(scores, Mapping) else ():
        value, answer = inside(score, "value"), text_of(inside(score, "answer"))
        parts = {f"{name}/{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
        for key, one in parts.items():
            part = text_of(key) or ""
            grades[part] = grade(place, part, one)
            if answer is not None:
                answers[part] = answer
    return grades, answers


def _sampling(config: object) -> LoggedSampling:
    return LoggedSampling(
        temperature=share_of(inside(config, "temperature")),
        top_p=share_of(inside(config, "top_p")),
        max_new_tokens=count_of(inside(config, "max_tokens")),
    )
