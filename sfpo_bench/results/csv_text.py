"""Writes every CSV file of the package: no cell is a formula, whoever wrote its text.

    csv_bytes(frame)                     a data frame, as UTF-8
    rows_csv(("arm", "gold"), rows)      rows by column, None as an empty cell
    text_of(cell)                        the text that was written into a cell

A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@` or a tab, quoted or not. Such a text, and such a name of a
column, gets a leading apostrophe. Numbers, and texts that are negative numbers (`-0.5`), stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|-inf", re.ASCII)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Return the frame as CSV, without its index."""
    from pandas.api.types import is_numeric_dtype

    safe = frame.copy(deep=False)
    for place, name in enumerate(frame.columns):
        if not is_numeric_dtype(frame.dtypes.iloc[place]):
            safe[name] = frame[name].astype(object).map(_cell)
    return safe.rename(columns=_cell).to_csv(index=False, lineterminator="\n").encode()


def rows_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return the rows as CSV; None is an empty cell and floats keep all digits. Raises `ValueError` for other keys."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writerow({name: _cell(name) for name in columns})
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def text_of(cell: str) -> str:
    """Return the text of a cell as it was before a leading apostrophe was added."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell.lstrip("'")) else cell


def _cell(value: object) -> object:
    """Neutralize formulas and lone carriage returns, which are not always quoted and readers take as new rows."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    # An apostrophe is added to one that is there already, so that `text_of` gives back either text.
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    """Return True if a spreadsheet may run the text: blanks and invisible characters before it are skipped, and
    full-width forms of the signs count as the signs."""
    if text.startswith("\t"):
        return True
    seen = next((char for char in text if unicodedata.category(char)[0] not in "ZC"), "")
    return unicodedata.normalize("NFKC", seen)[:1] in tuple("=+-@") and not _NUMBER.fullmatch(text)
