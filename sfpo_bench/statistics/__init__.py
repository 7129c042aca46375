"""Intervals and cost-to-target: pure functions from scores to what may be said of them (numpy, scipy.special)."""

from sfpo_bench.statistics.cost_to_target import (
    Claim,
    Outcome,
    SeedCost,
    Statement,
    cost_ratio,
    cost_to_target,
    count_reached,
    typical_cost,
)
from sfpo_bench.statistics.intervals import (
    CONFIDENCE,
    Estimate,
    Interval,
    RatioEstimate,
    geometric_mean_interval,
    mean_interval,
    ratio_of_geometric_means,
    wilson_interval,
)

__all__ = [
    "CONFIDENCE",
    "Claim",
    "Estimate",
    "Interval",
    "Outcome",
    "RatioEstimate",
    "SeedCost",
    "Statement",
    "cost_ratio",
    "cost_to_target",
    "count_reached",
    "geometric_mean_interval",
    "mean_interval",
    "ratio_of_geometric_means",
    "typical_cost",
    "wilson_interval",
]
