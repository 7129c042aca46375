"""An arm's mean accuracy along a cost axis with a pointwise band, computed from a summary's points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfpo_bench.reports.one_run import one_run_interval
from sfpo_bench.reports.summary import ArmSummary, IntervalKind, SeedCurve
from sfpo_bench.statistics import mean_interval

GRID_POINTS = 101


@dataclass(frozen=True, slots=True)
class MeanCurve:
    """Mean accuracy over `seeds` runs at costs `x`, with the ends of a pointwise 95 % band, cut to [0, 1].

    `band` states what the band covers: Student's t over seeds or, for one run, Wilson over its responses or problems.
    One imported run with an unknown number of responses has no band.
    """

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int
    band: IntervalKind


def mean_curve(arm: ArmSummary, axis: str) -> MeanCurve | None:
    """Return the mean of the arm's counted runs along `axis`, or None if no run was evaluated.

    Runs that were evaluated at the same costs are averaged there. Otherwise (for example on seconds) each run is
    interpolated linearly to a grid of 101 points from the largest first cost to the smallest last cost, the range that
    all runs cover.
    """
    curves = arm.counted()
    if not curves:
        return None
    if len(curves) == 1:
        return _single(curves[0], axis)
    grid, rows = _on_common_costs(curves, axis)
    estimates = [mean_interval(column) for column in rows.T.tolist()]
    intervals = [estimate.interval for estimate in estimates if estimate.interval is not None]
    return MeanCurve(
        x=tuple(grid),
        mean=tuple(estimate.point for estimate in estimates),
        low=tuple(min(1.0, max(0.0, interval.low)) for interval in intervals),
        high=tuple(min(1.0, max(0.0, interval.high)) for interval in intervals),
        seeds=len(curves),
        band=IntervalKind.seeds,
    )


def _single(curve: SeedCurve, axis: str) -> MeanCurve:
    x, own = tuple(curve.costs(axis)), tuple(curve.accuracies())
    if not all(point.n for point in curve.points):
        return MeanCurve(x, own, own, own, seeds=1, band=IntervalKind.none)
    intervals = [one_run_interval(point.accuracy, point.n, point.problems) for point in curve.points]
    return MeanCurve(
        x=x,
        mean=own,
        low=tuple(interval.low for interval, _ in intervals),
        high=tuple(interval.high for interval, _ in intervals),
        seeds=1,
        band=max((kind for _, kind in intervals), key=list(IntervalKind).index),
    )


def _on_common_costs(
    curves: Sequence[SeedCurve], axis: str
) -> tuple[list[float], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Return common costs and one row of accuracies per run at those costs."""
    length = min(len(curve.points) for curve in curves)
    costs = [curve.costs(axis) for curve in curves]
    if all(own[:length] == costs[0][:length] for own in costs):
        return costs[0][:length], np.array([curve.accuracies()[:length] for curve in curves])
    first, last = max(own[0] for own in costs), min(own[-1] for own in costs)
    grid = np.linspace(first, max(first, last), GRID_POINTS)
    rows = [np.interp(grid, own, curve.accuracies()) for own, curve in zip(costs, curves, strict=True)]
    return grid.tolist(), np.array(rows)
