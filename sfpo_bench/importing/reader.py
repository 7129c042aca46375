"""The protocol of a log reader, which recognizes a file by its contents and reads it into `RunLog`s.

`readers.py` holds the table of readers. A new one is a module with such a class, and a line in that table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import Decimal, RunLog
from sfpo_bench.importing.naming import Names


class Separator(StrEnum):
    """Separator between the cells of a row."""

    comma = "comma"
    semicolon = "semicolon"
    tab = "tab"

    @property
    def character(self) -> str:
        return {"comma": ",", "semicolon": ";", "tab": "\t"}[self.value]


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Format of a file. `cut_last_line`: drop its last line or record if it is incomplete."""

    separator: Separator = Separator.comma
    decimal: Decimal = Decimal.point
    cut_last_line: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What the user states about a log: `arm` is the arm it is listed under, `seed` its position among that arm's logs.

    They are empty and None for a log that is given alone."""

    names: Names = field(default_factory=Names)
    form: TextFormat = field(default_factory=TextFormat)
    arm: str = ""
    seed: int | None = None


class Reader(Protocol):
    """Reader for one kind of log.

    `kind` is its name in messages, and `looked_for` describes what identifies such a file. `preset` has the names that
    the kind uses by default. `settings` are the settings of the verb that this reader uses but not every reader does.
    `in_folders`: a folder of such files may be given instead of one file.
    """

    kind: str
    looked_for: str
    preset: Preset
    settings: frozenset[str]
    in_folders: bool

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return True if the file is of this kind; `head` is its beginning."""
        ...

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        """Return the runs in `files`, which are `root` itself or files in that folder.

        Raises `ConfigError`, with the place, for damaged files, and `MissingDataError` if a required library is
        missing."""
        ...
