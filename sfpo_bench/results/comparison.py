"""The folder of a comparison: its files and its plan.

COMPARISON/                    results/NAME, or STUDY/comparison
  comparison.json              `ComparisonPlan`, written before the first run
  status.json                  the comparison's state, as in the folder of a run; its steps are runs
  runs/ARM/seed-0003/          one run (`run_folder`) per arm and seed; absent if runs are stored packed
  summary.json, table.md, …    the report
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sfpo_bench.core.costs import AXIS_KEYS
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.stop_at import StopAt
from sfpo_bench.core.types import Split
from sfpo_bench.results.codec import check_version, from_plain, to_json
from sfpo_bench.results.identity import Identity
from sfpo_bench.results.names import RUNS
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import read_object, write_atomically

SCHEMA_VERSION = 1
_FIXED = ("schema_version", "targets", "split", "mode", "temperature", "code_version")


@dataclass(frozen=True, slots=True)
class PlannedArm:
    """An arm of the comparison, with the settings of its runs by dotted key."""

    label: str
    note: str = ""
    overrides: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """Contents of `comparison.json`.

    `axes` are the keys of the cost axes that were recorded; all other costs are 0 in every record and carry no meaning.
    `origin` describes where imported runs come from; it is empty for runs of this package. Runs end before `steps` once
    they reach the accuracy `stop_at`, unless it is None.
    """

    schema_version: int
    name: str
    baseline: str
    experiment: str
    axes_note: str
    targets: tuple[float, ...]
    split: Split
    mode: str
    temperature: float
    seeds: tuple[int, ...]
    steps: int
    code_version: str
    arms: Mapping[str, PlannedArm]
    axes: tuple[str, ...] = AXIS_KEYS
    origin: str = ""
    stop_at: StopAt | None = None

    @classmethod
    def from_plain(cls, raw: object, where: str) -> ComparisonPlan:
        """Convert and check the contents of a `comparison.json`; `where` names the file in each `ConfigError`."""
        check_version(raw, where, SCHEMA_VERSION)
        plan = from_plain(cls, raw, where)
        if plan.baseline not in plan.arms:
            raise ConfigError(
                f"{where} names the baseline {plan.baseline!r}; expected one of its arms: {', '.join(plan.arms)}"
            )
        return plan

    def differences(self, asked: ComparisonPlan) -> list[str]:
        """Return the changes that make `asked` another comparison: anything but added arms, seeds and steps."""
        changed = self._identity().differences(asked._identity())
        for arm in self.arms.keys() & asked.arms.keys():
            old, new = (Identity.of(plan.arms[arm].settings) for plan in (self, asked))
            changed += [f"{arm}: {line}" for line in old.differences(new)]
        if asked.steps < self.steps:
            changed.append(f"training.steps: {self.steps} -> {asked.steps} (steps can only be added)")
        return changed

    def _identity(self) -> Identity:
        fixed = Identity.of({name: getattr(self, name) for name in _FIXED})
        return Identity({**fixed.values, "training.stop_at": str(self.stop_at or StopAt())})


@dataclass(frozen=True, slots=True)
class ComparisonFolder:
    """The folder of a comparison; creating the object does no I/O."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / "comparison.json"

    def exists(self) -> bool:
        """Return True if a comparison was started here."""
        return self.plan_file.is_file()

    def plan(self) -> ComparisonPlan:
        """Return the plan that the comparison was started with; raises `MissingDataError` or `ConfigError`."""
        if not self.exists():
            found = f"found no {self.plan_file.name} there" if self.path.is_dir() else "it does not exist"
            raise MissingDataError(
                f"{self.path} is not a comparison folder: {found}; give the folder that `sfpo-bench compare` wrote"
            )
        return ComparisonPlan.from_plain(read_object(self.plan_file), str(self.plan_file))

    def write_plan(self, plan: ComparisonPlan) -> None:
        """Write or replace `comparison.json`."""
        write_atomically(self.plan_file, to_json(plan))

    def run(self, arm: str, seed: int) -> RunFolder:
        """Return the folder of the run of an arm and a seed, which need not exist."""
        return RunFolder(self.path / run_place(arm, seed))

    def arm_folders(self) -> list[Path]:
        """Return the folders of the arms that have runs, sorted by name."""
        return sorted(path for path in (self.path / RUNS).glob("*") if path.is_dir())

    def started_runs(self) -> list[RunFolder]:
        """Return the runs that were started here, sorted by arm and seed."""
        found = (RunFolder(path) for arm in self.arm_folders() for path in sorted(arm.glob("seed-*")))
        return [run for run in found if run.config.is_file()]

    @classmethod
    def of_run(cls, run: RunFolder) -> ComparisonFolder | None:
        """Return the comparison that a run belongs to, or None for a single run."""
        above = run.above(levels=3)
        return cls(above) if above is not None and cls(above).exists() else None

    @classmethod
    def inside(cls, root: Path) -> list[ComparisonFolder]:
        """Return the comparisons directly inside `root`, sorted by name."""
        return [cls(file.parent) for file in sorted(root.glob(f"*/{cls(root).plan_file.name}"))]


def run_place(arm: str, seed: int) -> str:
    """Return the path of a run relative to its comparison's folder: `runs/sfpo/seed-0003`."""
    return f"{RUNS}/{arm}/seed-{seed:04d}"
