"""Evaluations as read from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.evaluation.graded_benchmark import GradedBenchmark, graded_benchmarks
from sfpo_bench.evaluation.sample_logs.record import LoggedSampling
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.evaluation import (
    Asked,
    EvaluationFolder,
    Owner,
    ServerRecord,
    graded_store,
    read_asked,
    read_server,
)
from sfpo_bench.results.sample_store import GradedSample, SamplingIdentity


@dataclass(frozen=True, slots=True)
class Grades:
    """The origin of an evaluation's grades: this package, or another program's log with the `names` of its metrics."""

    ours: bool = True
    names: tuple[str, ...] = ()
    form: str = ""

    @property
    def text(self) -> str:
        """Return a description: `ours`, or `exact_match of lm-evaluation-harness`."""
        return "ours" if self.ours else f"{', '.join(self.names)} of {self.form}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation: the graded samples of its benchmarks in the order of its suite.

    For an evaluation by another program, `sources` are its log files. `notes` list what was left out of them, or what
    the responses of a server cost. `server` is the server that gave the samples, with rollout=openai.
    """

    folder: Path
    owner: Owner
    sampling: SamplingIdentity | LoggedSampling
    asked: Asked
    graded: Mapping[str, GradedBenchmark]
    choice_note: str
    sources: tuple[Path, ...] = ()
    grades: Grades = Grades()
    notes: tuple[str, ...] = ()
    server: ServerRecord | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """The location of its samples; evaluations with the same location have the same samples."""
        return tuple(str(path.resolve()) for path in self.sources or (self.folder,))

    @property
    def shared_ids(self) -> frozenset[str]:
        """Ids of the problems that occur in a training set."""
        return frozenset(one for ids in self.asked.shared.values() for one in ids)


def read_evaluation(folder: Path) -> Evaluation:
    """Return the evaluation in a folder: the folder with `samples.parquet`, or one that contains exactly one of these.

    Raises `MissingDataError` for a folder without graded samples, `ConfigError` for several evaluations.
    """
    store = graded_store(folder)
    record, about = read_asked(store), EvaluationFolder.of_store(store)
    graded, server = store.graded(), read_server(store)
    return Evaluation(
        folder=store.path,
        owner=about.owner(),
        sampling=record.sampling,
        asked=record.asked,
        graded=graded_benchmarks(graded),
        choice_note=about.choice_note(),
        notes=() if server is None else (_token_note(graded),),
        server=server,
    )


def _token_note(graded: Sequence[GradedSample]) -> str:
    """Return what a server's responses cost, as it counted them."""
    counted = [one.sample.tokens for one in graded if one.sample.tokens is not None]
    told = f"the server counted {sum(counted):,} tokens in {len(counted):,} responses" if counted else ""
    missing = len(graded) - len(counted)
    if not missing:
        return told
    uncounted = (
        f"the server did not count the tokens of {missing:,} of {len(graded):,} responses, so their length and cost in "
        "tokens are unknown"
    )
    return f"{told}; {uncounted}" if told else uncounted


def runs_of(folder: Path) -> list[Path]:
    """Return the runs of a comparison, sorted by arm and seed; empty if the folder is not a comparison."""
    there = ComparisonFolder(folder)
    return [run.path for run in there.started_runs()] if there.exists() else []
