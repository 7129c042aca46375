"""The table of tracking stores: the store of the settings, its check before the work, and the delivery to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sfpo_bench.core.tracking import TrackingSettings, TrackingStore
from sfpo_bench.results.names import EVENT_FILES, STORE_DATABASE, WANDB_FILES
from sfpo_bench.results.redaction import redact
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.mlflow_store import MlflowStore, check_tracking_uri, resolve_tracking_uri
from sfpo_bench.tracking.store import Store
from sfpo_bench.tracking.tensorboard_store import TensorBoardStore
from sfpo_bench.tracking.wandb_store import WandbStore

# What a store makes below the folder of the results.
EMBEDDED = {
    TrackingStore.mlflow: STORE_DATABASE,
    TrackingStore.tensorboard: EVENT_FILES,
    TrackingStore.wandb: WANDB_FILES,
}
_OF_FILES: Mapping[TrackingStore, type[TensorBoardStore] | type[WandbStore]] = {
    TrackingStore.tensorboard: TensorBoardStore,
    TrackingStore.wandb: WandbStore,
}


def check_store(settings: TrackingSettings, root: Path, environ: Mapping[str, str] | None = None) -> None:
    """Raise `ConfigError` if runs below `root` cannot be delivered as the settings say; makes no request."""
    settings.check()
    if settings.store is TrackingStore.mlflow:
        check_tracking_uri(settings.uri or None, root, os.environ if environ is None else environ)
    elif settings.delivers:
        _OF_FILES[settings.store].require()


def open_store(settings: TrackingSettings, root: Path, environ: Mapping[str, str]) -> Store | None:
    """Return the store of runs below `root`, or None without tracking; makes no request."""
    if settings.store is TrackingStore.mlflow:
        return MlflowStore(resolve_tracking_uri(settings.uri or None, root, environ), settings.experiment, environ)
    if not settings.delivers:
        return None
    return _OF_FILES[settings.store](folder_of(settings, root), settings.experiment)


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
    below = root if settings.store is TrackingStore.wandb else root / EMBEDDED[settings.store]  # W&B adds its own
    return Path(settings.folder) if settings.folder else below


def address_of_folder(settings: TrackingSettings) -> str:
    """Return the address of a store whose folder the settings name; empty for any other."""
    if settings.store not in _OF_FILES or not settings.folder:
        return ""
    return f"{_OF_FILES[settings.store].prefix}{Path(settings.folder).resolve()}"


def fixed_place(settings: TrackingSettings, root: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings that name the store of `root` explicitly, for parts of a study with folders of their own."""
    environ = os.environ if environ is None else environ
    if settings.store in _OF_FILES:
        return {"tracking.folder": str(folder_of(settings, root).resolve())}
    if not settings.delivers or settings.uri or environ.get("MLFLOW_TRACKING_URI"):
        return {}
    return {"tracking.uri": resolve_tracking_uri(None, root, environ)}


def at_address(address: str) -> TrackingSettings:
    """Return the settings of a store by the address in a run's `delivery.json`; one that was moved is below the
    results again."""
    for kind, store in _OF_FILES.items():
        if address.startswith(store.prefix):
            folder = address.removeprefix(store.prefix)
            return TrackingSettings(kind, folder=folder if Path(folder).is_dir() else "")
    return TrackingSettings(TrackingStore.mlflow)
