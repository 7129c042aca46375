"""One migrated MLflow database for all tests: migrations take seconds, copying the file does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.mlflow_store import create_sqlite
from sfpo_bench.tracking.points import PrimaryEvaluation
from sfpo_bench.types import Split


def pytest_configure(config: pytest.Config) -> None:
    # MLflow 3.17 with SQLAlchemy 2.1; users do not see it, Python hides it by default.
    config.addinivalue_line("filterwarnings", "ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    (path.parent / ".mlflow.db.123.tmp").write_bytes(b"half a database")  # as a killed creation leaves it
    create_sqlite(path)
    return path


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
