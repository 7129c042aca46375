"""Decides which folders `sync` delivers, and to which store and experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sfpo_bench.core.tracking import TrackingSettings, TrackingStore, present_form
from sfpo_bench.core.yaml_files import plain_yaml
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.containers import container_at, container_of
from sfpo_bench.results.names import EVALUATIONS
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import reading
from sfpo_bench.tracking.cursor import Cursor
from sfpo_bench.tracking.mlflow_store import sqlite_path
from sfpo_bench.tracking.stores import address_of_folder, at_address


@dataclass(frozen=True, slots=True)
class Home:
    """Store (its address without credentials) and experiment of a run; empty if it was never delivered."""

    store: str = ""
    experiment: str = ""
    kind: TrackingStore = TrackingStore.mlflow

    def is_elsewhere(self, store: str) -> bool:
        """Return True if the run belongs to a store other than `store`, except one in a file that is gone or moved."""
        if self.store in ("", store):
            return False
        if self.kind is not TrackingStore.mlflow:
            return bool(at_address(self.store).folder)
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
    return _settings(folder).delivers


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
            return Home(cursor.store, cursor.experiment, at_address(cursor.store).store)
    if above is not None or not folder.config.is_file():
        return Home()
    settings = _settings(folder)
    kind = settings.store if settings.delivers else TrackingStore.mlflow
    return Home(address_of_folder(settings) or settings.uri, settings.experiment, kind)


def _settings(folder: RunFolder) -> TrackingSettings:
    """Return the run's tracking settings; a run without any is not delivered."""
    with reading(folder.config):
        settings: Any = plain_yaml(folder.config)
        found = present_form(settings["tracking"])
        kind = TrackingStore(str(found.get("store", TrackingStore.none.value)))
    texts = {name: str(found.get(name) or "") for name in ("uri", "experiment", "folder")}
    return TrackingSettings(kind, **texts)


def _container(folder: RunFolder) -> RunFolder | None:
    """Return the comparison, sweep or study that `folder` is or lies in as a run; None for a single run."""
    found = container_at(folder.path) or container_of(folder)
    return RunFolder(found.path) if found is not None else None
