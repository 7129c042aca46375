"""What tests share: the command line as a user runs it, a tiny experiment for it, an empty tracking store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

# The fast suite says the same of a commit each time it runs; `make test-slow` tries other examples every time.
settings.register_profile("same_examples", derandomize=True, deadline=None)
settings.register_profile("new_examples", derandomize=False, max_examples=500, deadline=None)
settings.load_profile("same_examples")

# Two test processes share the cores; torch's own thread pools would only fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY = (
    "rollout.prompts=4",
    "rollout.group=4",
    "training.steps=6",
    "training.evaluate_every=3",
    "training.checkpoint_every=2",
    "training.samples_every=2",
    "evaluation.responses=24",
    "evaluation.select_responses=16",
    "evaluation.greedy_problems=8",
)


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: migrations take seconds, copying the file does not."""
    from sfpo_bench.tracking.mlflow_store import create_sqlite

    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    (path.parent / ".mlflow.db.123.tmp").write_bytes(b"half a database")  # as a killed creation leaves it
    create_sqlite(path)
    return path


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs `sfpo-bench` as a user does: a process of its own, in an empty folder."""

    def run(*arguments: str, check: bool = True, prelude: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command(arguments, prelude), cwd=tmp_path, capture_output=True, text=True, timeout=300)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def command(arguments: Sequence[str], prelude: str = "") -> list[str]:
    """The command line of a `sfpo-bench` process; `prelude` is Python that runs in it first."""
    return [sys.executable, "-c", f"{prelude}\nfrom sfpo_bench.cli import main\nmain()", *arguments]


@pytest.fixture
def hydra() -> Iterator[None]:
    """Hydra over the packaged configurations, with every schema registered."""
    from hydra import initialize_config_module

    from sfpo_bench.cli.hydra_store import register
    from sfpo_bench.core.hydra_version import VERSION_BASE

    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        yield
