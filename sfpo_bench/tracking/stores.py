"""The table of tracking stores: the store of the settings, its check before the work, and the delivery to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sfpo_bench.core.tracking import TrackingSettings, TrackingStore
from sfpo_bench.results.names import EVENT_FILES, STORE_DATABASE
from sfpo_bench.results.redaction import redact
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.mlflow_store import MlflowStore, check_tracking_uri, resolve_tracking_uri
from sfpo_bench.tracking.store import Store
from sfpo_bench.tracking.tensorboard_store import PREFIX, TensorBoardStore, require_tensorboard

# What a store makes below the folder of the results.
EMBEDDED = {TrackingStore.mlflow: STORE_DATABASE, TrackingStore.tensorboard: EVENT_FILES}


def check_store(settings: TrackingSettings, root: Path, environ: Mapping[str, str] | None = None) -> None:
    """Raise `ConfigError` if runs below `root` cannot be delivered as the settings say; makes no request."""
    settings.check()
    match settings.store:
        case TrackingStore.mlflow:
            check_tracking_uri(settings.uri or None, root, os.environ if environ is None else environ)
        case TrackingStore.tensorboard:
            require_tensorboard()


def open_store(settings: TrackingSettings, root: Path, environ: Mapping[str, str]) -> Store | None:
    """Return the store of runs below `root`, or None without tracking; makes no request."""
    match settings.store:
        case TrackingStore.mlflow:
            uri = resolve_tracking_uri(settings.uri or None, root, environ)
            return MlflowStore(uri, settings.experiment, environ)
        case TrackingStore.tensorboard:
            return TensorBoardStore(folder_of(settings, root), settings.experiment)
    return None


def address_of(settings: TrackingSettings, root: Path) -> str:
    """Return the address of the store without credentials, as `delivery.json` has it."""
    store = open_store(settings, root, os.environ)
    return "" if store is None else redact(store.address, os.environ)


def delivery_of(settings: TrackingSettings, root: Path, environ: Mapping[str, str] | None = None) -> Delivery | None:
    """Return the delivery of runs below `root`, or None without tracking."""
    environ = dict(os.environ if environ is None else environ)
    store = open_store(settings, root, environ)
    return None if store is None else Delivery(settings.experiment, root, environ=environ, store=store)


def folder_of(settings: TrackingSettings, root: Path) -> Path:
    """Return the folder of a store that writes files."""
    return Path(settings.folder) if settings.folder else root / EMBEDDED[settings.store]


def address_of_folder(settings: TrackingSettings) -> str:
    """Return the address of a store whose folder the settings name; empty for any other."""
    if settings.store is not TrackingStore.tensorboard or not settings.folder:
        return ""
    return TensorBoardStore(Path(settings.folder), settings.experiment).address


def fixed_place(settings: TrackingSettings, root: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings that name the store of `root` explicitly, for parts of a study with folders of their own."""
    environ = os.environ if environ is None else environ
    match settings.store:
        case TrackingStore.none:
            return {}
        case TrackingStore.mlflow:
            named = bool(settings.uri or environ.get("MLFLOW_TRACKING_URI"))
            return {} if named else {"tracking.uri": resolve_tracking_uri(None, root, environ)}
    return {"tracking.folder": str(folder_of(settings, root).resolve())}


def at_address(address: str) -> TrackingSettings:
    """Return the settings of a store by the address in a run's `delivery.json`; one that was moved is below the
    results again."""
    if not address.startswith(PREFIX):
        return TrackingSettings(TrackingStore.mlflow)
    folder = address.removeprefix(PREFIX)
    return TrackingSettings(TrackingStore.tensorboard, folder=folder if Path(folder).is_dir() else "")
