"""The folder of a study: its files, its plan and the records of its finished parts.

STUDY/                     results/studies/NAME
  study.json               `StudyPlan`, rewritten at every start
  parts/tune.json …        `PartRecord`: inputs of a part, its result, the hashes of its files
  sweeps/NAME/             one sweep (`sweep`) per tuned arm
  comparison/              the comparison (`comparison`)
  evaluations/             samples of the model before training; those of a run are in its folder
  scores.csv               one row per arm, checkpoint and benchmark
  report.md, …             the report
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.names import STUDIES
from sfpo_bench.results.stored_files import write_atomically

SCHEMA_VERSION = 1
COMPARISON = "comparison"


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Contents of `study.json`, for display only; `arms` maps keys to labels."""

    name: str
    experiment: str
    arms: Mapping[str, str]
    baseline: str
    seeds: tuple[int, ...]
    steps: int
    suite: str
    samples: int
    tune: str
    budget_axis: str
    code_version: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A finished part. `settings` and `upstream` are its inputs; `files` maps paths below the study's folder to the
    hashes of the files that it wrote."""

    settings: Mapping[str, object]
    upstream: str
    result: Mapping[str, object]
    files: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Return the hash of the result, which is an input of the next part."""
        return hashlib.sha256(json.dumps([self.result, self.files], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of a study; creating the object does no I/O."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / "study.json"

    @property
    def comparison(self) -> Path:
        return self.path / COMPARISON

    def exists(self) -> bool:
        """Return True if a study was started here."""
        return self.plan_file.is_file()

    def plan(self) -> StudyPlan:
        """Return the plan of the study; raises `MissingDataError` or `ConfigError`."""
        return read_record(StudyPlan, self.plan_file)

    def write_plan(self, plan: StudyPlan) -> None:
        """Write or replace `study.json`."""
        write_atomically(self.plan_file, to_json(plan))

    def part_file(self, part: str) -> Path:
        return self.path / "parts" / f"{part}.json"

    def part(self, part: str) -> PartRecord | None:
        """Return the record of a part, or None if it is not finished; raises `BenchError` for an invalid file."""
        file = self.part_file(part)
        return read_record(PartRecord, file, "remove it to do the part again") if file.exists() else None

    def write_part(self, part: str, record: PartRecord) -> None:
        """Record that a part is finished."""
        write_atomically(self.part_file(part), to_json(record))

    @classmethod
    def inside(cls, root: Path) -> list[StudyFolder]:
        """Return the studies below a results folder, sorted by name."""
        return [cls(file.parent) for file in sorted((root / STUDIES).glob(f"*/{cls(root).plan_file.name}"))]
