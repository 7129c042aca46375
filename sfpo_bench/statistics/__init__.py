"""Intervals, costs to a target, power, verdicts: pure functions from scores to what may be said (numpy, scipy)."""

from sfpo_bench.statistics.cost_to_target import (
    Claim,
    Outcome,
    SeedCost,
    Statement,
    cost_ratio,
    cost_to_target,
    count_reached,
    reached_costs,
    typical_cost,
    unseen_share,
)
from sfpo_bench.statistics.design_error import (
    Design,
    DifferenceError,
    ScoreError,
    difference_error,
    score_error,
)
from sfpo_bench.statistics.intervals import (
    CONFIDENCE,
    Estimate,
    Interval,
    RatioEstimate,
    Side,
    geometric_mean_interval,
    mean_interval,
    ratio_of_geometric_means,
    wilson_interval,
)
from sfpo_bench.statistics.multiplicity import holm_adjusted
from sfpo_bench.statistics.power import POWER, SEEDS_AT_MOST, detectable_ratio, seeds_needed
from sfpo_bench.statistics.verdicts import FEWEST_SEEDS, SMALL_FACTOR, Verdict, largest_factor, verdict

__all__ = [
    "CONFIDENCE",
    "FEWEST_SEEDS",
    "POWER",
    "SEEDS_AT_MOST",
    "SMALL_FACTOR",
    "Claim",
    "Design",
    "DifferenceError",
    "Estimate",
    "Interval",
    "Outcome",
    "RatioEstimate",
    "ScoreError",
    "SeedCost",
    "Side",
    "Statement",
    "Verdict",
    "cost_ratio",
    "cost_to_target",
    "count_reached",
    "detectable_ratio",
    "difference_error",
    "geometric_mean_interval",
    "holm_adjusted",
    "largest_factor",
    "mean_interval",
    "ratio_of_geometric_means",
    "reached_costs",
    "score_error",
    "seeds_needed",
    "typical_cost",
    "unseen_share",
    "verdict",
    "wilson_interval",
]
