"""A study's folder: what lies in it, what it is, and what its parts have done.

STUDY/                     results/studies/NAME
  study.json               `StudyPlan`: what is studied; renewed at every start
  parts/tune.json …        `PartRecord`: what a part was made from, its result, the hashes of its files
  sweeps/NAME/             one sweep (`sweep`) for each tuned arm
  comparison/              the comparison (`comparison`)
  evaluations/             samples of the model before training; those of a run lie in its folder
  scores.csv               one row for each arm, checkpoint and benchmark
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
    """Contents of `study.json`, for those who look; `arms` are their labels by key."""

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
    """One part that is done. `settings` and `upstream` are what its result follows from; `files` are the hashes of what
    it left, by their places below the study's folder."""

    settings: Mapping[str, object]
    upstream: str
    result: Mapping[str, object]
    files: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Names the result: what the next part is made from."""
        return hashlib.sha256(json.dumps([self.result, self.files], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of a study; creating the object touches nothing."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / "study.json"

    @property
    def comparison(self) -> Path:
        return self.path / COMPARISON

    def exists(self) -> bool:
        """True when a study was started here."""
        return self.plan_file.is_file()

    def plan(self) -> StudyPlan:
        """What is studied here; raises `MissingDataError` or `ConfigError`."""
        return read_record(StudyPlan, self.plan_file)

    def write_plan(self, plan: StudyPlan) -> None:
        """Write or renew `study.json`."""
        write_atomically(self.plan_file, to_json(plan))

    def part_file(self, part: str) -> Path:
        return self.path / "parts" / f"{part}.json"

    def part(self, part: str) -> PartRecord | None:
        """The record of a part, if it is done; raises `BenchError` for a file that is no record."""
        file = self.part_file(part)
        return read_record(PartRecord, file, "remove it to do the part again") if file.exists() else None

    def write_part(self, part: str, record: PartRecord) -> None:
        """Remember that a part is done."""
        write_atomically(self.part_file(part), to_json(record))

    @classmethod
    def inside(cls, root: Path) -> list[StudyFolder]:
        """The studies below a folder of results, by name."""
        return [cls(file.parent) for file in sorted((root / STUDIES).glob(f"*/{cls(root).plan_file.name}"))]
