"""Records of a sample log, the same for every program that writes one, and the protocol of a reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class GradesBy(StrEnum):
    """The source of the grades: the log, or the grader of this package."""

    theirs = "theirs"
    ours = "ours"


class PairBy(StrEnum):
    """How the problems of two logs are matched: by the problem's text, or by its name in the logs."""

    text = "text"
    id = "id"


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """One entry of a log: a problem, its responses, and their grades in the log.

    `number` orders the samples of a problem; None: they are in the log's order. `responses` holds several if the log
    grades them together, and none if it stores no text. `golds` are the gold answers. `grades` are shares in [0, 1] by
    name; None: not graded. `answers` are the extracted answers by grade, if the log has them. `text` is the problem, or
    "" if the log does not have it. `tokens` are counts by response.
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
    """The sampling parameters that a log states; None: not stated."""

    engine: str | None = None
    precision: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class SampleLog:
    """The samples of one model on one benchmark. `form` names the program that wrote them, `notes` what is left out."""

    path: Path
    form: str
    benchmark: str
    model: str
    samples: tuple[LoggedSample, ...]
    sampling: LoggedSampling = LoggedSampling()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Beginning:
    """What identifies the format of a file: its first bytes, the names in it if it is a zip or a Parquet file, and its
    first line if that is a JSON object."""

    path: Path
    magic: bytes
    names: frozenset[str]
    fields: Mapping[str, object] | None

    @property
    def found(self) -> str:
        """A description of the file for messages."""
        if self.fields is not None:
            return f"lines of JSON with {_listed(self.fields)}"
        if self.names:
            return f"{'a zip' if self.magic.startswith(b'PK') else 'a Parquet file'} with {_listed(self.names)}"
        return f"a file that begins with {self.magic[:8]!r}" if self.magic else "an empty file"


class SampleLogReader(Protocol):
    """Reader for the logs of one program. For any file, also a malicious one, it uses bounded memory and returns a log
    or raises `ConfigError` that names the file."""

    @property
    def looked_for(self) -> str:
        """A description of what identifies such a log, for messages."""

    def recognises(self, beginning: Beginning) -> bool:
        """Return whether the file has this format, judged by its beginning alone."""

    def read(self, path: Path, cut_last_line: bool) -> SampleLog:
        """Return the log. `cut_last_line` drops an incomplete last line."""


def _listed(names: Mapping[str, object] | frozenset[str]) -> str:
    shown = sorted(names)[:8]
    return ", ".join(one[:60] for one in shown) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"
