"""The design of a study: which arms it compares, which parts it has beside tuning and comparison, what it leaves.

Every study tunes its arms and compares them at what was found. A design says the rest. The packaged ones stand in
`designs.py`; `suite.py` is the one that a study has unless `study.design` names another.
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
    """What a part of a design is given: the study, and what the parts before it left."""

    @property
    def study(self) -> Study: ...

    @property
    def arms(self) -> Sequence[Arm]:
        """The arms that are compared, at what the tuning chose for them."""

    @property
    def runs(self) -> Sequence[PlannedRun]:
        """Their runs, one for each seed, in the study's comparison."""

    def record(self, part: str) -> PartRecord:
        """The record of a part that is done."""

    def tuned(self) -> list[Tuned]:
        """What the tuning found; empty without one."""

    def versions(self) -> Mapping[str, object]:
        """The versions of the code that made each part, that of the part under way included."""

    def evaluated(self, asked: Sequence[EvaluateSettings]) -> list[Evaluation]:
        """Evaluations of these settings, in their order; what is there is not sampled again."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a design: `do` makes its result from those of the parts in `upstream`. One before the tuning
    is done again whenever the part is that `again_with` names."""

    name: str
    upstream: tuple[str, ...]
    do: Callable[[DoneSoFar], Done]
    again_with: str = ""


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What a study leaves to look at. `first` is the page to read first, `named` what the command names beside it,
    `stored` what the tracking store gets, with `numbers` as its metrics."""

    first: Path
    named: Mapping[str, Path] = field(default_factory=dict)
    stored: Sequence[Path] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


class StudyDesign(Protocol):
    """What one kind of study adds to tuning and comparison. Its `before` come ahead of the tuning, its `after` behind
    the comparison; the last part of `after` writes the report."""

    @property
    def before(self) -> tuple[Part, ...]: ...

    @property
    def after(self) -> tuple[Part, ...]: ...

    def check(self, config: RunConfig) -> None:
        """Raise `ConfigError` for settings under which a part of the design could not work."""

    def arms(self, config: RunConfig, config_name: str, overrides: Sequence[str]) -> Mapping[str, ArmSettings]:
        """The arms that are tuned; `config` was composed of `overrides`. Called inside a Hydra application."""

    def compared(self, config: RunConfig, tuned: Mapping[str, ArmSettings]) -> Mapping[str, ArmSettings]:
        """The arms that are compared, from those that were tuned, at what was found for them."""

    def settings(self, study: Study) -> Mapping[str, Settings]:
        """The settings that the result of each of its parts follows from. What stands under `tune` and `compare` is
        added to what those have in every study."""

    def check_inputs(self, study: Study) -> None:
        """Raise for data that the design's own parts lack, before anything is trained."""

    def report(self, study: Study) -> StudyReport:
        """What the last part has left."""


@runtime_checkable
class Described(Protocol):
    """What a design may offer beside `StudyDesign`: itself in words, for a look before anything is trained."""

    def described(self, study: Study) -> Sequence[Block]:
        """Cells, seeds, what was left out, the estimated time."""
        ...
