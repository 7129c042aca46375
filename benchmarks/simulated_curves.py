"""Accuracy curves with a known truth, like those of the embedded experiment, and their costs: arrays in, arrays out.

    true accuracy at r responses     m(speed * s * r) + w(r)
    measured accuracy                Binomial(768, true accuracy) / 768, at every `every`-th of 60 steps

m is GRPO's mean curve of the embedded experiment as it was before its problems were split anew, s = exp(N(0, 0.08)) a
seed's own speed, w an AR(1) wobble of standard deviation 0.009 and lag-one correlation 0.7, which starts at zero with
the shared warm start. Log costs then spread by 0.10 to 0.20 between seeds, as in the experiment. A share `collapsed` of
the seeds never gets past 0.45.

Shape suffixes: P seeds of a population, T evaluations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sfpo_bench.statistics import Outcome, SeedCost

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

RESPONSES_PER_STEP, STEPS, RESPONSES_PER_EVALUATION = 256, 60, 768
WOBBLE, WOBBLE_LAG, PLATEAU = 0.009, 0.7, 0.45
# GRPO's mean accuracy over ten seeds, smoothed; behind the budget it goes on as it ended, +0.065 per doubling.
CURVE = (
    (0, 0.089), (768, 0.263), (1536, 0.373), (2304, 0.435), (3072, 0.48), (4608, 0.53), (7680, 0.595),
    (11520, 0.632), (15360, 0.662), (30720, 0.727), (61440, 0.792), (122880, 0.857),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulatedArm:
    """One arm: `speed` times the baseline's progress per response, seeds that differ in speed by `spread` on logs.

    `seconds_spread` is the spread of a run's seconds per step on logs: a run on a busier core is slower throughout.
    """

    speed: float = 1.0
    spread: float = 0.08
    collapsed: float = 0.0
    every: int = 3
    seconds_spread: float = 0.10

    def grid(self, budgets: int = 1) -> Array:
        """Responses spent at each evaluation of a run that goes on for `budgets` times the 60 steps."""
        return np.arange(0, budgets * STEPS + 1, self.every, dtype=np.float64) * RESPONSES_PER_STEP


def true_accuracies(
    arm: SimulatedArm,
    seeds: int,
    random: np.random.Generator,
    budgets: int = 1,
    shared: float = 0.0,
    common: Array | None = None,
) -> Array:
    """True accuracy of `seeds` seeds at each evaluation of `budgets` times 60 steps, shape PT.

    A share `shared` of the variance of speed and wobble comes from `common` (of `deviations`), which two arms that
    share data order by seed both get; without it arms are independent.
    """
    costs_T = arm.grid(budgets)
    own = deviations(len(costs_T), seeds, random)
    if common is not None:
        own = math.sqrt(shared) * common + math.sqrt(1 - shared) * own
    speed_P1, wobble_PT = np.exp(arm.spread * own[:, :1]), WOBBLE * own[:, 1:]
    places, levels = np.array(CURVE, dtype=np.float64).T
    mean_PT = np.interp(arm.speed * speed_P1 * costs_T, places, levels)
    dead_P1 = random.random((seeds, 1)) < arm.collapsed
    true_PT: Array = np.clip(np.where(dead_P1, np.minimum(mean_PT, PLATEAU), mean_PT) + wobble_PT, 0.0, 1.0)
    return true_PT


def deviations(evaluations: int, seeds: int, random: np.random.Generator) -> Array:
    """Standard normal speed (first column) and AR(1) wobble (the others) of each seed; the wobble starts at 0."""
    shocks = random.standard_normal((seeds, evaluations + 1))
    shocks[:, 1] = 0.0
    for column in range(2, evaluations + 1):
        shocks[:, column] = WOBBLE_LAG * shocks[:, column - 1] + math.sqrt(1 - WOBBLE_LAG**2) * shocks[:, column]
    return shocks


def measured(true_PT: Array, random: np.random.Generator) -> Array:
    """What evaluations of 768 responses show of true accuracies."""
    return random.binomial(RESPONSES_PER_EVALUATION, true_PT) / RESPONSES_PER_EVALUATION


def first_crossings(costs_T: Array, accuracies_PT: Array, target: float) -> Array:
    """`statistics.cost_to_target` of every row at once: the cost, or inf where the target is never reached.

    A row whose first evaluation reaches the target gets 0; the simulated curves start below every target.
    """
    hit_PT = accuracies_PT >= target
    at_P = np.maximum(hit_PT.argmax(axis=1), 1)
    rows = np.arange(len(accuracies_PT))
    before, after = accuracies_PT[rows, at_P - 1], accuracies_PT[rows, at_P]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = costs_T[at_P - 1] + (costs_T[at_P] - costs_T[at_P - 1]) * (target - before) / (after - before)
    return np.where(hit_PT[:, 0], 0.0, np.where(hit_PT.any(axis=1), crossing, np.inf))


def seed_costs(costs_P: Array) -> list[SeedCost]:
    """Costs as the statistics take them: inf becomes "not reached within the budget"."""
    budget = float(STEPS * RESPONSES_PER_STEP)
    return [
        SeedCost(Outcome.reached, cost, budget) if cost < math.inf else SeedCost(Outcome.not_reached, budget, budget)
        for cost in costs_P.tolist()
    ]
