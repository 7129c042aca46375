"""A run's journal and samples as Parquet tables with declared columns, and back as data frames.

`curves.parquet` is long: one row per number. `kind` says which record it came from; `key` is the name the number has
in MLflow too (where an event has `event.` before it):

    step         reward_mean, entropy, …                             metrics of a training step
    stage        fast_1/loss, slow/gradient_norm, …                  statistics of a pass
    evaluation   report/sampled/accuracy, …/n, …/truncated, …        an evaluation; statuses by their name
    event        trigger_fired, trigger_fired.z, …                   1 for the event itself, then its details

The cost axes stand beside every row but those of events, which record none.
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

# Column: (type in the file, type in the frame). Whole numbers that can be absent are Int64 with <NA>.
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
    """Every number of a record, under its key."""
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
    """The statistics of a pass by key: `fast_1/loss`, …"""
    return {
        f"{stage.stage}/{field.name}": float(getattr(stage, field.name))
        for field in dataclasses.fields(stage)
        if field.name != "stage"
    }


def evaluation_numbers(record: EvaluationRecord) -> dict[str, float]:
    """The numbers of an evaluation by key: `report/sampled/accuracy`, …, one per grade status met."""
    named = {
        name: getattr(record, name) for name in ("accuracy", "n", "problems", "truncated", "temperature", "seconds")
    }
    return {
        f"{record.split}/{record.mode}/{name}": float(value) for name, value in {**named, **record.statuses}.items()
    }


def write_curves_table(folder: RunFolder, length: int | None = None) -> Path:
    """Write `curves.parquet` from the first `length` bytes of the journal (all of it by default)."""
    rows = [row for record in read_journal(folder.journal, length) for row in curve_rows(record)]
    columns: dict[str, list[object]] = {
        name: [getattr(row, name) for row in rows] for name in CurveRow._fields if name != "costs"
    }
    for field in dataclasses.fields(Costs):
        columns[field.name] = [None if row.costs is None else getattr(row.costs, field.name) for row in rows]
    _write(folder.curves, CURVES_COLUMNS, columns)
    return folder.curves


def write_samples_table(folder: RunFolder, length: int | None = None) -> Path:
    """Write `samples.parquet` from the first `length` bytes of the stored responses (all of them by default)."""
    records = read_samples(folder.samples, length)
    fields = [field.name for field in dataclasses.fields(SampleRecord)]
    _write(folder.samples_table, SAMPLES_COLUMNS, {name: [getattr(row, name) for row in records] for name in fields})
    return folder.samples_table


def read_curves_table(folder: RunFolder) -> pd.DataFrame:
    """`curves.parquet` as a frame with the columns and types of `CURVES_COLUMNS`."""
    return _read(folder.curves, CURVES_COLUMNS)


def read_samples_table(folder: RunFolder) -> pd.DataFrame:
    """`samples.parquet` as a frame with the columns and types of `SAMPLES_COLUMNS`."""
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
    nullable = {pa.int64(): pd.Int64Dtype()}.get  # a missing whole number stays missing, a large one exact
    with reading(path, "remove it and run the command again, which writes it anew from the journal"):
        frame: pd.DataFrame = read_parquet(path, list(declared)).to_pandas(types_mapper=nullable)
        return frame.astype({name: kind for name, (_, kind) in declared.items()})


def _storable(value: object) -> object:
    """Text that UTF-8 can hold: a lone surrogate a tokenizer let through becomes a visible escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value
