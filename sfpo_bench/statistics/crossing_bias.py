"""How early a noisy curve first crosses a target, from the curve itself.

A first crossing is the first of several noisy points that reach the target: the fewer responses a point has and the
more points there are, the earlier it comes. The isotonic fit of a curve is taken for the truth, new points are drawn
around it (binomial, as many responses as it had), and

    bias = exp( mean of log(first crossing of the drawn curve / first crossing of the fit) )

Below 1 crossings come early. A drawn curve that does not reach the target counts with its last cost, which moves the
number towards 1 where the target is near the end. Costs are not corrected by it: it is an estimate that stands
beside them.
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
    """The factor by which a curve's first crossing is off; None where its fit does not cross, or counts are unknown."""
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
