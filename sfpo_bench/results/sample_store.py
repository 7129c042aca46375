"""Storage of evaluation samples in Parquet files that are written atomically and never changed.

EVALUATION/                 one model (`evaluation`)
  SAMPLING/                 one sampling configuration, named by 12 digits of its hash
    sampling.json           engine, precision, temperature, top-p, token limit, seed
    server.json             with rollout=openai: the server that the samples are from
    parts/000000.parquet …  samples as they were generated, never changed
    samples.parquet         the samples of the last evaluation with their grades: `GRADED_COLUMNS`
    scores.json, scores.csv, table.md, table.tex
    journal.jsonl …         the scores as records for MLflow
    lock                    file lock of the process that evaluates
    append.lock             file lock while a part is written
    shares/                 work of several generating processes (`share`)
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sfpo_bench.core.file_lock import take_lock
from sfpo_bench.core.types import FinishReason, GradeStatus
from sfpo_bench.results.identity import Identity
from sfpo_bench.results.names import SAMPLES_TABLE
from sfpo_bench.results.parquet import read_parquet
from sfpo_bench.results.stored_files import reading, write_atomically

_REMEDY = "remove it and evaluate again: what it held is made anew"
SAMPLE_COLUMNS = {
    "benchmark": "string",
    "problem_id": "string",
    "problem_key": "string",
    "prompt_sha256": "string",
    "sample": "int64",
    "seed": "uint64",
    "text": "string",
    "tokens": "int64",
    "finish_reason": "string",
}
GRADED_COLUMNS = {
    **SAMPLE_COLUMNS,
    "gold": "string",
    "extracted": "string",
    "rule": "string",
    "status": "string",
    "answer_class": "int64",
    "grader": "string",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One response. `seed` is the key of its sampling noise (vLLM gets its upper 63 bits, a server of OpenAI's API the
    upper 31); `tokens` includes the end-of-sequence token, and is None where a server did not count them."""

    benchmark: str
    problem_id: str
    problem_key: str
    prompt_sha256: str
    sample: int
    seed: int
    text: str
    tokens: int | None
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class GradedSample:
    """A response with its grade.

    `answer_class` is 0 for a correct answer, 1, 2, … for other answers of the same problem (equal answers share a
    number), and -1 for no answer. `grader` is the version of the grader.
    """

    sample: Sample
    gold: str
    extracted: str | None
    rule: str
    status: GradeStatus
    answer_class: int
    grader: str


@dataclass(frozen=True, slots=True)
class SamplingIdentity:
    """A sampling configuration. Samples are interchangeable only if all of these values are equal."""

    model_sha256: str
    engine: str
    precision: str
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int

    @property
    def digest(self) -> str:
        """Return the first 12 hexadecimal digits of the hash, which name the folder."""
        return Identity.of(asdict(self)).digest[:12]


@dataclass(frozen=True, slots=True)
class SampleStore:
    """The samples of one model in one sampling configuration; creating the object does no I/O."""

    path: Path

    @property
    def parts(self) -> Path:
        return self.path / "parts"

    @property
    def shares(self) -> Path:
        return self.path / "shares"

    def share(self, number: int) -> Path:
        """Return the folder of a share of the evaluation, which another process generates."""
        return self.shares / f"{number:04d}"

    @classmethod
    def of_share(cls, folder: Path) -> SampleStore:
        """Return the store that the samples of a share are written to."""
        return cls(folder.parents[1])

    @property
    def graded_file(self) -> Path:
        return self.path / SAMPLES_TABLE

    @property
    def identity_file(self) -> Path:
        return self.path / "sampling.json"

    @property
    def server_file(self) -> Path:
        return self.path / "server.json"

    def append(self, samples: Sequence[Sample]) -> None:
        """Write a new part atomically; safe for several processes at once."""
        content = _parquet(SAMPLE_COLUMNS, [_row(one) for one in samples])
        self.parts.mkdir(parents=True, exist_ok=True)
        with open(self.path / "append.lock", "ab") as handle:
            take_lock(handle)
            number = max((int(path.stem) for path in self.parts.glob("*.parquet")), default=-1) + 1
            write_atomically(self.parts / f"{number:06d}.parquet", content)

    def samples(self) -> list[Sample]:
        """Return every sample generated here, in the order of writing."""
        found: list[Sample] = []
        for path in sorted(self.parts.glob("*.parquet")):
            with reading(path, _REMEDY):
                found += [_sample(row) for row in _rows(path, SAMPLE_COLUMNS)]
        return found

    def write_graded(self, graded: Sequence[GradedSample]) -> None:
        """Replace `samples.parquet`."""
        write_atomically(self.graded_file, _parquet(GRADED_COLUMNS, [_graded_row(one) for one in graded]))

    def graded(self) -> list[GradedSample]:
        """Return the contents of `samples.parquet`, or an empty list if it does not exist yet."""
        if not self.graded_file.exists():
            return []
        with reading(self.graded_file, _REMEDY):
            return [_graded(row) for row in _rows(self.graded_file, GRADED_COLUMNS)]


def _row(sample: Sample) -> dict[str, object]:
    row: dict[str, object] = asdict(sample)
    # UTF-8 cannot hold a lone surrogate from a tokenizer; write a visible escape.
    return {**row, "text": _storable(sample.text), "finish_reason": sample.finish_reason.value}


def _graded_row(graded: GradedSample) -> dict[str, object]:
    own = {field.name: getattr(graded, field.name) for field in fields(graded) if field.name != "sample"}
    extracted = None if graded.extracted is None else _storable(graded.extracted)
    return {**_row(graded.sample), **own, "extracted": extracted, "status": graded.status.value}


def _sample(row: Mapping[str, Any]) -> Sample:
    content = {name: row[name] for name in SAMPLE_COLUMNS}
    return Sample(**{**content, "finish_reason": FinishReason(row["finish_reason"])})


def _graded(row: Mapping[str, Any]) -> GradedSample:
    names = ("gold", "extracted", "rule", "answer_class", "grader")
    return GradedSample(_sample(row), status=GradeStatus(row["status"]), **{name: row[name] for name in names})


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parquet(columns: Mapping[str, str], rows: Iterable[Mapping[str, object]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed = list(rows)
    kinds = {name: getattr(pa, kind)() for name, kind in columns.items()}
    arrays = [pa.array([row[name] for row in listed], type=kind) for name, kind in kinds.items()]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(kinds)), buffer)
    return buffer.getvalue()


def _rows(path: Path, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_parquet(path, list(columns)).to_pylist()
    return rows
