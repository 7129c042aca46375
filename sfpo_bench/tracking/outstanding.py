"""Which folders `sync` delivers, and where their runs belong in the tracking store."""

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
    """Where a run is delivered; an empty name means nowhere. `store` is without its credentials."""

    store: str = ""
    experiment: str = ""

    def is_elsewhere(self, store: str) -> bool:
        """True when the run belongs to another store than `store`, one that is not a file that is gone or was moved."""
        if self.store in ("", store):
            return False
        file = sqlite_path(self.store)
        return file is None or file.is_file()


def is_tracked(folder: RunFolder) -> bool:
    """True unless the run, or the comparison, sweep or study that it belongs to, was made with tracking=none.

    What lies above runs is delivered by one process, whose first act is to write down the key. An evaluation inside is
    delivered for itself.
    """
    above = _container(folder)
    if above is not None:
        found = (file.relative_to(above.path) for file in above.path.rglob(folder.delivery.name))
        return any(EVALUATIONS not in place.parts for place in found)
    return bool(_settings(folder).get("mlflow"))


def has_own_numbers(folder: RunFolder) -> bool:
    """True for runs that were trained here, and for what lies above some: imported runs, and those that came packed
    with the package, have nothing to deliver."""
    if next(folder.path.rglob(folder.journal.name), None) is None:
        return False
    above = container_at(folder.path) or container_of(folder)
    return not (isinstance(above, ComparisonFolder) and above.plan().origin)


def home_of(folder: RunFolder) -> Home:
    """Where the run was delivered to, or else what it belongs to; for a run by itself what its settings say."""
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
    """The run's settings of tracking."""
    with reading(folder.config):
        return dict(yaml.safe_load(folder.config.read_text(encoding="utf-8"))["tracking"])


def _container(folder: RunFolder) -> RunFolder | None:
    """The comparison, sweep or study that `folder` is or belongs to as a run; None for a run by itself."""
    found = container_at(folder.path) or container_of(folder)
    return RunFolder(found.path) if found is not None else None
