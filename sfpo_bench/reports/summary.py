"""`summary.json`: every number in a report's tables, sentences and figure, and the points they are computed from.

Summary
  arms[]       settings, counts, `curves[]` with one entry per planned seed, final accuracy
  absolute     costs and ratios at the targets fixed before the run
  paper        the same at the target of the SFPO paper: the baseline's best mean accuracy
  pairs[]      what the runs of any two arms could tell apart
  break_even   when saving steps saves time: the share of one update pass in a step
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sfpo_bench.core.costs import AXIS_KEYS, CostAxis, Costs
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.stop_at import StopAt
from sfpo_bench.core.types import Split
from sfpo_bench.reports.document import Span
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.results.codec import INLINE, decoded, from_plain, to_plain
from sfpo_bench.statistics import Claim, SeedCost, Verdict, cost_to_target

SUMMARY_FILE = "summary.json"
SCHEMA_VERSION = 1


class IntervalKind(StrEnum):
    """What the interval of an accuracy covers.

    `seeds`: Student's t over seeds. `responses`: Wilson over the responses of one run. `problems`: Wilson over the
    problems of one run, if fewer than its responses. `none`: the point, for one imported run with an unknown number of
    responses.
    """

    seeds = "seeds"
    responses = "responses"
    problems = "problems"
    none = "none"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """An evaluation of a run: costs so far, and `accuracy` over `n` responses to `problems` problems (0: unknown)."""

    step: int
    costs: Costs = field(metadata=INLINE)
    accuracy: float
    n: int
    problems: int = 0

    def cost(self, axis: str) -> float:
        """Return the cost on the axis with that key."""
        return self.costs.on(CostAxis(axis))


@dataclass(frozen=True, slots=True)
class SeedCurve:
    """One planned run. `points` is empty if it was not evaluated; `cause` states why it failed or is unreadable.

    `trigger_step` is the step at which the fast stage was switched off permanently, or None. `processes` is the number
    of ranks. `planned_share` is the share of planned steps that a run had taken when it ended at its target, else 1.
    """

    seed: int
    status: SeedStatus
    step: int
    cause: str
    device: str
    trigger_step: int | None
    greedy_accuracy: float | None
    greedy_n: int | None
    points: tuple[CurvePoint, ...]
    greedy_problems: int = 0
    processes: int = 1
    planned_share: float = 1.0

    def costs(self, axis: str) -> list[float]:
        return [point.cost(axis) for point in self.points]

    def accuracies(self) -> list[float]:
        return [point.accuracy for point in self.points]

    def cost_to(self, target: float, axis: str) -> SeedCost:
        """Return the run's cost to reach `target`."""
        return cost_to_target(self.costs(axis), self.accuracies(), target, self.planned_share)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean accuracy of `seeds` finished runs. `responses` are the distinct numbers of responses per evaluation,
    `problems` the distinct numbers of problems (0: unknown)."""

    mean: float
    low: float
    high: float
    interval: IntervalKind
    seeds: int
    responses: tuple[int, ...]
    problems: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """An arm: its settings, how many of its runs have finished, and their final accuracy.

    `cpu_per_wall` is the mean over runs of CPU seconds per training second and process: about 1 for one busy thread.
    """

    name: str
    label: str
    note: str
    overrides: tuple[str, ...]
    settings: Mapping[str, object]
    seeds_planned: int
    seeds_finished: int
    curves: tuple[SeedCurve, ...]
    final: Accuracy | None
    final_greedy: Accuracy | None
    cpu_per_wall: float | None

    def span(self) -> Span:
        """Return the arm's label, linked to its runs."""
        return Span(" ".join(self.label.split()), arm=self.name)

    def evaluated(self) -> tuple[SeedCurve, ...]:
        """Return the runs with at least one evaluation."""
        return tuple(curve for curve in self.curves if curve.points)

    def counted(self) -> tuple[SeedCurve, ...]:
        """Return the runs that means use: the finished ones, or every evaluated one if none has finished."""
        evaluated = self.evaluated()
        return tuple(curve for curve in evaluated if curve.status is SeedStatus.finished) or evaluated

    def seed_costs(self, target: float, axis: str) -> list[SeedCost]:
        """Return the cost of each evaluated run to reach the target on an axis."""
        return [curve.cost_to(target, axis) for curve in self.evaluated()]

    def final_accuracies(self) -> list[float]:
        """Return the last point of each finished run."""
        return [
            curve.points[-1].accuracy for curve in self.curves if curve.points and curve.status is SeedStatus.finished
        ]


@dataclass(frozen=True, slots=True)
class CostRow:
    """The cost of an arm to reach a target on one axis: see `statistics.Statement`. `seeds` is the number evaluated."""

    arm: str
    target: float
    axis: str
    claim: Claim
    point: float | None
    low: float | None
    high: float | None
    reason: str
    reached: int
    seeds: int


@dataclass(frozen=True, slots=True)
class RatioRow:
    """Cost of the baseline over cost of the arm: above 1 the arm is cheaper. See `statistics.cost_ratio`.

    `detectable` is the smallest ratio above 1 that these seeds and spreads would distinguish from 1 with 80 % power;
    None for bounds, whose spread is unknown. The following fields are set if the answer states the ratio: `family` is
    the number of statements judged together, `adjusted_p` is Holm's, `seeds_needed` is the number per arm that would
    detect the observed ratio with 80 % power at level 0.05 / family (None: more than 1000, or unknown).
    """

    arm: str
    target: float
    axis: str
    claim: Claim
    point: float | None
    low: float | None
    high: float | None
    reason: str
    arm_reached: int
    arm_seeds: int
    baseline_reached: int
    baseline_seeds: int
    p_value: float | None = None
    detectable: float | None = None
    seeds_needed: int | None = None
    family: int = 0
    adjusted_p: float | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class TargetBlock:
    """Costs of every arm and ratios of every arm but the baseline, for each target and axis; `note` describes it."""

    targets: tuple[float, ...]
    note: str
    costs: tuple[CostRow, ...]
    ratios: tuple[RatioRow, ...]

    def cost(self, arm: str, target: float, axis: str) -> CostRow:
        return next(row for row in self.costs if (row.arm, row.target, row.axis) == (arm, target, axis))

    def ratio(self, arm: str, target: float, axis: str) -> RatioRow:
        return next(row for row in self.ratios if (row.arm, row.target, row.axis) == (arm, target, axis))


ACCURACY = "accuracy"  # the only measure of a pair that is not a cost axis


@dataclass(frozen=True, slots=True)
class PairRow:
    """Which difference the runs of two arms showed on one measure, and which they could have detected.

    `measure` is `accuracy` (the final one) or the key of a cost axis, with the `target` of the cost. `seen` is the
    accuracy of `second` minus that of `first`, or the cost of `first` over that of `second`: a positive difference and
    a ratio above 1 favor `second`. The `family` is every pair (and target) of the measure. `detectable` is the smallest
    difference, or ratio above 1, that would be found with 80 % power at level 0.05 / family. `seeds_needed` is the
    number per arm that would find the seen one at that level and power (None with a `detectable`: more than 1000). If
    there is no `detectable`, `reason` states why. `separated` is True if Holm's test over the family distinguishes the
    arms.
    """

    first: str
    second: str
    measure: str
    target: float | None
    seen: float | None
    first_seeds: int
    second_seeds: int
    family: int
    detectable: float | None = None
    seeds_needed: int | None = None
    p_value: float | None = None
    adjusted_p: float = 1.0
    separated: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PassShare:
    """The share u of one update pass in a step of the baseline, computed from the seconds of an arm's runs.

    It is the mean over `runs` with a t interval (None: one run). `passes` is the number of optimizer steps per step of
    the arm divided by that of the baseline.
    """

    arm: str
    passes: float
    share: float
    low: float | None
    high: float | None
    runs: int


@dataclass(frozen=True, slots=True)
class TimeRatio:
    """The time of the baseline to a target divided by an arm's, if one pass takes `share` of a baseline's step."""

    share: float
    ratio: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class BreakEvenRow:
    """The time ratio of an arm to a target as a function of the share of a pass.

    `passes` is the number of optimizer steps per step up to the target divided by the baseline's (geometric means). The
    `curve` goes from share 0, where it is the ratio of steps, to share 1, where it is the ratio of optimizer steps.
    `even` is the share at which the times are equal, `even_low` and `even_high` those for the ends of the interval;
    None if there is no such share between 0 and 1. A ratio without an estimate has no curve; `reason` states why.
    """

    arm: str
    target: float
    seeds: int
    baseline_seeds: int
    passes: float | None
    curve: tuple[TimeRatio, ...]
    even: float | None
    even_low: float | None
    even_high: float | None
    reason: str

    def at(self, share: float) -> TimeRatio:
        """Return the ratio at a share. Between points of the curve its inverse is interpolated linearly."""
        return between(self.curve, share)


@dataclass(frozen=True, slots=True)
class BreakEven:
    """When saving steps saves time: see `break_even.py`."""

    shares: tuple[PassShare, ...]
    rows: tuple[BreakEvenRow, ...]

    def share_of(self, arm: str) -> PassShare | None:
        return next((one for one in self.shares if one.arm == arm), None)


def between(curve: Sequence[TimeRatio], share: float) -> TimeRatio:
    """Return a point of a curve of time ratios, interpolated between its own points."""
    after = next(place for place, one in enumerate(curve) if one.share >= share)
    high, low = curve[after], curve[max(0, after - 1)]
    part = 1.0 if high.share == low.share else (share - low.share) / (high.share - low.share)

    def mixed(one: float | None, two: float | None) -> float | None:
        return None if one is None or two is None else 1 / ((1 - part) / one + part / two)

    ratio = mixed(low.ratio, high.ratio)
    assert ratio is not None
    return TimeRatio(share, ratio, mixed(low.low, high.low), mixed(low.high, high.high))


@dataclass(frozen=True, slots=True)
class Summary:
    """All numbers of a comparison; intervals are at `confidence`.

    `paper` is None until the baseline has an evaluation, and if runs ended at their target, since the baseline's best
    accuracy is then unknown. `axes` are the recorded cost axes. `origin` describes where imported runs come from; empty
    for runs of this package. `stop_at` is the accuracy at which runs end before `steps`, or None.
    """

    schema_version: int
    name: str
    baseline: str
    experiment: str
    axes_note: str
    split: Split
    mode: str
    temperature: float
    steps: int
    code_version: str
    confidence: float
    targets: tuple[float, ...]
    arms: tuple[ArmSummary, ...]
    absolute: TargetBlock
    paper: TargetBlock | None
    axes: tuple[str, ...] = AXIS_KEYS
    origin: str = ""
    stop_at: StopAt | None = None
    pairs: tuple[PairRow, ...] = ()
    break_even: BreakEven | None = None

    @property
    def runs_stopped(self) -> int:
        """Number of runs that ended at their target before their last step, so that their further course is unknown."""
        return sum(curve.planned_share < 1 for arm in self.arms for curve in arm.curves)

    def arm(self, name: str) -> ArmSummary:
        return next(arm for arm in self.arms if arm.name == name)

    def rivals(self) -> tuple[ArmSummary, ...]:
        """Return every arm but the baseline."""
        return tuple(arm for arm in self.arms if arm.name != self.baseline)

    def separated(self, one: str, other: str, measure: str = ACCURACY) -> bool:
        """Return True if the runs distinguish the two arms in final accuracy, or in a cost to any of the targets."""
        both = {one, other}
        rows = (row for row in self.pairs if {row.first, row.second} == both and row.measure == measure)
        return any(row.separated for row in rows)

    def to_json(self) -> str:
        """Return the text of `summary.json`; `from_json` restores an equal summary."""
        return json.dumps(to_plain(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Read `summary.json`; raises `ConfigError` for other contents or another schema version."""
        raw = decoded(text, SUMMARY_FILE, "write the report again")
        version = raw.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"{SUMMARY_FILE} has schema version {version}; this version of sfpo_bench reads {SCHEMA_VERSION}; "
                "write the report again"
            )
        return from_plain(cls, raw, SUMMARY_FILE)
