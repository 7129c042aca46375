"""Numbers as text: as many digits as a reader can use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sfpo_bench.core.costs import CostAxis


def count_text(value: float) -> str:
    """`2,560`; below 100 with one decimal unless whole."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}"


def seconds_text(value: float) -> str:
    """`1,204`, `35.2`, `3.14`, `0.420`: seconds without their unit, three digits or all before the point."""
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:#.3g}"


def cost_text(axis: CostAxis, value: float) -> str:
    """A cost without its unit."""
    return seconds_text(value) if axis.is_time else count_text(value)


def ratio_text(value: float) -> str:
    """`2.31`, `15.4`, `120`; as many decimals as it takes to tell a ratio near 1 from 1."""
    if value >= 9.995:
        return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"
    decimals = next((n for n in (2, 3, 4) if value == 1 or f"{value:.{n}f}" != f"{1:.{n}f}"), 5)
    return f"{value:.{decimals}f}" if value >= 0.01 else f"{value:.2g}"


def accuracy_text(value: float) -> str:
    """`0.734`: a share, three decimals."""
    return f"{value:.3f}"


def target_text(value: float) -> str:
    """`0.70`, `0.725`: a target as it was set, at least two decimals and at most four."""
    text = f"{value:.4f}".rstrip("0")
    return text.ljust(text.index(".") + 3, "0")


def range_text(low: int, high: int) -> str:
    """`10`, or `3 to 10`."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def level_text(confidence: float) -> str:
    """`95 %`: a confidence as a percentage."""
    return f"{100 * confidence:.4g} %"


def limit_level_text(confidence: float) -> str:
    """`97.5 %`: the level at which each end of an interval holds alone."""
    return level_text((1 + confidence) / 2)


def reason_marks(reasons: Iterable[str]) -> dict[str, str]:
    """A letter for every reason that is not empty, whose text is printed once below a table: `{"…": "(a)"}`."""
    return {reason: f"({chr(ord('a') + place)})" for place, reason in enumerate(dict.fromkeys(filter(None, reasons)))}


def reasons_text(marks: Mapping[str, str]) -> str:
    """The line below the table."""
    return " ".join(f"{mark} {reason}." for reason, mark in marks.items())
