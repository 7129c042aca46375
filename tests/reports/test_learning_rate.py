"""The learning-rate figure of the committed tuning table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import t

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.reports.sweep.learning_rate import (
    SWEEP_COLUMNS,
    checked_sweep,
    learning_rate_bytes,
    learning_rate_figure,
    read_sweep,
)

TABLE = Path(__file__).parents[2] / "sweeps" / "arithmetic_learning_rate.csv"


@pytest.fixture
def sweep() -> pd.DataFrame:
    return read_sweep(TABLE)


def test_the_committed_table_is_one_and_has_three_methods(sweep: pd.DataFrame) -> None:
    assert {column: str(kind) for column, kind in sweep.dtypes.items()} == dict(SWEEP_COLUMNS)
    assert set(sweep["method"]) == {"grpo", "sfpo", "repeat"}


def test_lines_are_the_tables_accuracies_by_ascending_rate(sweep: pd.DataFrame) -> None:
    final, _ = learning_rate_figure(sweep).axes
    grpo = sweep[sweep["method"] == "grpo"].sort_values("learning_rate")
    line = final.lines[list(dict.fromkeys(sweep["method"])).index("grpo") * 2]
    assert list(line.get_xdata()) == grpo["learning_rate"].tolist()  # type: ignore[arg-type]  # an array
    assert list(line.get_ydata()) == grpo["final_accuracy"].tolist()  # type: ignore[arg-type]  # an array


def test_bars_are_t_intervals_over_seeds(sweep: pd.DataFrame) -> None:
    one = sweep.iloc[[0]]
    _, area = learning_rate_figure(one).axes
    [[low, high]] = [segment[:, 1] for bar in area.collections for segment in bar.get_segments()]  # type: ignore[attr-defined]  # a line collection
    half = t.ppf(0.975, one["seeds"].item() - 1) * one["standard_error"].item()
    assert (high - low) / 2 == pytest.approx(half)


def test_equal_tables_give_equal_bytes_and_no_dates(sweep: pd.DataFrame) -> None:
    first = learning_rate_bytes(sweep)
    assert learning_rate_bytes(read_sweep(TABLE)) == first
    assert first["png"].startswith(b"\x89PNG") and b"CreationDate" not in first["pdf"]


def test_one_seed_has_no_bar_and_labels_can_be_given(sweep: pd.DataFrame) -> None:
    figure = learning_rate_figure(sweep.assign(seeds=1), {"grpo": "_$x$"})
    assert "_$x$" in [text.get_text().strip() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"method": ["grpo"]}), "no column learning_rate"),
        (pd.DataFrame(columns=list(SWEEP_COLUMNS)), "found 0 rows"),
    ],
)
def test_another_table_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_sweep(frame, "table.csv")


def test_a_rate_of_zero_is_refused(sweep: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="rates above 0"):
        checked_sweep(sweep.assign(learning_rate=0.0), "table.csv")


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="run the sweep"):
        read_sweep(tmp_path / "absent.csv")
