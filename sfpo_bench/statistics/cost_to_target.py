"""Cost to reach a target accuracy, per seed, and the cost ratio of two arms.

The estimand: the cost of a seed is the cost at which its accuracy curve first reaches the target. Arms are compared by
the ratio of the geometric means of these costs,

    ratio = GM(cost of the baseline's seeds) / GM(cost of the arm's seeds),         above 1: the arm is cheaper.

A seed that never reaches the target has a lower bound on its cost, the budget it spent (a right-censored cost). The
statement depends on which seeds are censored:

    baseline       arm            statement
    all reached    all reached    the ratio and its interval
    all reached    some did not   the ratio is at most ...     (true costs of the arm exceed the values used)
    some did not   all reached    the ratio is at least ...
    some did not   some did not   none

If all runs of an arm reached the target, the statement applies to seeds that do: these runs cannot show whether some
others would not. n of n leaves a share of up to 1 - 0.05^(1/n) possible (`unseen_share`), 26 % for n = 10. If some did
not, the statement applies to all seeds, run for as long as needed.

The limit of a cost that some runs did not reach is the one-sided 97.5 % limit of the runs that did, since the others
cost more. It needs two runs that did. (The limit of all values, with each unknown one replaced by its bound, is tighter
but invalid: runs that stop at one budget hide their spread, and with three runs 15 % of such limits exceeded the
truth.) The limit of a ratio does replace unknown costs by their bounds; there, the runs that stopped get the other
arm's spread if their own is smaller. docs/protocol.md has the calibration of both.

Log costs often have a heavy upper tail. A sample with no seed in the tail has too small a mean and spread, so the upper
end of Student's interval is too low: for exponential tails it covers 88 to 90 %. No test of the shape detects this,
because the samples that fail are those that show no tail. The upper end of a cost's interval is therefore always
extended from the point, on logs, by the factor 1 + `SLOW_TAIL` / n. If all runs reached the target but late, the budget
may have cut off the slow ones: the upper tail is missing, and Student's lower end is too high. If the slowest run used
more than `LATE` of its budget, the lower end is extended by 1 + 1/n. Both factors were chosen in simulation
(docs/protocol.md). Limits of bounds are Student's, since they apply to seeds of which some cost more (or less) than the
values used. Welch's interval of a ratio is not changed, since similar shapes cancel in it.

If the costs of an arm's seeds form two clusters (`kinds.py`), its cost is a bound from the larger cluster, and so is a
ratio in which one of the arms does. If both do, Welch's interval has its coverage (docs/protocol.md).

A seed that reaches the target at its first evaluation costs at most what it had spent by then. With nothing spent its
log cost does not exist, and the arms cannot be compared at this target.

Runs may end at their target (`core.stop_at`). Their curves contain everything up to the first crossing of that target
and of every lower one, so these costs equal those without the stop, and runs that do not reach it use their whole
budget: censoring does not depend on the result. Costs to a higher target, or on other problems than those that ended
the run, would be censored by the result; `settings.stop_checks` refuses them. The budget that decides which runs are
late remains that of all planned steps.

The first crossing of a noisy curve is biased low, more so with more frequent and noisier evaluations. Arms are
comparable if they are evaluated at the same steps with the same number of responses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from sfpo_bench.statistics.intervals import (
    CONFIDENCE,
    Interval,
    RatioEstimate,
    Side,
    geometric_mean_interval,
    ratio_of_geometric_means,
)
from sfpo_bench.statistics.kinds import GAP, two_kinds

SLOW_TAIL = 4.0  # see docs/protocol.md for the effect of 1 + SLOW_TAIL / n
LATE = 0.6  # share of the budget above which the budget may have cut off slower runs
NO_LIMIT = "too few runs for a limit"
TWO_KINDS = f"costs fall into two kinds, a factor {GAP:g} or more apart: a bound from the larger one"
AT_FIRST = "a run was already there at its first evaluation"


class Outcome(StrEnum):
    """Whether and when a seed's curve reached the target."""

    reached = "reached"
    not_reached = "not_reached"
    at_first = "at_first"


class Claim(StrEnum):
    """Kind of statement about a quantity: its value, a bound on one side, or none."""

    estimate = "estimate"
    at_least = "at_least"
    at_most = "at_most"
    none = "none"


@dataclass(frozen=True, slots=True)
class SeedCost:
    """A seed's cost to a target: the exact `cost` if `reached`, else a bound.

    `not_reached`: the true cost is above `cost`, the budget at the last evaluation. `at_first`: reached at the first
    evaluation, or without spending anything, so the true cost is at most `cost`. `budget` is what the run had spent at
    its last evaluation, or would have spent by its last planned step if it ended at its target; infinite if unknown.
    """

    outcome: Outcome
    cost: float
    budget: float = math.inf

    @property
    def lower(self) -> float:
        """Return the largest known lower bound of the true cost."""
        return 0.0 if self.outcome is Outcome.at_first else self.cost

    @property
    def upper(self) -> float:
        """Return the smallest known upper bound of the true cost."""
        return math.inf if self.outcome is Outcome.not_reached else self.cost


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement about a cost or a ratio.

    `estimate`: `point`, with `low` and `high` unless a side had only one seed. `at_least`: in these runs the value is
    at least `point`, and with level (1 + confidence) / 2 it is at least `low` for all seeds; `low` is None if there are
    too few runs for it, with a `reason`. `at_most`: the same with `high`. `none`: no number, with a `reason`. `p_value`
    is the p-value of ratio 1: two-sided, or twice the one-sided one of a bound.
    """

    claim: Claim
    point: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    p_value: float | None = None


def cost_to_target(
    costs: Sequence[float], accuracies: Sequence[float], target: float, planned_share: float = 1.0
) -> SeedCost:
    """Return the cost at which a seed's accuracy curve first reaches `target`, by linear interpolation.

        c = c_before + (c_at - c_before) * (target - a_before) / (a_at - a_before)

    with `at` the first evaluation whose accuracy is >= target. `costs` must be non-decreasing. A run that ended at its
    own target, at or above this one, had taken `planned_share` of its planned steps; its budget is extrapolated to all
    of them at the same rate.
    """
    _check_curve(costs, accuracies)
    at = next((index for index, accuracy in enumerate(accuracies) if accuracy >= target), None)
    if at is None:
        return SeedCost(Outcome.not_reached, costs[-1], costs[-1])
    budget = costs[-1] / planned_share
    if at == 0:
        return SeedCost(Outcome.at_first, costs[0], budget)
    share = (target - accuracies[at - 1]) / (accuracies[at] - accuracies[at - 1])
    cost = costs[at - 1] + (costs[at] - costs[at - 1]) * share
    return SeedCost(Outcome.reached if cost > 0 else Outcome.at_first, cost, budget)


def typical_cost(seeds: Sequence[SeedCost], confidence: float = CONFIDENCE) -> Statement:
    """Return the geometric mean of the seeds' costs: with an interval if all reached, else as a bound or not at all."""
    if not seeds:
        return Statement(Claim.none, reason="no run has been evaluated")
    known = reached_costs(seeds)
    if _all_reached(seeds):
        point, kinds = geometric_mean_interval(known, confidence).point, two_kinds(known)
        if kinds is not None:
            side = _at_least if kinds.mostly_fast else _at_most
            return side(point, geometric_mean_interval(kinds.larger, confidence).interval, reason=TWO_KINDS)
        late = any(seed.cost > LATE * seed.budget for seed in seeds)
        return _estimate(point, _cost_interval(known, confidence, late))
    limits = geometric_mean_interval(known, confidence).interval if known else None
    if _usable(_lowers(seeds)):
        return _at_least(geometric_mean_interval(_lowers(seeds)).point, limits, none=NO_LIMIT)
    if _usable(_uppers(seeds)):
        return _at_most(geometric_mean_interval(_uppers(seeds)).point, limits, none=AT_FIRST)
    return Statement(Claim.none, reason=_why_unknown(seeds))


def cost_ratio(baseline: Sequence[SeedCost], arm: Sequence[SeedCost], confidence: float = CONFIDENCE) -> Statement:
    """Return GM(baseline) / GM(arm) over independent seeds: with Welch's interval if all reached, else a bound or none.

    Above 1 the arm is cheaper. The result does not depend on the unit of cost; swapping the arms inverts it.
    """
    if not baseline or not arm:
        return Statement(Claim.none, reason="an arm has no run that has been evaluated")
    if _all_reached(baseline) and _all_reached(arm):
        ratio = ratio_of_geometric_means(reached_costs(baseline), reached_costs(arm), confidence)
        bound = _ratio_of_kinds(baseline, arm, ratio.point, confidence)
        return bound or _estimate(ratio.point, ratio.interval, ratio.p_value)
    stopped = Side.denominator if _all_reached(baseline) else Side.numerator if _all_reached(arm) else None
    if _usable(_lowers(baseline)) and _usable(_uppers(arm)):
        ratio = ratio_of_geometric_means(_lowers(baseline), _uppers(arm), confidence, stopped)
        return _at_least(ratio.point, ratio.interval, _one_sided(ratio, above=True))
    if _usable(_uppers(baseline)) and _usable(_lowers(arm)):
        ratio = ratio_of_geometric_means(_uppers(baseline), _lowers(arm), confidence, stopped)
        return _at_most(ratio.point, ratio.interval, _one_sided(ratio, above=False))
    return Statement(Claim.none, reason=_why_incomparable(baseline, arm))


def _ratio_of_kinds(
    baseline: Sequence[SeedCost], arm: Sequence[SeedCost], point: float, confidence: float
) -> Statement | None:
    """Return a bound if the seeds of exactly one arm form two clusters, else None; if both do, the shapes cancel."""
    sides = reached_costs(baseline), reached_costs(arm)
    base_kinds, arm_kinds = (two_kinds(costs) for costs in sides)
    if (base_kinds is None) is (arm_kinds is None):
        return None
    numerator, denominator = (
        costs if kinds is None else kinds.larger for costs, kinds in zip(sides, (base_kinds, arm_kinds), strict=True)
    )
    ratio = ratio_of_geometric_means(numerator, denominator, confidence)
    above = base_kinds.mostly_fast if base_kinds is not None else arm_kinds is not None and not arm_kinds.mostly_fast
    side = _at_least if above else _at_most
    return side(point, ratio.interval, _one_sided(ratio, above=above), reason=TWO_KINDS)


def reached_costs(seeds: Sequence[SeedCost]) -> list[float]:
    """Return the costs of the seeds that reached the target after their first evaluation."""
    return [seed.cost for seed in seeds if seed.outcome is Outcome.reached]


def unseen_share(n: int, confidence: float = CONFIDENCE) -> float:
    """Return the largest share of seeds that never reach a target compatible with `n` of `n` reaching it.

    One-sided Clopper-Pearson limit 1 - (1 - confidence)^(1/n); 1 for n = 0.
    """
    return 1 - (1 - confidence) ** (1 / n) if n else 1.0


def count_reached(seeds: Sequence[SeedCost]) -> int:
    """Return how many seeds reached the target, including those that did so at their first evaluation."""
    return sum(seed.outcome is not Outcome.not_reached for seed in seeds)


def _check_curve(costs: Sequence[float], accuracies: Sequence[float]) -> None:
    if len(costs) != len(accuracies) or not costs:
        raise ValueError(f"found {len(costs)} costs and {len(accuracies)} accuracies; expected one or more of each")
    if not all(math.isfinite(value) for value in (*costs, *accuracies)):
        raise ValueError("found a cost or accuracy that is not finite; leave such evaluations out")
    if costs[0] < 0 or any(late < early for early, late in pairwise(costs)):
        raise ValueError(f"found costs {list(costs)}; expected them to start at 0 or above and never to fall")


def _all_reached(seeds: Sequence[SeedCost]) -> bool:
    return all(seed.outcome is Outcome.reached for seed in seeds)


def _lowers(seeds: Sequence[SeedCost]) -> list[float]:
    return [seed.lower for seed in seeds]


def _uppers(seeds: Sequence[SeedCost]) -> list[float]:
    return [seed.upper for seed in seeds]


def _usable(bounds: Sequence[float]) -> bool:
    """Return True if every bound has a finite logarithm."""
    return all(0 < bound < math.inf for bound in bounds)


def _cost_interval(costs: Sequence[float], confidence: float, late: bool) -> Interval | None:
    """Return Student's interval of the mean log cost with an extended upper end, and if `late` an extended lower end.

    None for one cost."""
    estimate = geometric_mean_interval(costs, confidence)
    if estimate.interval is None:
        return None
    down, up = (end / estimate.point for end in (estimate.interval.low, estimate.interval.high))
    low = down ** (1 + 1 / estimate.n) if late else down
    return Interval(estimate.point * low, estimate.point * up ** (1 + SLOW_TAIL / estimate.n), confidence)


def _one_sided(ratio: RatioEstimate, above: bool) -> float | None:
    """Return twice the one-sided p-value of a bound, or 1 if the ratio is on the other side of 1."""
    if ratio.p_value is None:
        return None
    return ratio.p_value if (ratio.point > 1) is above and ratio.point != 1 else 1.0


def _estimate(point: float, interval: Interval | None, p_value: float | None = None) -> Statement:
    if interval is None:
        return Statement(Claim.estimate, point, reason="one seed has no spread to take an interval from")
    return Statement(Claim.estimate, point, interval.low, interval.high, p_value=p_value)


def _at_least(
    point: float, limits: Interval | None, p_value: float | None = None, reason: str = "", none: str = NO_LIMIT
) -> Statement:
    """Make a lower bound; `reason` is stated with a limit, `none` is the reason if there is no limit."""
    if limits is None:
        return Statement(Claim.at_least, point, reason=none)
    return Statement(Claim.at_least, point, low=limits.low, reason=reason, p_value=p_value)


def _at_most(
    point: float, limits: Interval | None, p_value: float | None = None, reason: str = "", none: str = NO_LIMIT
) -> Statement:
    if limits is None:
        return Statement(Claim.at_most, point, reason=none)
    return Statement(Claim.at_most, point, high=limits.high, reason=reason, p_value=p_value)


def _why_incomparable(baseline: Sequence[SeedCost], arm: Sequence[SeedCost]) -> str:
    both = (*baseline, *arm)
    if any(seed.outcome is Outcome.at_first for seed in both):
        return AT_FIRST
    if any(seed.cost == 0 for seed in both):
        return "a run has spent nothing yet"
    if not any(seed.outcome is Outcome.reached for seed in both):
        return "no run of either arm reached it"
    return "in both arms some runs did not reach it"


def _why_unknown(seeds: Sequence[SeedCost]) -> str:
    if any(seed.outcome is Outcome.at_first for seed in seeds):
        return AT_FIRST
    return "a run has spent nothing yet"
