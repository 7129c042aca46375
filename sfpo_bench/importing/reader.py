"""What a reader of a kind of log is: it recognises a file by its content and reads it into `RunLog`s.

`readers.py` holds the table of them. A new kind is a module with such a class, and its line in that table.
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
    """What stands between the cells of a row."""

    comma = "comma"
    semicolon = "semicolon"
    tab = "tab"

    @property
    def character(self) -> str:
        return {"comma": ",", "semicolon": ";", "tab": "\t"}[self.value]


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is written. `cut_last_line`: leave its last line or record out where it is not whole."""

    separator: Separator = Separator.comma
    decimal: Decimal = Decimal.point
    cut_last_line: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What is told of a log by who imports it. `arm` is the one that the log is given under, and `seed` its place among
    the logs of that arm; empty and None for a log that is given alone."""

    names: Names = field(default_factory=Names)
    form: Form = field(default_factory=Form)
    arm: str = ""
    seed: int | None = None


class Reader(Protocol):
    """One kind of log.

    `kind` names it in messages and `looked_for` is what a file of that kind shows. `preset` holds the names that the
    kind uses where none is chosen. `settings` are those settings of the verb that it reads and not every kind does.
    `in_folders`: a folder of such files may be given in their place.
    """

    kind: str
    looked_for: str
    preset: Preset
    settings: frozenset[str]
    in_folders: bool

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the file is of this kind; `head` is its beginning."""
        ...

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        """The runs in `files`, which are `root` itself or lie in that folder; raises `ConfigError`, with the place, for
        what is damaged, and `MissingDataError` without the library that reads the kind."""
        ...
