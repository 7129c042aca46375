"""Display names of models, methods, benchmarks and checkpoints in a paper's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sfpo_bench.reports.papers.score import AVERAGE, PaperCheckpoint

_BENCHMARKS = {
    "math500": "MATH-500",
    "aime24": "AIME24",
    "aime25": "AIME25",
    "aime26": "AIME26",
    "amc_aimo83": "AMC",
    "amc23": "AMC23",
    "minerva": "Minerva",
    "olympiadbench": "Olympiad",
    "gsm8k_test": "GSM8K",
    AVERAGE: "Average",
}
CHECKPOINT_TITLES: Mapping[str, str] = {
    PaperCheckpoint.last: "last checkpoint",
    PaperCheckpoint.best_on_select: "checkpoint that is best on select problems",
    PaperCheckpoint.equal_budget: "checkpoints at equal budget",
    PaperCheckpoint.best_on_report: "checkpoint with the best average on these benchmarks",
    PaperCheckpoint.start: "model before training",
    PaperCheckpoint.unknown: "checkpoint not stated",
}


@dataclass(frozen=True, slots=True)
class PaperNames:
    """Display names for the names in the frame; a name without an entry is printed unchanged.

    Common benchmarks have short headings, so that an average of six fits on a page.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    arms: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Mapping[str, str] = field(default_factory=dict)

    def model(self, name: str) -> str:
        return self.models.get(name, name)

    def arm(self, name: str) -> str:
        return self.arms.get(name, name)

    def benchmark(self, name: str) -> str:
        return self.benchmarks.get(name, _BENCHMARKS.get(name, name))
