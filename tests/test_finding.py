"""The page of the finding and the results behind it say what the runs of the three studies said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_rel

from docs.include import table_below

ROOT = Path(__file__).parents[1]
SWEEPS = ROOT / "sweeps"
PAGE = (ROOT / "docs" / "finding.md").read_text(encoding="utf-8")
RESULTS = (
    "league", "league_pairs", "reposition", "reposition_areas", "league_smollm2", "league_smollm2_pairs",
)  # fmt: skip
MINUS = "\N{MINUS SIGN}"
RESULT = rf"[+{MINUS}-]?\d+\.\d+"  # settings and counts are whole numbers


def frame(name: str) -> pd.DataFrame:
    return pd.read_csv(SWEEPS / f"{name}.csv")


def records(name: str) -> list[dict[str, Any]]:
    """A mapping for each row."""
    return [dict(zip(row.keys(), row, strict=True)) for _, row in frame(name).iterrows()]


def areas() -> pd.DataFrame:
    """A row for each seed, a column for each arm."""
    return frame("reposition_areas").pivot(index="seed", columns="arm", values="area")


def key(row: dict[str, Any]) -> str:
    return f"{row['condition']}-k{row['fast_passes']}-sfpo-a{100 * row['alpha']:g}-x{100 * row['rate_factor']:g}"


def test_every_difference_is_that_of_the_areas_seed_by_seed() -> None:
    runs, rows = areas(), records("reposition")
    assert len(rows) > 10 and {row["control"] for row in rows} <= set(runs.columns)
    for row in rows:
        apart = (runs[key(row)] - runs[row["control"]]).dropna()
        reach = student.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
        assert (row["seeds"], row["difference"]) == (len(apart), pytest.approx(apart.mean(), abs=1e-12))
        assert (row["low"], row["high"]) == pytest.approx((apart.mean() - reach, apart.mean() + reach), abs=1e-9)
        own = ttest_rel(runs[key(row)], runs[row["control"]], nan_policy="omit").pvalue
        assert row["p"] == pytest.approx(own, abs=1e-9)


def test_the_p_values_are_adjusted_over_the_whole_study() -> None:
    rows = frame("reposition").sort_values("p")
    stepped = np.maximum.accumulate([min(1.0, p * (len(rows) - place)) for place, p in enumerate(rows["p"])])
    assert rows["p_holm"].tolist() == pytest.approx(stepped.tolist())


@pytest.mark.parametrize("league", ["league", "league_smollm2"])
def test_a_league_compares_every_pair_of_methods_that_differ(league: str) -> None:
    rows, pairs = frame(league), records(f"{league}_pairs")
    own = rows[rows["same_as"].isna()]
    assert len(pairs) == len(own) * (len(own) - 1) // 2
    finals = own.set_index("arm")["final"]
    for pair in pairs:
        assert pair["difference"] == pytest.approx(finals[pair["first"]] - finals[pair["second"]], abs=1e-9)
        assert pair["told_apart"] == (pair["p_holm"] <= 0.05)


def results() -> tuple[list[float], list[tuple[float, float, float]]]:
    """Every number of the results, as it is and in percent, and every value with its interval."""
    frames = [frame(name) for name in RESULTS]
    numbers = [value for one in frames for value in one.select_dtypes("number").to_numpy().ravel() if value == value]
    threes = []
    for one in frames:
        for point, low, high in [("difference", "low", "high"), ("final", "final_low", "final_high")]:
            if {point, low, high} <= set(one.columns):
                threes += list(one[[point, low, high]].itertuples(index=False, name=None))
        for name in [column.removesuffix("_ratio") for column in one.columns if column.endswith("_ratio")]:
            threes += list(one[[f"{name}_ratio", f"{name}_low", f"{name}_high"]].itertuples(index=False, name=None))
    for report in ("league.md", "reposition.md", "league_smollm2.md"):
        text = (SWEEPS / report).read_text(encoding="utf-8")
        numbers += map(number, re.findall(RESULT, text))
        threes += [tuple(map(number, found)) for found in _threes(text)]
    return [*numbers, *(100 * value for value in numbers)], [*threes, *(tuple(100 * x for x in t) for t in threes)]


def number(text: str) -> float:
    return float(text.replace(MINUS, "-"))


def _threes(text: str) -> list[tuple[str, str, str]]:
    return re.findall(rf"({RESULT}) \(({RESULT}) to ({RESULT})\)", text)


def prose() -> str:
    """The page without its included tables and without code."""
    text = re.sub(r"^\|.*$", "", PAGE, flags=re.MULTILINE)
    return re.sub(r"`[^`]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def near(text: str, value: float) -> bool:
    """Whether a number of the page is a result, rounded as the page has it."""
    return bool(abs(number(text) - value) <= 0.5 * 10 ** -len(text.partition(".")[2]) + 1e-9)


def test_every_interval_of_the_page_is_a_result() -> None:
    shown, known = _threes(prose()), results()[1]
    wrong = [one for one in shown if not any(all(map(near, one, three)) for three in known)]
    assert len(shown) > 5 and wrong == []


def test_every_decimal_of_the_page_is_a_result() -> None:
    known = results()[0]
    wrong = [one for one in re.findall(RESULT, prose()) if not any(near(one, value) for value in known)]
    assert wrong == []


def test_a_table_is_found_by_its_heading_alone() -> None:
    report = "# A\n\n| x |\n|--|\n| 1 |\n\n## B c\n\ntext\n\n| y |\n|--|\n| 2 |\n\nmore\n\n| z |\n"
    assert table_below(report, "B-c") == "| y |\n|--|\n| 2 |\n"
    with pytest.raises(ValueError, match="no table below a heading C"):
        table_below(report, "C")
