"""Decides which folders `sync` delivers, and to which store and experiment."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.containers import container_at, container_of
from sfpo_bench.results.names import EVALUATIONS
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import reading
from sfpo_bench.tracking.cursor import Cursor
from sfpo_bench.tracking.mlflow_store import sqlite_path


@dataclass(frozen=True, slots=True)
class Home:
    """Store (URI without credentials) and experiment of a run; empty if it was never delivered."""

    store: str = ""
    experiment: str = ""

    def is_elsewhere(self, store: str) -> bool:
        """Return True if the run belongs to a store other than `store`, except an sqlite file that is gone or moved."""
        if self.store in ("", store):
            return False
        file = sqlite_path(self.store)
        return file is None or file.is_file()


def is_tracked(folder: RunFolder) -> bool:
    """Return True unless the run, or the comparison, sweep or study it belongs to, was made with tracking=none.

    A comparison, sweep or study counts as tracked if one of its folders has a `delivery.json`, which the delivering
    process writes first. Those of evaluations do not count, since evaluations are delivered separately.
    """
    above = _container(folder)
    if above is not None:
        found = (file.relative_to(above.path) for file in above.path.rglob(folder.delivery.name))
        return any(EVALUATIONS not in place.parts for place in found)
    return bool(_settings(folder).get("mlflow"))


def has_own_numbers(folder: RunFolder) -> bool:
    """Return True for runs trained here and for folders that contain some. Imported runs, and runs packed with the
    package, have nothing to deliver."""
    if next(folder.path.rglob(folder.journal.name), None) is None:
        return False
    above = container_at(folder.path) or container_of(folder)
    return not (isinstance(above, ComparisonFolder) and above.plan().origin)


def home_of(folder: RunFolder) -> Home:
    """Return the store and experiment of the run's delivery, else of its container's, else of its settings."""
    above = _container(folder)
    for place in (folder, above):
        cursor = Cursor.load(place) if place is not None else None
        if cursor is not None:
            return Home(cursor.store, cursor.experiment)
    if above is not None or not folder.config.is_file():
        return Home()
    settings = _settings(folder)
    return Home(str(settings.get("uri") or ""), str(settings.get("experiment") or ""))


def _settings(folder: RunFolder) -> dict[str, object]:
    """Return the run's tracking settings."""
    with reading(folder.config):
        return dict(yaml.safe_load(folder.config.read_text(encoding="utf-8"))["tracking"])


def _container(folder: RunFolder) -> RunFolder | None:
    """Return the comparison, sweep or study that `folder` is or lies in as a run; None for a single run."""
    found = container_at(folder.path) or container_of(folder)
    return RunFolder(found.path) if found is not None else None
