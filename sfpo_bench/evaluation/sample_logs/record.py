"""A sample log in one form, whichever program wrote it, and what a reader of one kind of log is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class GradesBy(StrEnum):
    """Whose grades scores are made of: those that stand in the log, or the grader of this package."""

    theirs = "theirs"
    ours = "ours"


class PairBy(StrEnum):
    """How problems of two logs are found to be the same: by the text of the problem, or by its name in the logs."""

    text = "text"
    id = "id"


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """One entry of a log: a problem, what was answered to it, and the grades it got there.

    `number` tells the samples of a problem apart; None: they stand in the order of the log. `responses` are several
    where the log grades them together, and none where it keeps no text. `golds` are the answers that count as correct.
    `grades` are shares in [0, 1] by name; None: not graded. `answers` are what those grades took as the answer, where
    the log says so. `text` is the problem as far as the log has it. `tokens` belong to the responses.
    """

    place: str
    problem: str
    text: str
    number: int | None
    responses: tuple[str, ...]
    golds: tuple[str, ...]
    grades: Mapping[str, float | None]
    answers: Mapping[str, str | None] = field(default_factory=dict)
    truncated: tuple[bool, ...] | None = None
    tokens: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class LoggedSampling:
    """How a log says that its samples were drawn; None: it does not say."""

    engine: str | None = None
    precision: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class SampleLog:
    """The samples of one model on one benchmark. `form` says which program wrote it, `notes` what was left out."""

    path: Path
    form: str
    benchmark: str
    model: str
    samples: tuple[LoggedSample, ...]
    sampling: LoggedSampling = LoggedSampling()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a file is recognised by: its first bytes, the names inside it where it is a zip or a Parquet file, and its
    first line where that is a JSON object."""

    path: Path
    magic: bytes
    names: frozenset[str]
    fields: Mapping[str, object] | None

    @property
    def found(self) -> str:
        """What the file is, in words."""
        if self.fields is not None:
            return f"lines of JSON with {_listed(self.fields)}"
        if self.names:
            return f"{'a zip' if self.magic.startswith(b'PK') else 'a Parquet file'} with {_listed(self.names)}"
        return f"a file that begins with {self.magic[:8]!r}" if self.magic else "an empty file"


class SampleLogReader(Protocol):
    """Reads the logs of one program. Files are hostile: whatever stands there, reading is bounded and ends in a log or
    in a `ConfigError` that names the file."""

    @property
    def looked_for(self) -> str:
        """What such a log is recognised by, in words."""

    def recognises(self, beginning: Beginning) -> bool:
        """Whether the file is of this form, from its beginning alone."""

    def read(self, path: Path, cut_last_line: bool) -> SampleLog:
        """The log; `cut_last_line` leaves out a last line that is not whole."""


def _listed(names: Mapping[str, object] | frozenset[str]) -> str:
    shown = sorted(names)[:8]
    return ", ".join(one[:60] for one in shown) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"
