"""Stores many runs in two or three small files that can be shipped with a page or a package.

    packed-runs.json        each run's path below the folder, state, step, cause, device and versions
    packed-runs.parquet     evaluations and events as recorded, and some metrics of training steps
    packed-samples.parquet  some of the stored responses

`load_comparison` and `load_sweep` read a folder with these files instead of `runs/` or `trials/`. Metrics of training
steps are those that figures show, rounded to five digits; costs and evaluations are exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.reports.stored_curves import Numbers, numbers_of_table
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.journal import read_journal, read_samples
from sfpo_bench.results.parquet import read_parquet
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.run_tables import CURVES_COLUMNS, SAMPLES_COLUMNS, curve_rows
from sfpo_bench.results.stored_files import read_object, reading, write_atomically

INDEX, CURVES, SAMPLES = "packed-runs.json", "packed-runs.parquet", "packed-samples.parquet"
SCHEMA_VERSION = 1
_PACK_AGAIN = "pack the runs again"
_DIGITS = 5
_KEPT = re.compile(
    r"displacement|fast_slow_cosine|entropy|trigger_z|alpha|learning_rate|reward_mean|correct_share|clip_fraction"
    r"|gradient_norm|groups_without_signal_share|response_tokens_mean|truncated_share|\w+_seconds"
    r"|(fast_\d+|pass_\d+|slow)/(clip_fraction|gradient_norm)"
)
_PROVENANCE = (
    "package_version",
    "code_version",
    "versions",
    "python",
    "device",
    "threads",
    "cpu_model",
    "imported_from",
)


@dataclass(frozen=True, slots=True)
class PackedRun:
    """A packed run; `place` is its path below the source folder, such as `runs/sfpo/seed-0003`."""

    place: str
    status: RunStatus
    provenance: Mapping[str, object]
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class _Entry:
    """A run's entry in the index; `step` is its last step."""

    place: str
    state: RunState
    step: int
    cause: str
    provenance: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Index:
    """Contents of `packed-runs.json`."""

    schema_version: int
    runs: tuple[_Entry, ...]


def is_packed(folder: Path) -> bool:
    """Return True if the runs of `folder` are packed."""
    return (folder / INDEX).is_file()


def read_packed(folder: Path) -> dict[str, PackedRun]:
    """Return the packed runs of `folder` by path; raises `MissingDataError` or `ConfigError` for damaged files."""
    index, curves = folder / INDEX, folder / CURVES
    if not index.is_file() or not curves.is_file():
        raise MissingDataError(f"{folder} holds no packed runs; expected {INDEX} and {CURVES} there")
    about = read_record(_Index, index, _PACK_AGAIN, version=SCHEMA_VERSION)
    with reading(curves, _PACK_AGAIN):
        table = read_parquet(curves, ["run", *CURVES_COLUMNS], categories=["run", "kind", "key"])
        names = table["run"].to_pandas()
        return {one.place: _run(one, table.filter((names == one.place).to_numpy())) for one in about.runs}


def read_packed_samples(folder: Path) -> pd.DataFrame:
    """Return the packed responses with columns `run` and those of `SAMPLES_COLUMNS`; raises `MissingDataError`."""
    if not (folder / SAMPLES).is_file():
        raise MissingDataError(f"{folder} holds no packed responses; expected {SAMPLES} there")
    with reading(folder / SAMPLES, _PACK_AGAIN):
        frame: pd.DataFrame = read_parquet(folder / SAMPLES, ["run", *SAMPLES_COLUMNS]).to_pandas()
        return frame


def pack_runs(source: Path, places: Sequence[str], out: Path, sampled: Sequence[str] = (), steps: int = 3) -> None:
    """Pack the runs at `places` below `source` into `out`; equal runs give equal bytes.

    For runs in `sampled`, also pack the responses of `steps` stored steps, including the first and the last."""
    frames, index, responses = [], [], []
    for place in places:
        folder = RunFolder(source / place)
        frames.append(_curves(folder).assign(run=place))
        index.append(_about(folder, place))
        if place in sampled:
            responses.append(_samples(folder, steps).assign(run=place))
    write_atomically(out / INDEX, to_json(_Index(SCHEMA_VERSION, tuple(index))) + "\n")
    _write(pd.concat(frames, ignore_index=True), {"run": "string", **_kinds(CURVES_COLUMNS)}, out / CURVES)
    stored = [frame for frame in responses if len(frame)]
    if stored:
        _write(pd.concat(stored, ignore_index=True), {"run": "string", **_kinds(SAMPLES_COLUMNS)}, out / SAMPLES)


def _run(one: _Entry, table: object) -> PackedRun:
    status = RunStatus(one.state, one.step, one.step, one.cause)
    return PackedRun(one.place, status, one.provenance, numbers_of_table(table))


def _about(folder: RunFolder, place: str) -> _Entry:
    status = folder.status()
    raw = read_object(folder.provenance) if folder.provenance.is_file() else {}
    kept = {key: raw[key] for key in _PROVENANCE if key in raw}
    return _Entry(place, status.state, status.step, status.cause, kept)


def _curves(folder: RunFolder) -> pd.DataFrame:
    """Return the rows of the run's `curves.parquet` to keep; costs are kept only for evaluations."""
    rows = [row for record in read_journal(folder.journal) for row in curve_rows(record)]
    kept = [row for row in rows if row.kind in ("evaluation", "event") or _KEPT.fullmatch(row.key)]
    columns: dict[str, list[object]] = {
        "step": [row.step for row in kept],
        "kind": [row.kind for row in kept],
        "key": [row.key for row in kept],
        "value": [row.value if row.kind == "evaluation" else float(f"{row.value:.{_DIGITS}g}") for row in kept],
        "time_unix_s": [row.time_unix_s if row.kind == "evaluation" else 0.0 for row in kept],
    }
    for name in Costs.__dataclass_fields__:
        columns[name] = [getattr(row.costs, name) if row.kind == "evaluation" else None for row in kept]
    return pd.DataFrame(columns)


def _samples(folder: RunFolder, steps: int) -> pd.DataFrame:
    records = read_samples(folder.samples)
    stored = sorted({record.step for record in records})
    wanted = {stored[round(i * (len(stored) - 1) / max(1, steps - 1))] for i in range(steps)} if stored else set()
    rows = [{name: getattr(record, name) for name in SAMPLES_COLUMNS} for record in records if record.step in wanted]
    return pd.DataFrame(rows, columns=list(SAMPLES_COLUMNS))


def _kinds(declared: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return {name: stored for name, (stored, _) in declared.items()}


def _write(frame: pd.DataFrame, kinds: Mapping[str, str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = {name: pa.string() if kind == "string" else getattr(pa, kind)() for name, kind in kinds.items()}
    arrays = [
        pa.array([None if pd.isna(value) else value for value in frame[name]], type=kind) for name, kind in made.items()
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(made)), sink, compression="zstd", compression_level=19)
    write_atomically(path, sink.getvalue().to_pybytes())
