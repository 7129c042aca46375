"""The conclusions of a comparison as sentences that follow from its intervals and bounds."""

from __future__ import annotations

from collections.abc import Iterator

from sfpo_bench.core.costs import MAIN_AXES, CostAxis
from sfpo_bench.reports.axes import known_axes
from sfpo_bench.reports.document import Line, Part, Span, line
from sfpo_bench.reports.formats import level_text, limit_level_text, ratio_text, target_text
from sfpo_bench.reports.summary import RatioRow, Summary
from sfpo_bench.statistics import FEWEST_SEEDS, SEEDS_AT_MOST, Claim, Verdict, largest_factor


def answers(summary: Summary, target: float) -> list[list[Line]]:
    """Return for each arm but the baseline one sentence per recorded main axis (responses, training time) at a target.

    Axes that `unanswered` covers are left out."""
    axes = [axis for axis in known_axes(summary.axes, MAIN_AXES) if _common_reason(summary, axis) is None]
    return [[sentence(summary, arm.name, target, axis) for axis in axes] for arm in summary.rivals()]


def unanswered(summary: Summary) -> list[str]:
    """Return one line for each axis on which no arm can be compared at any target, for the same reason."""
    reasons = {axis: _common_reason(summary, axis) for axis in known_axes(summary.axes, MAIN_AXES)}
    return [
        f"{axis.noun.capitalize()}: no arm is compared with {summary.arm(summary.baseline).label}: {reason}."
        for axis, reason in reasons.items()
        if reason is not None
    ]


def _common_reason(summary: Summary, axis: CostAxis) -> str | None:
    """Return the reason why an axis has no statements, if all of several rows share it."""
    rows = [row for row in summary.absolute.ratios if row.axis == axis.value]
    reasons = {row.reason for row in rows}
    same = len(rows) > 1 and len(reasons) == 1 and all(row.claim is Claim.none for row in rows)
    return reasons.pop() if same else None


def sentence(summary: Summary, arm: str, target: float, axis: CostAxis) -> Line:
    """Return one sentence that states the row's verdict: fewer, more, no difference larger than, or cannot tell."""
    said = _Sentence(summary, arm, summary.absolute.ratio(arm, target, axis.value), axis)
    match said.row.verdict:
        case Verdict.cheaper | Verdict.dearer:
            return line(*said.difference())
        case Verdict.alike:
            return line(*said.no_difference())
        case Verdict.unclear:
            return line(*said.unclear())
    return line(*said.undecided(), f": {said.row.reason} (", *said.reached(), ").")


class _Sentence:
    """The parts of a sentence about one ratio. Numbers link to the runs they come from; targets and levels do not."""

    def __init__(self, summary: Summary, arm: str, row: RatioRow, axis: CostAxis) -> None:
        self.row = row
        self._arm, self._base = summary.arm(arm).span(), summary.arm(summary.baseline).span()
        self._axis = axis
        self._confidence = summary.confidence

    def number(self, text: str | int) -> Span:
        """Return a number that comes from the arm's runs, alone or relative to the baseline's."""
        return Span(str(text), arm=self._arm.arm)

    def _base_number(self, count: int) -> Span:
        return Span(str(count), arm=self._base.arm)

    def difference(self) -> Iterator[Part]:
        """State the factor with both limits, or for a bound its one limit."""
        row, target = self.row, target_text(self.row.target)
        cheaper = row.verdict is Verdict.cheaper
        kind = self._axis.less if cheaper else self._axis.more
        ends = [value if cheaper else 1 / value for value in (row.low, row.high) if value is not None]
        if row.claim is Claim.estimate:
            low, high = sorted(ends)
            yield from (self._arm, f" reached {target} with {kind} than ", self._base, ", by a factor between ")
            yield from (self._ratio(low), " and ", self._ratio(high), " (", *self._basis(), ").")
            return
        yield from (f"To {target} ", self._arm, f" needs {kind} than ", self._base, ", by a factor of at least ")
        yield from (self._ratio(ends[0]), " (", *self._bound(), ").")

    def no_difference(self) -> Iterator[Part]:
        row = self.row
        assert row.low is not None and row.high is not None
        largest = self._ratio(largest_factor(row.low, row.high))
        yield from (self._arm, " and ", self._base, f": no difference in {self._axis.noun} to ")
        yield from (
            f"{target_text(row.target)} larger than a factor of ",
            largest,
            " is compatible (",
            *self._basis(),
            ").",
        )

    def unclear(self) -> Iterator[Part]:
        """State what is known of the ratio, why it is inconclusive, and how many seeds would be needed."""
        row = self.row
        few = min(row.arm_seeds, row.baseline_seeds) < FEWEST_SEEDS
        yield from self.undecided()
        if row.claim is not Claim.estimate:
            side, limit = ("at least", row.low) if row.claim is Claim.at_least else ("at most", row.high)
            assert limit is not None
            yield from (f": all that is known is a ratio of {side} ", self._ratio(limit), " (", *self._bound())
            yield f"; fewer than {FEWEST_SEEDS} seeds of an arm, too few for a verdict)." if few else ")."
            return
        assert row.low is not None and row.high is not None
        yield from (": the interval ", self._ratio(row.low), " to ", self._ratio(row.high), " of the ratio ")
        if few:
            yield f"is of fewer than {FEWEST_SEEDS} seeds of an arm, too few for a verdict ("
            yield from (*self._basis(), ").")
            return
        apart = row.low > 1 or row.high < 1
        yield from (("excludes 1 alone but not among ", f"{row.family} statements") if apart else ("contains 1",))
        yield from ("; ", *self._needed(), " (", *self._basis(), ").")

    def undecided(self) -> Iterator[Part]:
        yield from ("Cannot tell whether ", self._arm, f" needs {self._axis.less} than ", self._base)

    def reached(self) -> Iterator[Part]:
        """State how many of the evaluated runs of both arms reached the target."""
        row, number, base = self.row, self.number, self._base_number
        yield from (self._arm, " reached it in ", number(row.arm_reached), " of ", number(row.arm_seeds), " runs, ")
        yield from (self._base, " in ", base(row.baseline_reached), " of ", base(row.baseline_seeds))

    def _ratio(self, value: float) -> Span:
        return self.number(ratio_text(value))

    def _needed(self) -> Iterator[Part]:
        row = self.row
        assert row.point is not None
        none = row.seeds_needed is None
        yield f"more than {SEEDS_AT_MOST:,}" if none else self.number(f"{row.seeds_needed:,}")
        yield from (" seeds per arm would be needed to confirm ", self._ratio(row.point))

    def _basis(self) -> Iterator[Part]:
        row = self.row
        yield from (f"{level_text(self._confidence)} interval, ", self.number(row.arm_seeds), " and ")
        yield from (self._base_number(row.baseline_seeds), " seeds")
        if row.low == row.high:
            yield "; no spread between seeds"

    def _bound(self) -> Iterator[Part]:
        """State the runs behind a bound, and the reason if the distribution of costs made it a bound."""
        yield from (f"a bound at {limit_level_text(self._confidence)}; ", *self.reached())
        if self.row.reason:
            yield f"; {self.row.reason}"
