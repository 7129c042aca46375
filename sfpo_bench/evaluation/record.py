"""Evaluations on disk: the model, the sampling, and what was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.evaluation.graded_benchmark import GradedBenchmark, graded_benchmarks
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.evaluation import Asked, EvaluationFolder, Owner, graded_store, read_asked
from sfpo_bench.results.sample_store import SamplingIdentity


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, read back: the sheets of its benchmarks in the order of its suite."""

    folder: Path
    owner: Owner
    sampling: SamplingIdentity
    asked: Asked
    graded: Mapping[str, GradedBenchmark]
    choice_note: str

    @property
    def shared_ids(self) -> frozenset[str]:
        """Problems that occur in a training set."""
        return frozenset(one for ids in self.asked.shared.values() for one in ids)


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a folder, either the one with `samples.parquet` or the one above it when that has only one.

    Raises `MissingDataError` for a folder without graded samples, `ConfigError` when it holds several evaluations.
    """
    store = graded_store(folder)
    record, about = read_asked(store), EvaluationFolder.of_store(store)
    return Evaluation(
        folder=store.path,
        owner=about.owner(),
        sampling=record.sampling,
        asked=record.asked,
        graded=graded_benchmarks(store.graded()),
        choice_note=about.choice_note(),
    )


def runs_of(folder: Path) -> list[Path]:
    """The runs of a comparison in its folder, by arm and seed; empty when it is no comparison's folder."""
    there = ComparisonFolder(folder)
    return [run.path for run in there.started_runs()] if there.exists() else []
