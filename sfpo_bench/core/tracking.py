"""Settings of the delivery of journals to a tracking store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option


class TrackingStore(StrEnum):
    """The kinds of tracking store, and none."""

    mlflow = "mlflow"
    tensorboard = "tensorboard"
    wandb = "wandb"
    none = "none"


# Settings that only some stores read.
_READ_BY = {
    "uri": (TrackingStore.mlflow,),
    "folder": (TrackingStore.tensorboard, TrackingStore.wandb),
}


def present_form(tracking: Mapping[str, object]) -> dict[str, object]:
    """Return tracking settings in their present form; runs of version 0.2 say `mlflow: true` or `false`."""
    found = dict(tracking)
    delivered = found.pop("mlflow", None)
    if isinstance(delivered, bool):
        found.setdefault("store", (TrackingStore.mlflow if delivered else TrackingStore.none).value)
    return found


@dataclass
class TrackingSettings:
    """Delivery of journals to a tracking store."""

    store: TrackingStore = option(
        TrackingStore.mlflow, "where runs are delivered; the journal on disk is written in any case"
    )
    uri: str = option("", "tracking server; empty: $MLFLOW_TRACKING_URI, else a sqlite file below output_root")
    experiment: str = option("sfpo_bench", "name of the MLflow experiment, W&B project or TensorBoard folder")
    folder: str = option("", "folder of TensorBoard's or W&B's files; empty: below output_root")

    @property
    def delivers(self) -> bool:
        """True if runs are delivered to a store."""
        return self.store is not TrackingStore.none

    def check(self, place: str = "tracking.") -> None:
        """Raise `ConfigError` for a setting that the chosen store does not read."""
        if not self.delivers:
            return
        for name, readers in _READ_BY.items():
            if getattr(self, name) != getattr(TrackingSettings(), name) and self.store not in readers:
                raise ConfigError(
                    f"{place}{name} = {getattr(self, name)!r} with {place}store = {self.store.value}, which does not "
                    f"read it; expected {place}store = {' or '.join(readers)}: choose that, or leave it out"
                )
