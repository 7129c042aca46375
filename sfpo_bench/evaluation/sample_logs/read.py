"""Choose the reader of a sample log by the content of the file, not by its name."""

from __future__ import annotations

from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.evaluation.sample_logs.bounded import first_object, opened_zip
from sfpo_bench.evaluation.sample_logs.gold_and_prediction import GoldAndPrediction
from sfpo_bench.evaluation.sample_logs.inspect_log import InspectLog
from sfpo_bench.evaluation.sample_logs.lighteval_log import LightevalLog
from sfpo_bench.evaluation.sample_logs.lm_eval_log import LmEvalLog
from sfpo_bench.evaluation.sample_logs.record import Beginning, SampleLog, SampleLogReader
from sfpo_bench.results.parquet import column_names
from sfpo_bench.results.stored_files import reading

# Tried in this order: the most specific format first.
READERS: tuple[SampleLogReader, ...] = (InspectLog(), LightevalLog(), LmEvalLog(), GoldAndPrediction())
_SUFFIXES = (".eval", ".jsonl", ".parquet")


def read_sample_logs(place: Path, cut_last_line: bool = False) -> list[SampleLog]:
    """Return the log in a file, or all logs below a folder (files named .eval, .jsonl or .parquet).

    Raises `MissingDataError` if there is none, and `ConfigError` for an unknown format or a file without samples.
    """
    if place.is_dir():
        files = sorted(path for path in place.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
        if not files:
            raise MissingDataError(f"{place} holds no sample log: found no file named {', '.join(_SUFFIXES)} below it")
        return [_read(path, cut_last_line) for path in files]
    if not place.is_file():
        raise MissingDataError(f"{place} is not there; expected a sample log or a folder with sample logs")
    return [_read(place, cut_last_line)]


def _read(path: Path, cut_last_line: bool) -> SampleLog:
    with reading(path, "bring the whole file, as its program wrote it"):
        beginning = beginning_of(path)
        reader = next((one for one in READERS if one.recognises(beginning)), None)
        if reader is None:
            known = "; ".join(one.looked_for for one in READERS)
            raise ConfigError(f"{path} is not a known sample log: found {beginning.found}. Looked for {known}")
        log = reader.read(path, cut_last_line)
    if not log.samples:
        raise ConfigError(f"{path} holds no sample ({log.form}); expected at least one")
    return log


def beginning_of(path: Path) -> Beginning:
    """Return what identifies the format of a file. Raises `ConfigError` for a damaged zip or Parquet file."""
    with open(path, "rb") as handle:
        magic = handle.read(8)
    if magic.startswith(b"PK\x03\x04"):
        with opened_zip(path) as archive:
            return Beginning(path, magic, frozenset(archive.namelist()), None)
    if magic.startswith(b"PAR1"):
        return Beginning(path, magic, column_names(path), None)
    return Beginning(path, magic, frozenset(), first_object(path))
