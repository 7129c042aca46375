"""Read Parquet files without Arrow's background threads.

`pandas.read_parquet` and `pyarrow.parquet.read_table` use Arrow's dataset layer, whose threads outlive the call. A
short program then aborts at exit in a few percent of its runs (apache/arrow issue 33975). The file reader with
`use_threads=False` leaves no thread behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.results.stored_files import reading

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(source: Path | bytes, columns: Sequence[str], categories: Sequence[str] = ()) -> pa.Table:
    """Return the named columns of a Parquet file or its bytes; those in `categories` are dictionary-encoded.

    Raises `ValueError` (the base class of Arrow's errors), `OSError` or `KeyError` for an invalid file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    opened = pa.BufferReader(source) if isinstance(source, bytes) else str(source)
    with pq.ParquetFile(opened, read_dictionary=list(categories), pre_buffer=False) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise KeyError(f"no columns {sorted(missing)}")
        return file.read(columns=list(columns), use_threads=False)


def column_names(path: Path) -> frozenset[str]:
    """Return the names of a Parquet file's columns. Raises `DamagedFile` for an invalid file."""
    import pyarrow.parquet as pq

    with reading(path, "bring the whole file"), pq.ParquetFile(str(path), pre_buffer=False) as file:
        return frozenset(file.schema_arrow.names)
