"""How often costs and ratios are right of runs that end at their target, on curves whose truth is known.

    python -m benchmarks.stopped_runs [--repetitions 2000] [--seed 0]

What begins with `refused` is what `settings.stop_checks` refuses, for most of it would be bounds, or nothing: a target
above the one that ends runs, and runs that other problems end. The numbers in docs/protocol.md come from this command;
the same `--seed` prints the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.calibration import LONG, SEEDS, Share, is_right, truth_of
from benchmarks.simulated_curves import Array, SimulatedArm, first_crossings, measured, true_accuracies
from sfpo_bench.statistics import Claim, SeedCost, cost_ratio, cost_to_target, typical_cost

POPULATION = 20_000
ARMS = (SimulatedArm(spread=0.15), SimulatedArm(speed=1.5, spread=0.15))


@dataclass(frozen=True, slots=True)
class Rule:
    """Costs to `target` of runs that end at `accuracy`, on the curve itself or on other problems."""

    name: str
    target: float
    accuracy: float
    patience: int = 1
    by_others: bool = False


RULES = (
    Rule("at the target", 0.60, 0.60),
    Rule("at the target, 3 in a row", 0.60, 0.60, patience=3),
    Rule("above the target", 0.50, 0.60),
    Rule("late target", 0.65, 0.65),
    Rule("refused: below the target", 0.65, 0.60),
    Rule("refused: by other problems", 0.60, 0.60, by_others=True),
)


@dataclass(frozen=True, slots=True)
class Population:
    """Seeds of an arm: their curves and those of other problems over a budget, and the curves of runs that go on for
    `LONG` of them."""

    costs_T: Array
    curves_PT: Array
    others_PT: Array
    long_costs_T: Array
    long_PT: Array

    @classmethod
    def of(cls, arm: SimulatedArm, random: np.random.Generator, seeds: int = POPULATION) -> Population:
        true_PT, costs_T = true_accuracies(arm, seeds, random, LONG), arm.grid()
        long_PT, others_PT = measured(true_PT, random), measured(true_PT[:, : len(costs_T)], random)
        return cls(costs_T, long_PT[:, : len(costs_T)], others_PT, arm.grid(LONG), long_PT)

    def seeds(self, rule: Rule) -> list[SeedCost]:
        """What is known of each seed's cost once the rule ended its run."""
        ends = stop_places(self.others_PT if rule.by_others else self.curves_PT, rule.accuracy, rule.patience)
        return [
            cost_to_target(self.costs_T[: end + 1].tolist(), row[: end + 1].tolist(), rule.target, self._share(end))
            for row, end in zip(self.curves_PT, ends.tolist(), strict=True)
        ]

    def truths(self, target: float) -> dict[bool, float]:
        """Log geometric means: of seeds that arrive within the budget (True), of all of them (False)."""
        costs = first_crossings(self.long_costs_T, self.long_PT, target)
        return {known: truth_of(costs, known) for known in (True, False)}

    def _share(self, end: int) -> float:
        return end / (len(self.costs_T) - 1)


def stop_places(curves_PT: Array, accuracy: float, patience: int) -> Array:
    """The evaluation that ends each run: the last of the first `patience` in a row, or the last of all. The first one,
    before training, does not count."""
    hits_PT = curves_PT >= accuracy
    hits_PT[:, 0] = False
    last, places = curves_PT.shape[1] - 1, range(patience)
    in_a_row_PT = np.logical_and.reduce([hits_PT[:, place : last + 2 - patience + place] for place in places])
    return np.where(in_a_row_PT.any(axis=1), in_a_row_PT.argmax(axis=1) + patience - 1, last)


def coverage(rule: Rule, populations: Sequence[Population], repetitions: int, random: np.random.Generator) -> list[str]:
    """One row for each kind of statement: shares that are right, in %, and how often it is made, by seeds."""
    seen, truths = [own.seeds(rule) for own in populations], [own.truths(rule.target) for own in populations]
    shares = {(what, n): Share(tries=repetitions) for what in _KINDS for n in SEEDS}
    for n in SEEDS:
        for _ in range(repetitions):
            base, arm = ([own[place] for place in random.integers(len(own), size=n)] for own in seen)
            cost, ratio = typical_cost(base), cost_ratio(base, arm)
            logs = [truth[is_full(own)] for truth, own in zip(truths, (base, arm), strict=True)]
            for name, said, truth in (("cost", cost, logs[0]), ("ratio", ratio, logs[0] - logs[1])):
                right = is_right(said, truth)
                if right is not None:
                    kind = "interval" if said.claim is Claim.estimate else "bound"
                    shares[f"{name} {kind}", n].right.append(right)
    cells = {what: [shares[what, n].text() for n in SEEDS] for what in _KINDS}
    place = f"| {rule.name} | {rule.accuracy:.2f} | {rule.target:.2f} |"
    return [f"{place} {what} | {' | '.join(found)} |" for what, found in cells.items() if set(found) != {"-"}]


_KINDS = ("cost interval", "cost bound", "ratio interval", "ratio bound")


def is_full(seeds: Sequence[SeedCost]) -> bool:
    """True when every seed reached the target."""
    return all(seed.outcome == "reached" for seed in seeds)


def simulate(repetitions: int, seed: int) -> str:
    """The table of all rules."""
    random = np.random.default_rng(seed)
    populations = [Population.of(arm, random) for arm in ARMS]
    head = "| runs end | at | target | printed | " + " | ".join(f"{n} seeds" for n in SEEDS) + " |"
    rows = [row for rule in RULES for row in coverage(rule, populations, repetitions, random)]
    return "\n".join([head, "| :--- | ---: | ---: | :--- |" + " ---: |" * len(SEEDS), *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Coverage of costs and ratios of runs that end at their target.")
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(simulate(arguments.repetitions, arguments.seed))
