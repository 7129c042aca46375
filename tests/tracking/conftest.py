"""Embedded stores of their own for the tests of delivery."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sfpo_bench.core.types import Split
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.points import PrimaryEvaluation


@pytest.fixture
def store_folder(tmp_path: Path, migrated_database: Path) -> Path:
    """A folder with an embedded store of its own, migrated and empty."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(migrated_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def new_delivery(store_folder: Path) -> Callable[[], Delivery]:
    """Makes deliveries that share a store and nothing else, as processes after one another do."""
    return lambda: Delivery("test", store_folder, primary=PrimaryEvaluation(Split.report, "sampled"), environ={})
