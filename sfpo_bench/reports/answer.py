"""What a comparison says, in plain sentences that follow from the intervals and bounds alone."""

from __future__ import annotations

from sfpo_bench.reports.axes import MAIN_AXES, Axis, known_axes
from sfpo_bench.reports.formats import level_text, limit_level_text, ratio_text, target_text
from sfpo_bench.reports.summary import RatioRow, Summary
from sfpo_bench.statistics import FEWEST_SEEDS, SEEDS_AT_MOST, Claim, Verdict, largest_factor


def answers(summary: Summary, target: float) -> list[list[str]]:
    """For each arm but the baseline one sentence about responses and one about training time, where they were recorded,
    at a fixed target; none on an axis of which `unanswered` speaks."""
    axes = [axis for axis in known_axes(summary.axes, MAIN_AXES) if _common_reason(summary, axis) is None]
    return [[sentence(summary, arm.name, target, axis) for axis in axes] for arm in summary.rivals()]


def unanswered(summary: Summary) -> list[str]:
    """One line for each axis on which no arm and target can be compared for one and the same reason."""
    reasons = {axis: _common_reason(summary, axis) for axis in known_axes(summary.axes, MAIN_AXES)}
    return [
        f"{axis.noun.capitalize()}: no arm is compared with {summary.arm(summary.baseline).label}: {reason}."
        for axis, reason in reasons.items()
        if reason is not None
    ]


def _common_reason(summary: Summary, axis: Axis) -> str | None:
    """Why nothing is said on the axis, where that is the same for each of several statements."""
    rows = [row for row in summary.absolute.ratios if row.axis == axis.key]
    reasons = {row.reason for row in rows}
    same = len(rows) > 1 and len(reasons) == 1 and all(row.claim is Claim.none for row in rows)
    return reasons.pop() if same else None


def sentence(summary: Summary, arm: str, target: float, axis: Axis) -> str:
    """One sentence, decided by the row's verdict: fewer, more, no difference larger than, or cannot tell."""
    row = summary.absolute.ratio(arm, target, axis.key)
    names = (summary.arm(arm).label, summary.arm(summary.baseline).label)
    match row.verdict:
        case Verdict.cheaper | Verdict.dearer:
            return _difference(row, names, axis, summary.confidence)
        case Verdict.alike:
            return _no_difference(row, names, axis, summary.confidence)
        case Verdict.unclear:
            return _unclear(row, names, axis, summary.confidence)
    return f"{_undecided(names, axis)}: {row.reason} ({_reached(row, names)})."


def _difference(row: RatioRow, names: tuple[str, str], axis: Axis, confidence: float) -> str:
    """The factor between two ends, or at least the limit of a bound."""
    (arm, base), target = names, target_text(row.target)
    cheaper = row.verdict is Verdict.cheaper
    kind = axis.less if cheaper else axis.more
    ends = [value if cheaper else 1 / value for value in (row.low, row.high) if value is not None]
    if row.claim is Claim.estimate:
        low, high = sorted(ends)
        factor = f"between {ratio_text(low)} and {ratio_text(high)}"
        return f"{arm} reached {target} with {kind} than {base}, by a factor {factor} ({_basis(row, confidence)})."
    basis = f"a bound at {limit_level_text(confidence)}; {_reached(row, names)}{_shape(row)}"
    return f"To {target} {arm} needs {kind} than {base}, by a factor of at least {ratio_text(ends[0])} ({basis})."


def _no_difference(row: RatioRow, names: tuple[str, str], axis: Axis, confidence: float) -> str:
    assert row.low is not None and row.high is not None
    return (
        f"{names[0]} and {names[1]}: no difference in {axis.noun} to {target_text(row.target)} larger than a factor of "
        f"{ratio_text(largest_factor(row.low, row.high))} is compatible ({_basis(row, confidence)})."
    )


def _unclear(row: RatioRow, names: tuple[str, str], axis: Axis, confidence: float) -> str:
    """What is known of the ratio, why it decides nothing, and the seeds that would."""
    if row.claim is not Claim.estimate:
        side, limit = ("at least", row.low) if row.claim is Claim.at_least else ("at most", row.high)
        assert limit is not None
        basis = f"a bound at {limit_level_text(confidence)}; {_reached(row, names)}{_shape(row)}"
        few = min(row.arm_seeds, row.baseline_seeds) < FEWEST_SEEDS
        basis += f"; fewer than {FEWEST_SEEDS} seeds of an arm, too few for a verdict" if few else ""
        return f"{_undecided(names, axis)}: all that is known is a ratio of {side} {ratio_text(limit)} ({basis})."
    assert row.low is not None and row.high is not None
    apart = row.low > 1 or row.high < 1
    if min(row.arm_seeds, row.baseline_seeds) < FEWEST_SEEDS:
        why = (
            f"the interval {ratio_text(row.low)} to {ratio_text(row.high)} of the ratio is of fewer than {FEWEST_SEEDS}"
        )
        return f"{_undecided(names, axis)}: {why} seeds of an arm, too few for a verdict ({_basis(row, confidence)})."
    why = f"excludes 1 alone but not among {row.family} statements" if apart else "contains 1"
    interval = f"the interval {ratio_text(row.low)} to {ratio_text(row.high)} of the ratio {why}"
    return f"{_undecided(names, axis)}: {interval}; {_needed(row)} ({_basis(row, confidence)})."


def _needed(row: RatioRow) -> str:
    assert row.point is not None
    count = f"more than {SEEDS_AT_MOST:,}" if row.seeds_needed is None else f"{row.seeds_needed:,}"
    return f"{count} seeds per arm would be needed to confirm {ratio_text(row.point)}"


def _undecided(names: tuple[str, str], axis: Axis) -> str:
    return f"Cannot tell whether {names[0]} needs {axis.less} than {names[1]}"


def _basis(row: RatioRow, confidence: float) -> str:
    spread = "; no spread between seeds" if row.low == row.high else ""
    return f"{level_text(confidence)} interval, {row.arm_seeds} and {row.baseline_seeds} seeds{spread}"


def _shape(row: RatioRow) -> str:
    """What of the costs' shape made a bound of it, where it was that."""
    return f"; {row.reason}" if row.reason else ""


def _reached(row: RatioRow, names: tuple[str, str]) -> str:
    """How many of the evaluated runs of both arms reached the target."""
    own = f"{names[0]} reached it in {row.arm_reached} of {row.arm_seeds} runs"
    return f"{own}, {names[1]} in {row.baseline_reached} of {row.baseline_seeds}"
