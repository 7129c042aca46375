"""Bias of the first crossing of a noisy curve, estimated from the curve.

The first of several noisy points that reaches a target comes early: the earlier, the more points there are and the
fewer responses each has. The isotonic fit of the curve serves as the truth, new points are drawn around it (binomial,
with the same numbers of responses), and

    bias = exp( mean of log(first crossing of the drawn curve / first crossing of the fit) )

A bias below 1 means that crossings come early. A drawn curve that does not reach the target counts with its last cost,
which moves the bias towards 1 for targets near the end. Costs are not corrected by the bias, only reported with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy.optimize import isotonic_regression

from sfpo_bench.core.seeding import generator
from sfpo_bench.statistics.cost_to_target import Outcome, cost_to_target

DRAWS = 100


def crossing_bias(
    costs: Sequence[float], accuracies: Sequence[float], responses: Sequence[int], target: float
) -> float | None:
    """Return the bias factor of a curve's first crossing; None if its fit does not cross or counts are unknown."""
    if not accuracies or min(responses) < 1:
        return None
    fit = np.clip(isotonic_regression(accuracies, weights=np.asarray(responses, dtype=float)).x, 0.0, 1.0)
    truth = cost_to_target(costs, fit.tolist(), target)
    if truth.outcome is not Outcome.reached:
        return None
    random = generator(0, "crossing_bias", len(costs))
    drawn = random.binomial(responses, fit, size=(DRAWS, len(costs))) / np.asarray(responses)
    crossings = [cost_to_target(costs, curve, target).cost for curve in drawn.tolist()]
    known = [math.log(cost / truth.cost) for cost in crossings if cost > 0]
    return math.exp(fmean(known)) if known else None
