"""Reuse finished runs of other comparisons, sweeps and studies instead of training them again.

Two runs are the same if their settings except names, their seed, their length, the content of their input files and
the code are equal. `comparison.reuse` lists the folders to search; the names of arms and trials there do not matter. A
match is copied completely, with a note of its origin.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.core.errors import BenchError, MissingDataError
from sfpo_bench.results.codec import to_json
from sfpo_bench.results.run_folder import RunFolder, RunState, TakenFrom
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.settings.config import flatten, read_saved, to_plain, to_yaml
from sfpo_bench.training.checkpoint import CheckpointStore
from sfpo_bench.training.run import code_changed, identity, started_with, training_of

# Settings that only name a run. No result depends on them.
_NAMES = ("name", "algorithm.name")


@dataclass(frozen=True, slots=True)
class FinishedRuns:
    """Finished runs by the digest of their configuration."""

    by_digest: Mapping[str, Path]

    def take(self, run: RunFolder, node: DictConfig, *, weights: bool = True) -> bool:
        """Copy a finished run of the same settings to the folder of a run that has not begun. The copy is atomic.

        Returns False if there is no such run, or with `weights` none that kept its weights.
        """
        if not self.by_digest or _has_begun(run):
            return False
        source = self.by_digest.get(digest_of(node))
        if source is None or source.resolve() == run.path.resolve():
            return False
        if weights and not _has_weights(RunFolder(source)):
            return False
        partial = run.path.with_name(f".taking-{run.path.name}")
        for folder in (partial, run.path):
            shutil.rmtree(folder, ignore_errors=True)
        partial.mkdir(parents=True)
        for path in _content(RunFolder(source)):
            if path.is_dir():
                shutil.copytree(path, partial / path.name)
            elif path.is_file():
                shutil.copyfile(path, partial / path.name)
        copy = RunFolder(partial)
        write_atomically(copy.config, to_yaml(node))
        write_atomically(copy.taken_from_file, to_json(TakenFrom(str(source))))
        partial.rename(run.path)
        return True


@lru_cache(maxsize=4)
def finished_runs(folders: tuple[str, ...]) -> FinishedRuns:
    """Return the finished runs of the current code below these folders; the first of equal ones.

    Raises `MissingDataError` for a folder that does not exist.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise MissingDataError(
                f"comparison.reuse lists {folder}, which is not a folder; expected that of a comparison, a sweep or a "
                "study, such as results/studies/arithmetic"
            )
        for digest, path in _runs_in(Path(folder)):
            found.setdefault(digest, path)
    return FinishedRuns(found)


def _runs_in(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob(RunFolder(folder).config.name)):
        run = RunFolder(file.parent)
        try:
            done = run.status().state is RunState.finished and run.inputs.is_file() and not code_changed(run)
            if done:
                yield digest_of(read_saved(run.config), run), run.path
        except BenchError:
            continue  # a damaged run is not reused


def digest_of(node: DictConfig, stored: RunFolder | None = None) -> str:
    """Return the digest that identifies a run's configuration, without its names.

    For a `stored` run, input files have the content that they had when it was started.
    """
    settings = flatten(to_plain(node))
    made = identity(settings)
    if stored is not None:
        made = started_with(stored, made, made)
    training = training_of(node)
    length = {"training.steps": training.steps, "training.stop_at": str(training.stop_at)}
    return type(made)({**made.without(_NAMES).values, **length}).digest


def _has_weights(run: RunFolder) -> bool:
    newest = CheckpointStore(run.checkpoints).newest()
    return newest is not None and bool(newest.weights_files)


def _has_begun(run: RunFolder) -> bool:
    return run.journal.is_file() or run.checkpoints.exists() or run.is_held()


def _content(run: RunFolder) -> tuple[Path, ...]:
    """Return the files of a finished run, without its ids in tracking stores and without later exports."""
    return (
        *(run.inputs, run.provenance, run.status_file, run.sessions, run.journal, run.samples, run.checkpoints),
        *(run.curves, run.samples_table),
    )
