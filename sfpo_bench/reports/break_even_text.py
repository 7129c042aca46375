"""The section of the report on when saving steps saves time, and a table of its curves."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sfpo_bench.reports.document import Block, Picture, heading, paragraphs, table
from sfpo_bench.reports.formats import level_text, ratio_text, reason_marks, reasons_text, target_text
from sfpo_bench.reports.papers.pass_shares import PublishedShare, published_shares
from sfpo_bench.reports.summary import BreakEven, BreakEvenRow, PassShare, Summary, TimeRatio

COLUMNS = ("arm", "target", "share", "time_ratio", "low", "high")
CANNOT_SAY = (
    "What this cannot say: the steps saved are those of these runs. A larger model and longer responses change more "
    "than the cost of a pass. They also change how soon the responses of a batch are stale and how noisy its gradient "
    "is, and so the number of steps that more passes save. Assumptions: every optimizer step costs as much as one of "
    "the baseline's, everything else is proportional to the responses, and snapshot and reposition cost nothing."
)


def break_even_frame(summary: Summary) -> pd.DataFrame:
    """Return the curves, one point per row: the columns `COLUMNS`."""
    found = summary.break_even.rows if summary.break_even else ()
    rows = [(row.arm, row.target, one.share, one.ratio, one.low, one.high) for row in found for one in row.curve]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def break_even_blocks(summary: Summary, figure: str) -> list[Block]:
    """Return the figure, its explanation and limits, and the table; no blocks if passes do not differ."""
    if summary.break_even is None:
        return []
    found = summary.break_even
    marks = reason_marks(row.reason for row in found.rows)
    header = ("target", "arm", "passes", "steps saved, ratio", "saves time where a pass is", "a pass here")
    rows = [_cells(summary, found, row, marks) for row in found.rows]
    arms = [row.arm for row in found.rows]
    pictured = [Picture("Time ratio over the share of one update pass in a step", figure)] if drawn(found) else []
    return [
        heading(2, "When saving steps saves time"),
        *pictured,
        *paragraphs([*break_even_caption(summary), *_table_note(summary, found)]),
        table((*header, "time ratio at the baseline's"), rows, left=2, arms=arms),
        *paragraphs([reasons_text(marks)]),
    ]


def drawn(found: BreakEven) -> list[float]:
    """Return the targets that have a panel in the figure."""
    return list(dict.fromkeys(row.target for row in found.rows if row.curve))


def break_even_caption(summary: Summary) -> list[str]:
    """Return the explanation of the figure, the shares of published runs, and the limits of the result."""
    assert summary.break_even is not None
    base, own = summary.arm(summary.baseline).label, summary.break_even.share_of(summary.baseline)
    here = "" if own is None else f" Vertical line: u in the runs of {base} here, {share_text(own)}."
    shown = (
        f"Time of {base} to the target divided by that of the arm, if one update pass takes the share u of a step of "
        f"{base} and the rest is proportional to the responses. This is the ratio of steps divided by 1 + (m - 1) u, "
        f"with m passes of the arm for each pass of {base}, as counted in these runs (K + 1 for SFPO). Above 1 the arm "
        f"takes less time. Bands: {level_text(summary.confidence)} Welch intervals over seeds.{here}"
    )
    return [shown, _published_text(published_shares()), CANNOT_SAY]


def share_text(own: PassShare) -> str:
    """`50.0 % (49.4 to 50.6; 10 runs)`."""
    runs = f"{own.runs} run" if own.runs == 1 else f"{own.runs} runs"
    between = "" if own.low is None or own.high is None else f"{100 * own.low:.1f} to {100 * own.high:.1f}; "
    return f"{100 * own.share:.1f} % ({between}{runs})"


def _published_text(shares: Sequence[PublishedShare]) -> str:
    papers: dict[str, list[str]] = {}
    for place, one in enumerate(shares, 1):
        listed = papers.setdefault(f"{one.paper} ({one.source})", [])
        listed.append(f"{place} {one.model} {100 * one.share:.1f} %")
    said = "; ".join(f"{paper}: {', '.join(listed)}" for paper, listed in papers.items())
    return f"Triangles: u of published runs. {said}."


def _table_note(summary: Summary, found: BreakEven) -> list[str]:
    base = summary.arm(summary.baseline).label
    if not found.shares:
        return ["A pass here: these runs did not record how long their passes took."]
    return [
        f"Passes: optimizer steps up to the target, divided by those of {base} for the same number of responses. A "
        f"pass here: its share of a step of {base}, from the arm's own seconds (passes and steps), with a t interval "
        "over runs."
    ]


def _cells(summary: Summary, found: BreakEven, row: BreakEvenRow, marks: dict[str, str]) -> tuple[str, ...]:
    own, base = found.share_of(row.arm), found.share_of(summary.baseline)
    here = "" if own is None else share_text(own)
    left = (target_text(row.target), summary.arm(row.arm).label)
    if not row.curve:
        return (*left, "", f"cannot tell {marks[row.reason]}", "", here, "")
    at = "" if base is None else _ratio(row.at(base.share))
    return (*left, ratio_text(row.passes or 1.0), _ratio(row.curve[0]), _even(row), here, at)


def _ratio(one: TimeRatio) -> str:
    if one.low is None or one.high is None:
        return ratio_text(one.ratio)
    return f"{ratio_text(one.ratio)} ({ratio_text(one.low)} to {ratio_text(one.high)})"


def _even(row: BreakEvenRow) -> str:
    """Return `below 16.6 % (11.5 to 22.3)`. If an end of the interval never crosses 1, its share is 0 or 100 %."""
    first, last = row.curve[0], row.curve[-1]
    if first.ratio == last.ratio or abs((row.passes or 1.0) - 1) < 1e-9:
        return "as steps at any share"
    if row.even is None:
        ends = [end for end in (row.even_low, row.even_high) if end is not None]
        limit = f" (an end of the interval: {100 * ends[0]:.1f} %)" if ends else ""
        return f"{'any' if first.ratio > 1 else 'no'} share{limit}"
    side = "below" if first.ratio > last.ratio else "above"
    if first.low is None or first.high is None:
        return f"{side} {100 * row.even:.1f} %"
    falls = side == "below"
    low = row.even_low if row.even_low is not None else float((first.low > 1) is falls)
    high = row.even_high if row.even_high is not None else float((first.high > 1) is falls)
    ends = sorted((low, high))
    return f"{side} {100 * row.even:.1f} % ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
