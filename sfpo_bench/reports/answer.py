"""What a comparison says, in plain sentences that follow from the intervals and bounds alone."""

from __future__ import annotations

from sfpo_bench.reports.axes import MAIN_AXES, Axis, known_axes
from sfpo_bench.reports.formats import level_text, limit_level_text, ratio_text, target_text
from sfpo_bench.reports.summary import RatioRow, Summary
from sfpo_bench.statistics import SEEDS_AT_MOST, Claim, Verdict, largest_factor


def answers(summary: Summary, target: float) -> list[list[str]]:
    """For each arm but the baseline one sentence about responses and one about training time, where they were recorded,
    at a fixed target."""
    axes = known_axes(summary.axes, MAIN_AXES)
    return [[sentence(summary, arm.name, target, axis) for axis in axes] for arm in summary.rivals()]


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
    basis = f"a bound at {limit_level_text(confidence)}; {_reached(row, names)}"
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
        basis = f"a bound at {limit_level_text(confidence)}; {_reached(row, names)}"
        return f"{_undecided(names, axis)}: all that is known is a ratio of {side} {ratio_text(limit)} ({basis})."
    assert row.low is not None and row.high is not None
    apart = row.low > 1 or row.high < 1
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


def _reached(row: RatioRow, names: tuple[str, str]) -> str:
    """How many of the evaluated runs of both arms reached the target."""
    own = f"{names[0]} reached it in {row.arm_reached} of {row.arm_seeds} runs"
    return f"{own}, {names[1]} in {row.baseline_reached} of {row.baseline_seeds}"
