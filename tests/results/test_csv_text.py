"""Cells that a spreadsheet would run are text, numbers stay numbers, and one module writes every CSV file."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sfpo_bench
from sfpo_bench.reports.papers.score import PaperCheckpoint, PaperScore, read_paper_scores, write_paper_scores
from sfpo_bench.results.csv_text import csv_bytes, rows_csv, text_of

OWNER = "results/csv_text.py"
FORMULAS = (
    "=cmd|' /C calc'!A0", "+1+cmd", "-2+3+cmd", "@SUM(1)", "\t=1", "\tx", " =1", "\n=1", "\u200b=1", "\ufeff=1",
    "\u00a0@x", "\uff1d1+1", "\uff20x", "\uff0bx", "-", "-inf+1", "--1", "-0.5=1", "-1\n=1", '=HYPERLINK("http://a","b")',
)  # fmt: skip
NUMBERS = ("-0.5", "-3", "-1e-05", "-.5", "-7.", "-inf", "0", "1,234", "5")
TEXTS = ("a=b", "'quoted'", "'", "''", "\\frac{-1}{2}", "x - 1", "", "'-0.5", "1=1")


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe_in_a_cell_and_in_the_name_of_a_column(text: str) -> None:
    assert cells(rows_csv((text,), [{text: text}])) == [[f"'{text}"], [f"'{text}"]]
    assert cells(csv_bytes(pd.DataFrame({text: [text, None, -0.5]})).decode()) == [
        [f"'{text}"],
        [f"'{text}"],
        [""],
        ["-0.5"],
    ]


@pytest.mark.parametrize("text", [*NUMBERS, *TEXTS])
def test_numbers_and_other_texts_stay_as_they_are(text: str) -> None:
    assert cells(rows_csv(("a", "b"), [{"a": text, "b": "x"}]))[1] == [text, "x"]
    frame = pd.DataFrame({"number": [-0.5], "text": [text], "kind": pd.Categorical([text])})
    assert cells(csv_bytes(frame).decode())[1] == ["-0.5", text, text]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="'=+-@\t a1.\uff1d\u200b\n", max_size=6) | st.text(max_size=8))
def test_the_text_of_a_cell_comes_back_and_no_cell_begins_with_a_sign(text: str) -> None:
    text = text.replace("\r", "\n").encode("utf-8", "replace").decode()
    [[cell, _]] = cells(rows_csv(("a", "b"), [{"a": text, "b": ""}]))[1:]
    assert text_of(cell) == text
    assert cell == text[:0] or (cell[:1] not in "=+@\t" and (cell[:1] != "-" or float(cell) <= 0))


def test_scores_of_a_hostile_arm_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    scores = [
        PaperScore(model=text, arm=text, checkpoint=PaperCheckpoint.last, benchmark="a", avg_at_k=0.5, difference=-0.25)
        for text in (*FORMULAS, *NUMBERS, *TEXTS)
    ]
    write_paper_scores(tmp_path / "scores.csv", scores)
    assert read_paper_scores(tmp_path / "scores.csv") == scores


def test_no_other_module_writes_csv() -> None:
    package = Path(sfpo_bench.__file__).parent
    writing = re.compile(r"\.(to_csv|writer|DictWriter|write_csv)\(")
    files = {file for file in package.rglob("*.py") if writing.search(file.read_text(encoding="utf-8"))}
    assert {file.relative_to(package).as_posix() for file in files} == {OWNER}
