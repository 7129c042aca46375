"""What a comparison says, in plain sentences that follow from the intervals and bounds alone."""

from __future__ import annotations

from sfpo_bench.reports.axes import RESPONSES, TRAIN_SECONDS, Axis
from sfpo_bench.reports.formats import level_text, limit_level_text, ratio_text, target_text
from sfpo_bench.reports.summary import RatioRow, Summary
from sfpo_bench.statistics import Claim

MAIN_AXES = (RESPONSES, TRAIN_SECONDS)


def answers(summary: Summary, target: float) -> list[list[str]]:
    """For each arm but the baseline one sentence about responses and one about training time, at a fixed target."""
    return [[sentence(summary, arm.name, target, axis) for axis in MAIN_AXES] for arm in summary.rivals()]


def sentence(summary: Summary, arm: str, target: float, axis: Axis) -> str:
    """One sentence: cheaper, dearer, or cannot tell, decided by whether the interval or the limit excludes 1."""
    row = summary.absolute.ratio(arm, target, axis.key)
    names = (summary.arm(arm).label, summary.arm(summary.baseline).label)
    if row.claim is Claim.none:
        return f"{_undecided(names, axis)}: {row.reason} ({_reached(row, names)})."
    if row.claim is Claim.estimate:
        return _from_interval(row, names, axis, summary.confidence)
    return _from_bound(row, names, axis, summary.confidence)


def _from_interval(row: RatioRow, names: tuple[str, str], axis: Axis, confidence: float) -> str:
    arm, base = names
    if row.low is None or row.high is None:
        return f"{_undecided(names, axis)}: {row.reason} ({_seeds(row)})."
    spread = "" if row.low < row.high else "; no spread between seeds"
    target, basis = target_text(row.target), f"{level_text(confidence)} interval, {_seeds(row)}{spread}"
    if row.low > 1:
        return f"{arm} reached {target} with {_times(row.low, row.high)} times {axis.less} than {base} ({basis})."
    if row.high < 1:
        return (
            f"{arm} reached {target} with {_times(1 / row.high, 1 / row.low)} times {axis.as_much} as {base} ({basis})."
        )
    return f"{_undecided(names, axis)}: the interval {_times(row.low, row.high)} of the ratio contains 1 ({basis})."


def _from_bound(row: RatioRow, names: tuple[str, str], axis: Axis, confidence: float) -> str:
    """At least: the arm is cheaper when even the lower limit is above 1. At most: dearer when the upper is below 1."""
    (arm, base), target = names, target_text(row.target)
    limit = row.low if row.claim is Claim.at_least else row.high
    if limit is None:
        return f"{_undecided(names, axis)}: {row.reason} ({_reached(row, names)})."
    basis = f"(a bound at {limit_level_text(confidence)}; {_reached(row, names)})"
    if row.claim is Claim.at_least and limit > 1:
        return f"To {target} {arm} needs at least {ratio_text(limit)} times {axis.less} than {base} {basis}."
    if row.claim is Claim.at_most and limit < 1:
        return f"To {target} {arm} needs at least {ratio_text(1 / limit)} times {axis.as_much} as {base} {basis}."
    side = "at least" if row.claim is Claim.at_least else "at most"
    return f"{_undecided(names, axis)}: all that is known is a ratio of {side} {ratio_text(limit)} {basis}."


def _undecided(names: tuple[str, str], axis: Axis) -> str:
    return f"Cannot tell whether {names[0]} needs {axis.less} than {names[1]}"


def _seeds(row: RatioRow) -> str:
    return f"{row.arm_seeds} and {row.baseline_seeds} seeds"


def _reached(row: RatioRow, names: tuple[str, str]) -> str:
    """How many of the evaluated runs of both arms reached the target."""
    own = f"{names[0]} reached it in {row.arm_reached} of {row.arm_seeds} runs"
    return f"{own}, {names[1]} in {row.baseline_reached} of {row.baseline_seeds}"


def _times(low: float, high: float) -> str:
    return f"{ratio_text(low)} to {ratio_text(high)}"
