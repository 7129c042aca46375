"""The folder of a sweep: its files, its plan, and a readable copy of its trials.

SWEEP/                              results/sweeps/NAME, or STUDY/sweeps/NAME
  sweep.json                        `SweepPlan`, written before the first trial
  trials.json                       `TrialsRecord`: a copy of every trial with its state, readable without Optuna or
                                    its database
  status.json                       the sweep's state, as in the folder of a run; its steps are trials
  study.log                         the Optuna study, unless it is in a database
  claim.lock                        file lock while trials are claimed and ended
  trials/trial-0007/seed-0100/      one run (`run_folder`) per trial and seed; absent if runs are stored packed
  report.md, …                      the report
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.identity import Identity
from sfpo_bench.results.names import SWEEPS
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import write_atomically

SCHEMA_VERSION = 1
_IDENTITY = ("schema_version", "parameters", "goals", "search", "settings", "code_version")
_TRIALS = "trials"
TRIALS_REMEDY = "run the sweep again, which writes it anew from its study"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Contents of `sweep.json`.

    `parameters` and `goals` map names to declarations, `search` holds the settings of the search, `settings` those
    shared by all trials. `chosen_on` is the suite that the sweep chooses on.
    """

    schema_version: int
    name: str
    experiment: str
    trials: int
    top_trials: int
    parameters: Mapping[str, Mapping[str, object]]
    chosen_on: str
    chosen_on_report: bool
    goals: Mapping[str, Mapping[str, object]]
    search: Mapping[str, object]
    settings: Mapping[str, object]
    code_version: str

    def differences(self, asked: SweepPlan) -> list[str]:
        """Return the changes that make `asked` another sweep: anything but added trials and seeds."""
        old, new = (Identity.of({name: getattr(plan, name) for name in _IDENTITY}) for plan in (self, asked))
        return old.differences(new)


@dataclass(frozen=True, slots=True)
class TrialsRecord:
    """Contents of `trials.json`. `trials` are views as plain values (`search/trial_view.py`). Running trials count as
    lost after `lease_until_unix_s`, which the heartbeats of the sweep's processes extend."""

    trials: tuple[Mapping[str, object], ...] = ()
    lease_until_unix_s: float = 0.0
    importances: Mapping[str, float] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """The folder of a sweep; creating the object does no I/O."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / "sweep.json"

    @property
    def trials_file(self) -> Path:
        return self.path / "trials.json"

    def exists(self) -> bool:
        """Return True if a sweep was started here."""
        return self.plan_file.is_file()

    def plan(self) -> SweepPlan:
        """Return the plan that the sweep was started with; raises `MissingDataError` or `ConfigError`."""
        if not self.exists():
            raise MissingDataError(
                f"{self.path} is not a sweep: found no {self.plan_file.name} there; `sfpo-bench list` shows existing "
                "sweeps"
            )
        return read_record(SweepPlan, self.plan_file, version=SCHEMA_VERSION)

    def write_plan(self, plan: SweepPlan) -> None:
        """Write or replace `sweep.json`."""
        write_atomically(self.plan_file, to_json(plan))

    def trials(self) -> TrialsRecord:
        """Return the trials as last written, or an empty record before the first."""
        if not self.trials_file.exists():
            return TrialsRecord()
        return read_record(TrialsRecord, self.trials_file, TRIALS_REMEDY)

    def write_trials(self, trials: TrialsRecord) -> None:
        """Replace `trials.json`."""
        write_atomically(self.trials_file, to_json(trials, indent=None))  # compact: written often

    def run(self, trial: int, seed: int) -> RunFolder:
        """Return the folder of the run of a trial and a seed, which need not exist."""
        return RunFolder(self.path / trial_place(trial) / f"seed-{seed:04d}")

    def runs(self) -> list[RunFolder]:
        """Return the existing runs, sorted by trial and seed."""
        return [RunFolder(path) for path in sorted((self.path / _TRIALS).glob("*/seed-*"))]

    @classmethod
    def inside(cls, root: Path) -> list[SweepFolder]:
        """Return the sweeps below a results folder, sorted by name."""
        return [cls(file.parent) for file in sorted((root / SWEEPS).glob(f"*/{cls(root).plan_file.name}"))]


def trial_place(number: int) -> str:
    """Return the path of a trial's runs relative to its sweep's folder: `trials/trial-0007`."""
    return f"{_TRIALS}/trial-{number:04d}"
