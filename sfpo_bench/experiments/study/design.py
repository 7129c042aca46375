"""The protocol of a study's design: its arms, its parts beside tuning and comparison, and its report.

Every study tunes its arms and compares them at the tuned settings. A design adds the rest. The packaged designs are
listed in `designs.py`. The default is the one in `suite.py`; `study.design` selects another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sfpo_bench.experiments.study.ledger import Done
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import RunConfig

if TYPE_CHECKING:
    from sfpo_bench.evaluation.record import Evaluation
    from sfpo_bench.experiments.comparison.arms import Arm, PlannedRun
    from sfpo_bench.experiments.study.plan import Study
    from sfpo_bench.experiments.sweep.tune import Tuned
    from sfpo_bench.reports.document import Block
    from sfpo_bench.results.study import PartRecord
    from sfpo_bench.settings.evaluation import EvaluateSettings

Settings = dict[str, object]


class DoneSoFar(Protocol):
    """The input of a part: the study, and the results of the earlier parts."""

    @property
    def study(self) -> Study: ...

    @property
    def arms(self) -> Sequence[Arm]:
        """The compared arms, with their tuned settings."""

    @property
    def runs(self) -> Sequence[PlannedRun]:
        """The runs of these arms in the study's comparison, one for each seed."""

    def record(self, part: str) -> PartRecord:
        """Return the record of a finished part."""

    def tuned(self) -> list[Tuned]:
        """Return the results of the tuning; empty for a study without tuning."""

    def versions(self) -> Mapping[str, object]:
        """Return the version of the code that made each part, including the current one."""

    def evaluated(self, asked: Sequence[EvaluateSettings]) -> list[Evaluation]:
        """Return the evaluations of these settings in order; existing samples are not generated again."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a design: `do` makes its result from those of the parts in `upstream`.

    A part before the tuning is repeated whenever the part named by `again_with` is repeated.
    """

    name: str
    upstream: tuple[str, ...]
    do: Callable[[DoneSoFar], Done]
    again_with: str = ""


@dataclass(frozen=True, slots=True)
class StudyReport:
    """The files of a study's report.

    `first` is the page to read first. The command also prints the paths in `named`. `stored` and, as metrics, `numbers`
    are uploaded to the tracking store.
    """

    first: Path
    named: Mapping[str, Path] = field(default_factory=dict)
    stored: Sequence[Path] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


class StudyDesign(Protocol):
    """The parts of one kind of study beside tuning and comparison.

    The parts in `before` run before the tuning, those in `after` after the comparison. The last of `after` writes the
    report.
    """

    @property
    def before(self) -> tuple[Part, ...]: ...

    @property
    def after(self) -> tuple[Part, ...]: ...

    def check(self, config: RunConfig) -> None:
        """Raise `ConfigError` for settings with which a part of the design would fail."""

    def arms(self, config: RunConfig, config_name: str, overrides: Sequence[str]) -> Mapping[str, ArmSettings]:
        """Return the arms to tune. `config` was composed from `overrides`. Call it inside a Hydra application."""

    def compared(self, config: RunConfig, tuned: Mapping[str, ArmSettings]) -> Mapping[str, ArmSettings]:
        """Return the arms to compare, derived from the tuned arms and their tuned settings."""

    def settings(self, study: Study) -> Mapping[str, Settings]:
        """Return the settings that determine the result of each part. Those under `tune` and `compare` are added to the
        settings that these parts have in every study."""

    def check_inputs(self, study: Study) -> None:
        """Raise before the training starts if data for the design's own parts is missing."""

    def report(self, study: Study) -> StudyReport:
        """Return the report that the last part wrote."""


@runtime_checkable
class Described(Protocol):
    """Optional method of a design: a description to read before the training starts."""

    def described(self, study: Study) -> Sequence[Block]:
        """Return blocks with the cells, the seeds, what is left out, and the estimated time."""
        ...
