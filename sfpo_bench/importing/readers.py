"""The table of log readers, and the selection of the reader for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.csv_log import CsvFile
from sfpo_bench.importing.json_log import JsonFile, PrimeRlFile
from sfpo_bench.importing.log import RunLog
from sfpo_bench.importing.mllog_runs import MlperfLog
from sfpo_bench.importing.reader import Given, Reader
from sfpo_bench.importing.tensorboard_log import TensorBoardFolder
from sfpo_bench.importing.trackio_log import TrackioProject
from sfpo_bench.importing.wandb_export import WandbChart
from sfpo_bench.importing.wandb_log import WandbFolder

# The first reader that recognizes a file is used; the most specific ones come first.
READERS: tuple[Reader, ...] = (
    WandbFolder(),
    TensorBoardFolder(),
    TrackioProject(),
    MlperfLog(),
    PrimeRlFile(),
    JsonFile(),
    WandbChart(),
    CsvFile(),
)
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log, its files, and its reader."""

    root: Path
    files: tuple[Path, ...]
    reader: Reader

    def runs(self, given: Given) -> list[RunLog]:
        """Return its runs; see `Reader.runs`."""
        return self.reader.runs(self.root, self.files, given)


def recognised(path: Path, readers: Sequence[Reader] = READERS) -> LogSource:
    """Return the source for a file, or for the logs in a folder.

    Raises `MissingDataError` if the path does not exist, and `ConfigError` for a file that no reader recognizes, with
    what was looked for, and for a folder with several kinds of logs.
    """
    if path.is_file():
        reader = _reader_of(path, readers)
        if reader is None:
            raise ConfigError(f"{path} is of no kind of log that is known; looked for {_looked_for(readers)}")
        return LogSource(path, (path,), reader)
    if not path.is_dir():
        raise MissingDataError(f"{path} is not there; expected a log: {', '.join(one.kind for one in readers)}")
    in_folders = [one for one in readers if one.in_folders]
    found: dict[str, list[Path]] = {}
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        if (reader := _reader_of(file, in_folders)) is not None:
            found.setdefault(reader.kind, []).append(file)
    if len(found) != 1:
        what = " and ".join(found) if found else "no log"
        raise ConfigError(
            f"{path} is a folder with {what}; expected logs of one kind, in folders one of {_looked_for(in_folders)}; "
            "other logs are given file by file: files.ARM=[LOG,…]"
        )
    [(kind, files)] = found.items()
    return LogSource(path, tuple(files), next(one for one in in_folders if one.kind == kind))


def _reader_of(path: Path, readers: Sequence[Reader]) -> Reader | None:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return next((one for one in readers if one.recognises(path, head)), None)


def _looked_for(readers: Sequence[Reader]) -> str:
    return "; ".join(f"{one.kind} ({one.looked_for})" for one in readers)
