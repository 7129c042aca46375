"""Cards of problem sets: source, expected content and grading of answers.

One YAML file per set in `evaluations/benchmarks` and `evaluations/training_sets`; the file's name is the set's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.core.errors import ConfigError, did_you_mean
from sfpo_bench.core.resources import carried
from sfpo_bench.core.yaml_files import read_yaml

Entry = TypeVar("Entry")

KINDS = ("benchmarks", "training_sets")


class AnswerType(StrEnum):
    """How responses are graded: as mathematics, with integer gold answers, or as a Countdown equation."""

    mathematics = "mathematics"
    integer = "integer"
    countdown = "countdown"


class AnswerForm(StrEnum):
    r"""The location of the gold answer in a hub column.

    `text` is the whole text, `after_hashes` after `####`, `last_boxed` the last `\boxed{}`, `first_of_list` a list's
    first element.
    """

    text = "text"
    after_hashes = "after_hashes"
    last_boxed = "last_boxed"
    first_of_list = "first_of_list"


@dataclass
class HubPlace:
    """A data set of the Hugging Face hub; an empty `name` means that no hub copy in this form is known."""

    name: str = ""
    config: str = ""
    split: str = "test"
    revision: str = "main"
    problem_column: str = "problem"
    answer_column: str = "answer"
    answer_form: AnswerForm = AnswerForm.text


@dataclass
class LabelError:
    """A gold answer that is wrong, doubtful, or unreadable for the grader."""

    id: str = MISSING
    note: str = MISSING


@dataclass
class Card:
    """The card of a problem set.

    `content_sha256` is `canonical.content_sha256` of its problems. `tolerance` is the accepted absolute difference from
    the gold number (0: the grader's rules for decimals), and `tolerances` are exceptions by problem id. `released` is
    when the problems became public, year first.
    """

    name: str = MISSING
    title: str = MISSING
    rows: int = MISSING
    content_sha256: str = MISSING
    answer_type: AnswerType = MISSING
    tolerance: float = 0.0
    tolerances: dict[str, float] = field(default_factory=dict)
    prompt: str = "boxed"
    released: str = MISSING
    licence: str = MISSING
    hub: HubPlace = field(default_factory=HubPlace)
    label_errors: list[LabelError] = field(default_factory=list)
    notes: str = ""

    def tolerance_of(self, problem_id: str) -> float:
        """The tolerance of one problem."""
        return self.tolerances.get(problem_id, self.tolerance)


def read_entry(path: Path, schema: type[Entry]) -> Entry:
    """The typed content of a YAML file of `evaluations/`; raises `ConfigError` with the file and key."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), {"name": path.stem}, read_yaml(path))
        return cast(Entry, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {str(error.msg or error).splitlines()[0]} ({error.full_key})") from error


def named_file(kinds: tuple[str, ...], name: str, what: str, setting: str = "") -> Path:
    """The YAML file of a named entry; raises `ConfigError` with the known names, and with the setting if given."""
    known = {path.stem: path for kind in kinds for path in sorted((carried("evaluations") / kind).glob("*.yaml"))}
    if name not in known:
        hint = did_you_mean(name, known)
        place = f"{setting} = " if setting else ""
        raise ConfigError(f"{place}{name!r} is not {what}; {hint}expected one of {', '.join(known)}")
    return known[name]


@cache
def card(name: str) -> Card:
    """The card of a benchmark or training set; raises `ConfigError` for an unknown name."""
    return read_entry(named_file(KINDS, name, "a set of problems"), Card)


def known_sets(kind: str) -> list[str]:
    """The names of all `benchmarks`, `training_sets`, `suites` or `prompts`, sorted."""
    return sorted(path.stem for path in (carried("evaluations") / kind).glob("*.yaml"))
