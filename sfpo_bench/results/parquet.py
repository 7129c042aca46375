"""Reading Parquet so that the interpreter always ends well.

`pandas.read_parquet` and `pyarrow.parquet.read_table` go through Arrow's dataset layer, whose threads outlive the call:
a short program then aborts at its exit in a few per cent of its runs (apache/arrow issue 33975). The file reader,
without threads, has none left.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(source: Path | bytes, columns: Sequence[str], categories: Sequence[str] = ()) -> pa.Table:
    """The named columns of a Parquet file, or of its content; those in `categories` are dictionary-encoded.

    Raises `ValueError` (Arrow's errors are such), `OSError` or `KeyError` for what is not such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    opened = pa.BufferReader(source) if isinstance(source, bytes) else str(source)
    with pq.ParquetFile(opened, read_dictionary=list(categories), pre_buffer=False) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise KeyError(f"no columns {sorted(missing)}")
        return file.read(columns=list(columns), use_threads=False)
