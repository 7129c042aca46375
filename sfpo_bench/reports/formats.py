"""Formats numbers as text with a useful number of digits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sfpo_bench.core.costs import CostAxis


def count_text(value: float) -> str:
    """Return `2,560`; below 100 with one decimal unless it is an integer."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}"


def seconds_text(value: float) -> str:
    """Return seconds without unit and with three digits, or all digits before the point: `1,204`, `35.2`, `0.420`."""
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:#.3g}"


def cost_text(axis: CostAxis, value: float) -> str:
    """Return a cost without its unit."""
    return seconds_text(value) if axis.is_time else count_text(value)


def ratio_text(value: float) -> str:
    """Return `2.31`, `15.4` or `120`, with enough decimals to distinguish a ratio near 1 from 1."""
    if value >= 9.995:
        return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"
    decimals = next((n for n in (2, 3, 4) if value == 1 or f"{value:.{n}f}" != f"{1:.{n}f}"), 5)
    return f"{value:.{decimals}f}" if value >= 0.01 else f"{value:.2g}"


def accuracy_text(value: float) -> str:
    """Return a share with three decimals: `0.734`."""
    return f"{value:.3f}"


def target_text(value: float) -> str:
    """Return a target with two to four decimals: `0.70`, `0.725`."""
    text = f"{value:.4f}".rstrip("0")
    return text.ljust(text.index(".") + 3, "0")


def range_text(low: int, high: int) -> str:
    """Return `10`, or `3 to 10`."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def level_text(confidence: float) -> str:
    """Return a confidence as a percentage: `95 %`."""
    return f"{100 * confidence:.4g} %"


def limit_level_text(confidence: float) -> str:
    """Return the one-sided level of each end of an interval: `97.5 %`."""
    return level_text((1 + confidence) / 2)


def reason_marks(reasons: Iterable[str]) -> dict[str, str]:
    """Return a letter for every nonempty reason, to be printed once below a table: `{"…": "(a)"}`."""
    return {reason: f"({chr(ord('a') + place)})" for place, reason in enumerate(dict.fromkeys(filter(None, reasons)))}


def reasons_text(marks: Mapping[str, str]) -> str:
    """Return the line with the reasons below the table."""
    return " ".join(f"{mark} {reason}." for reason, mark in marks.items())
