"""Read Parquet files without Arrow's background threads.

`pandas.read_parquet` and `pyarrow.parquet.read_table` use Arrow's dataset layer, whose threads outlive the call. A
short program then aborts at exit in a few percent of its runs (apache/arrow issue 33975). The file reader with
`use_threads=False` leaves no thread behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.results.stored_files import reading

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_LARGEST_RATIO, _ALWAYS_ALLOWED, _AT_ONCE = 500, 64 * 2**20, 128 * 2**20


def read_parquet(source: Path | bytes, columns: Sequence[str], categories: Sequence[str] = ()) -> pa.Table:
    """Return the named columns of a Parquet file or its bytes; those in `categories` are dictionary-encoded.

    Raises `ValueError` (the base class of Arrow's errors), `OSError` or `KeyError` for an invalid file, and for one
    that would unfold out of proportion to its size.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    opened = pa.BufferReader(source) if isinstance(source, bytes) else str(source)
    with pq.ParquetFile(opened, read_dictionary=list(categories), pre_buffer=False) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise KeyError(f"no columns {sorted(missing)}")
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        batches = list(bounded_batches(file, size, columns))
        if not batches:
            return file.read(columns=list(columns), use_threads=False)
        return pa.Table.from_batches(batches).select(list(columns)).unify_dictionaries()


def bounded_batches(
    file: pq.ParquetFile, size: int, columns: Sequence[str], most_rows: int = 4096
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file of `size` bytes; raises `ValueError` where they are not those that it states, or unfold
    out of proportion to its size.

    A value that stands once in a file can fill any number of rows, so sizes are counted as rows are read.
    """
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    parts = [group.column(number).total_uncompressed_size for group in groups for number in range(group.num_columns)]
    rows_at_once = max(16, min(most_rows, _AT_ONCE // max([1, *parts])))
    most, rows = max(_ALWAYS_ALLOWED, _LARGEST_RATIO * size), 0
    unfolded = sum(group.total_byte_size for group in groups)
    if unfolded <= most:
        unfolded = 0
        for batch in file.iter_batches(batch_size=rows_at_once, columns=list(columns), use_threads=False):
            rows, unfolded = rows + batch.num_rows, unfolded + batch.nbytes
            if unfolded > most:
                break
            yield batch
    if unfolded > most:
        raise ValueError(f"it unfolds to more than {most >> 20:,} MiB, out of proportion to its {size:,} bytes")
    if rows != file.metadata.num_rows:
        raise ValueError(f"it has {rows:,} rows and states {file.metadata.num_rows:,}")


def column_names(path: Path) -> frozenset[str]:
    """Return the names of a Parquet file's columns. Raises `DamagedFile` for an invalid file."""
    import pyarrow.parquet as pq

    with reading(path, "bring the whole file"), pq.ParquetFile(str(path), pre_buffer=False) as file:
        return frozenset(file.schema_arrow.names)
