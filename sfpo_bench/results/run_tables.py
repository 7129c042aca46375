"""A run's journal and samples as Parquet tables with fixed columns, and as data frames.

`curves.parquet` is in long format, with one row per number. `kind` is the type of its record; `key` is the name of
the number, as in MLflow (where keys of events start with `event.`):

    step         reward_mean, entropy, …                             metrics of a training step
    stage        fast_1/loss, slow/gradient_norm, …                  statistics of a pass
    evaluation   report/sampled/accuracy, …/n, …/truncated, …        an evaluation; grade statuses by name
    event        trigger_fired, trigger_fired.z, …                   1 for the event itself, then its details

Every row has the cost columns, except rows of events, which record no costs.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sfpo_bench.core.costs import COST_TYPES, Costs
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.types import EvaluationRecord, JournalRecord, SampleRecord, StageStats, StepRecord
from sfpo_bench.results.journal import read_journal, read_samples
from sfpo_bench.results.parquet import read_parquet
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import reading, write_atomically

if TYPE_CHECKING:
    import pandas as pd

# Column: (type in the file, type in the frame). Optional integers are Int64 with <NA>.
CURVES_COLUMNS: dict[str, tuple[str, str]] = {
    "step": ("int64", "int64"),
    "kind": ("string", "str"),
    "key": ("string", "str"),
    "value": ("float64", "float64"),
    **{name: ("int64", "Int64") if kind is int else ("float64", "float64") for name, kind in COST_TYPES.items()},
    "time_unix_s": ("float64", "float64"),
}

SAMPLES_COLUMNS: dict[str, tuple[str, str]] = {
    "step": ("int64", "int64"),
    "problem_id": ("string", "str"),
    "problem": ("string", "str"),
    "answer": ("string", "str"),
    "sample": ("int64", "int64"),
    "response": ("string", "str"),
    "response_tokens": ("int64", "int64"),
    "finish_reason": ("string", "str"),
    "extracted": ("string", "str"),
    "status": ("string", "str"),
    "reward": ("float64", "float64"),
    "advantage": ("float64", "float64"),
}


class CurveRow(NamedTuple):
    """One number of the journal; `costs` is None for an event."""

    step: int
    kind: str
    key: str
    value: float
    costs: Costs | None
    time_unix_s: float


def curve_rows(record: JournalRecord) -> Iterator[CurveRow]:
    """Yield every number of a record with its key."""
    if isinstance(record, StepRecord):
        numbers = [("step", key, value) for key, value in record.metrics.items()]
        numbers += [("stage", key, value) for stage in record.stages for key, value in stage_numbers(stage).items()]
    elif isinstance(record, EvaluationRecord):
        numbers = [("evaluation", key, value) for key, value in evaluation_numbers(record).items()]
    else:
        numbers = [("event", record.event, 1.0)]
        numbers += [("event", f"{record.event}.{key}", value) for key, value in record.detail.items()]
    costs = getattr(record, "costs", None)
    for kind, key, value in numbers:
        yield CurveRow(record.step, kind, key, float(value), costs, record.time_unix_s)


def stage_numbers(stage: StageStats) -> dict[str, float]:
    """Return the statistics of a pass by key: `fast_1/loss`, …"""
    return {
        f"{stage.stage}/{field.name}": float(getattr(stage, field.name))
        for field in dataclasses.fields(stage)
        if field.name != "stage"
    }


def evaluation_numbers(record: EvaluationRecord) -> dict[str, float]:
    """Return the numbers of an evaluation by key: `report/sampled/accuracy`, …, and a count per grade status."""
    named = {
        name: getattr(record, name) for name in ("accuracy", "n", "problems", "truncated", "temperature", "seconds")
    }
    return {
        f"{record.split}/{record.mode}/{name}": float(value) for name, value in {**named, **record.statuses}.items()
    }


def write_curves_table(folder: RunFolder, length: int | None = None) -> Path:
    """Write `curves.parquet` from the first `length` bytes of the journal (default: all)."""
    rows = [row for record in read_journal(folder.journal, length) for row in curve_rows(record)]
    columns: dict[str, list[object]] = {
        name: [getattr(row, name) for row in rows] for name in CurveRow._fields if name != "costs"
    }
    for field in dataclasses.fields(Costs):
        columns[field.name] = [None if row.costs is None else getattr(row.costs, field.name) for row in rows]
    _write(folder.curves, CURVES_COLUMNS, columns)
    return folder.curves


def write_samples_table(folder: RunFolder, length: int | None = None) -> Path:
    """Write `samples.parquet` from the first `length` bytes of the stored responses (default: all)."""
    records = read_samples(folder.samples, length)
    fields = [field.name for field in dataclasses.fields(SampleRecord)]
    _write(folder.samples_table, SAMPLES_COLUMNS, {name: [getattr(row, name) for row in records] for name in fields})
    return folder.samples_table


def read_curves_table(folder: RunFolder) -> pd.DataFrame:
    """Return `curves.parquet` as a frame with the columns and types of `CURVES_COLUMNS`."""
    return _read(folder.curves, CURVES_COLUMNS)


def read_samples_table(folder: RunFolder) -> pd.DataFrame:
    """Return `samples.parquet` as a frame with the columns and types of `SAMPLES_COLUMNS`."""
    return _read(folder.samples_table, SAMPLES_COLUMNS)


def _write(path: Path, declared: Mapping[str, tuple[str, str]], columns: Mapping[str, Sequence[object]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        name: pa.string() if stored == "string" else getattr(pa, stored)() for name, (stored, _) in declared.items()
    }
    arrays = [pa.array([_storable(value) for value in columns[name]], type=kind) for name, kind in kinds.items()]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(kinds)), file)
    write_atomically(path, file.getvalue())


def _read(path: Path, declared: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    if not path.is_file():
        raise MissingDataError(f"{path} is not there; a run writes it when it ends: let the run finish, or resume it")
    nullable = {pa.int64(): pd.Int64Dtype()}.get  # keeps missing integers missing and large ones exact
    with reading(path, "remove it and run the command again, which writes it anew from the journal"):
        frame: pd.DataFrame = read_parquet(path, list(declared)).to_pandas(types_mapper=nullable)
        return frame.astype({name: kind for name, (_, kind) in declared.items()})


def _storable(value: object) -> object:
    """Return text as valid UTF-8: a lone surrogate from a tokenizer becomes a visible escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value
