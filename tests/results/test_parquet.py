"""Truths: a file and its content read alike; what is no such file says so; no thread of Arrow's outlives a read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sfpo_bench.results.parquet import read_parquet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.parquet"
    pq.write_table(pa.table({"step": [1, 2, None], "key": ["a", "b", "a"], "other": [0.5, 1.5, 2.5]}), path)
    return path


def test_a_file_and_its_content_give_the_columns_that_were_asked_for(file: Path) -> None:
    table = read_parquet(file, ["key", "step"])
    assert table.equals(read_parquet(file.read_bytes(), ["key", "step"]))
    assert table.to_pydict() == {"key": ["a", "b", "a"], "step": [1, 2, None]}
    categories = read_parquet(file, ["key"], categories=["key"])["key"]
    assert pa.types.is_dictionary(categories.type) and categories.to_pylist() == ["a", "b", "a"]


def test_what_is_no_parquet_file_or_lacks_a_column_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="Parquet"):
        read_parquet(b"not a parquet file", ["step"])
    with pytest.raises(KeyError, match="reward"):
        read_parquet(file, ["step", "reward"])


def test_reading_starts_no_thread(file: Path) -> None:
    script = (
        "import sys, os, pathlib; import pyarrow.parquet; from sfpo_bench.results.parquet import read_parquet;"
        "threads = lambda: set(os.listdir('/proc/self/task')); before = threads();"
        "read_parquet(pathlib.Path(sys.argv[1]), ['step']); print(len(threads() - before))"
    )
    if not Path("/proc/self/task").is_dir():
        pytest.skip("counting threads needs /proc")
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
