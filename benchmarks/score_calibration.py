"""Do the intervals and tests of evaluations keep what they promise? Simulated problems and training runs.

    python benchmarks/score_calibration.py [one] [several] [metrics] [differences]

Problem p has ability mean + 2 * normal; a run of an arm adds run_spread * normal to all of them, and every cell
0.3 * normal; a sample is correct with probability 1 / (1 + exp(-ability)), and wrong answers are all alike. A shift
makes the first of two arms better. Prints the tables of docs/evaluation.md, or those that are named.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import binom

from sfpo_bench.evaluation.graded_benchmark import METRICS
from sfpo_bench.statistics.crossed import (
    crossed_spread,
    detectable_difference,
    difference_interval,
    difference_spread,
    share_interval,
)
from sfpo_bench.statistics.permutation import run_permutation_p, sign_flip_p

Array = NDArray[np.float64]
PROBLEM_SPREAD, CELL_SPREAD = 2.0, 0.3


@dataclass(frozen=True, slots=True)
class World:
    """Where problems and runs come from."""

    problems: int
    samples: int
    runs: int
    mean: float
    run_spread: float = 0.0
    metric: str = "avg"
    k: int = 0  # of pass and maj; of avg all samples count

    @property
    def behind(self) -> float:
        """How many independent answers a problem's score is worth at least."""
        return METRICS[self.metric].answers_behind(self.samples, self.k or self.samples)

    def score_of(self) -> Array:
        """The score of a problem by its number of correct samples, from 0 on."""
        classes = [[0] * correct + [1] * (self.samples - correct) for correct in range(self.samples + 1)]
        return np.array([METRICS[self.metric].score(one, self.k or self.samples) for one in classes], dtype=np.float64)

    def abilities(self, random: np.random.Generator) -> Array:
        """One per problem, [1, P]."""
        return self.mean + PROBLEM_SPREAD * random.standard_normal((1, self.problems))

    def scores(self, abilities: Array, random: np.random.Generator) -> Array:
        """Scores of one arm, [S, P]."""
        runs = self.run_spread * random.standard_normal((self.runs, 1))
        cells = CELL_SPREAD * random.standard_normal((self.runs, self.problems))
        return np.asarray(self.score_of()[random.binomial(self.samples, expit(abilities + runs + cells))])

    def truth(self, shift: float = 0.0) -> float:
        """The expected score."""
        spread = math.hypot(PROBLEM_SPREAD, self.run_spread, CELL_SPREAD)
        chances = expit(self.mean + shift + spread * ndtri((np.arange(20_000) + 0.5) / 20_000))
        correct = np.arange(self.samples + 1)
        return float((binom.pmf(correct, self.samples, chances[:, None]) @ self.score_of()).mean())


def covered(world: World, repetitions: int, random: np.random.Generator) -> float:
    """The share of intervals that hold the true score."""
    truth, hits = world.truth(), 0
    for _ in range(repetitions):
        scores = world.scores(world.abilities(random), random)
        hits += share_interval(crossed_spread([scores]), world.behind).contains(truth)
    return hits / repetitions


def differences(world: World, shift: float, repetitions: int, random: np.random.Generator) -> tuple[float, ...]:
    """True difference, shares of intervals that hold it and that exclude 0, mean detectable difference; in points."""
    truth, found = world.truth(shift) - world.truth(), []
    for first, second in _arms(world, shift, repetitions, random):
        spread = difference_spread([first], [second], world.samples if world.metric == "avg" else 1)
        interval = difference_interval(spread)
        found.append((interval.contains(truth), not interval.contains(0.0), detectable_difference(spread)))
    return (100 * truth, *(100 * np.mean(found, axis=0)).tolist())


def low_p(world: World, shift: float, repetitions: int, random: np.random.Generator) -> float:
    """The share of permutation tests with p <= 0.05, in percent."""
    found = [
        sign_flip_p([(first - second)[0]])
        if world.runs == 1
        else run_permutation_p(first.mean(axis=1).tolist(), second.mean(axis=1).tolist())
        for first, second in _arms(world, shift, repetitions, random)
    ]
    return 100 * sum(p <= 0.05 for p in found) / repetitions


def _arms(world: World, shift: float, repetitions: int, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Pairs of arms on fresh problems, the first better by `shift`."""
    for _ in range(repetitions):
        abilities = world.abilities(random)
        yield world.scores(abilities + shift, random), world.scores(abilities, random)


def one(repetitions: int, random: np.random.Generator) -> Iterator[str]:
    """Coverage of the score of one model."""
    worlds = [World(p, k, 1, mean) for p, k, mean in product((10, 30, 100), (1, 16), (0.0, 3.0, 5.0))]
    return _covered_lines(worlds, repetitions, random)


def several(repetitions: int, random: np.random.Generator) -> Iterator[str]:
    """Coverage of the score of an arm with several runs."""
    worlds = [
        World(p, 4, s, mean, spread)
        for s, p, mean, spread in product((2, 3, 10), (30, 300), (0.0, 3.0, 5.0), (0.0, 0.5, 1.0))
    ]
    worlds += [World(300, 1, 2, mean, spread) for mean, spread in product((0.0, 3.0), (0.3, 1.0))]
    return _covered_lines(worlds, repetitions, random)


def metrics(repetitions: int, random: np.random.Generator) -> Iterator[str]:
    """Coverage of pass@4 and maj@16 of 16 samples."""
    worlds = [
        World(p, 16, s, mean, 0.5 if s > 1 else 0.0, metric, k)
        for (metric, k), s, p, mean in product((("pass", 4), ("maj", 16)), (1, 2), (30, 300), (-4.0, 3.0))
    ]
    return _covered_lines(worlds, repetitions, random)


def _covered_lines(worlds: Sequence[World], repetitions: int, random: np.random.Generator) -> Iterator[str]:
    yield "| score | runs | run spread | problems | samples | true score, % | covered, % |"
    yield "|:---|---:|---:|---:|---:|---:|---:|"
    for world in worlds:
        share = 100 * covered(world, repetitions, random)
        name = f"{world.metric}@{world.k or world.samples}"
        left = f"| {name} | {world.runs} | {world.run_spread:g} | {world.problems} | {world.samples}"
        yield f"{left} | {100 * world.truth():.1f} | {share:.1f} |"


def difference(repetitions: int, random: np.random.Generator) -> Iterator[str]:
    """Coverage, errors and power of differences; half as many repetitions."""
    head = ("runs", "run spread", "problems", "samples", "true difference", "covered, %", "interval without 0, %")
    yield f"| {' | '.join((*head, 'p <= 0.05, %', 'would detect'))} |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    pairs = [World(p, 4, 1, mean) for p, mean in product((30, 300), (0.0, -4.0))]
    pairs += [World(p, 4, s, -0.5, spread) for s, p, spread in product((2, 3), (30, 300), (0.0, 0.3))]
    pairs += [World(300, 4, s, mean, spread) for s, mean, spread in ((2, 4.0, 0.3), (3, 4.0, 0.3), (10, -0.5, 0.3))]
    for world, shift in product(pairs, (0.0, 0.5)):
        true, held, excluded, detect = differences(world, shift, repetitions // 2, random)
        low = low_p(world, shift, repetitions // 2, random)
        left = f"| {world.runs} | {world.run_spread:g} | {world.problems} | {world.samples} | {true:.1f}"
        yield f"{left} | {held:.1f} | {excluded:.1f} | {low:.1f} | {detect:.1f} |"


TABLES = {"one": one, "several": several, "metrics": metrics, "differences": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration of the intervals and tests of evaluations.")
    parser.add_argument("tables", nargs="*", default=[], help=f"of {', '.join(TABLES)}; all without a name")
    parser.add_argument("--repetitions", type=int, default=800, help="simulations a line; half as many for differences")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.tables or TABLES:
        for line in TABLES[name](arguments.repetitions, np.random.default_rng(arguments.seed)):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
